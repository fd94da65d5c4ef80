"""The one HTTP client that every contender is asked with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, RemoteDisconnected
from typing import Any
from urllib.parse import urlsplit

TIMEOUT_SECONDS = 30.0


class RefusedError(Exception):
    """The other side answered, and not with success.

    Attributes
    ----------
    status
        What it answered.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class JsonClient:
    """JSON over one connection that is kept open (`TCP_NODELAY`; no pool, no threads).

    Parameters
    ----------
    base
        As ``http://127.0.0.1:8088``, without a path.
    headers
        Sent with every request.
    """

    def __init__(self, base: str, headers: Mapping[str, str] | None = None) -> None:
        parts = urlsplit(base)
        self._connection = HTTPConnection(parts.netloc, timeout=TIMEOUT_SECONDS)
        self._headers = {"Content-Type": "application/json", **(headers or {})}

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """What is answered, decoded; None for an empty answer.

        Raises
        ------
        RefusedError
            For a status other than 2xx, with what it says.
        OSError
            If nobody answers. A kept connection that the other side closed is opened again once.
        """
        content = None if body is None else json.dumps(body).encode()
        try:
            status, answer = self._send(method, path, content)
        except (RemoteDisconnected, BrokenPipeError, ConnectionResetError):
            self._connection.close()
            status, answer = self._send(method, path, content)
        if not 200 <= status < 300:
            told = answer.decode(errors="replace").strip()
            raise RefusedError(status, f"{method} {path}: {status}: {told[:300]}")
        return json.loads(answer) if answer else None

    def answers(self, path: str) -> bool:
        """Whether a GET of a path succeeds; a server that is not up yet says no."""
        try:
            status, _ = self._send("GET", path, None)
        except (OSError, HTTPException):
            self._connection.close()
            return False
        return status == 200

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        self._connection.close()

    def _send(self, method: str, path: str, content: bytes | None) -> tuple[int, bytes]:
        self._connection.request(method, path, content, self._headers)
        response = self._connection.getresponse()
        return response.status, response.read()
