"""Questions to this machine's worker over HTTP."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from typing import Any

from streams.settings import SettingsError, WebSettings


class NoAnswerError(SettingsError):
    """Nobody answers where the settings say that the worker does, or not as a worker would."""


def ask_worker(web: WebSettings, path: str) -> tuple[int, dict[str, Any]]:
    """The HTTP status and the JSON object of an answer.

    Raises
    ------
    SettingsError
        If the settings give the worker no web server.
    NoAnswerError
        If no worker answers.
    """
    if not web.port:
        raise SettingsError("web.port = 0: the worker has no web server to ask")
    request = urllib.request.Request(web.url(path))
    if token := web.token.get_secret_value():
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=5.0) as answer:
            status, body = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        status, body = error.code, error.read()
    except (OSError, http.client.HTTPException) as error:
        why = getattr(error, "reason", error)
        raise NoAnswerError(f"no worker answers at {request.full_url}: {why}") from None
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise NoAnswerError(f"no worker answers at {request.full_url}: HTTP {status}, not JSON")
    return status, found


def refusal(answer: dict[str, Any]) -> str:
    """The reason that a worker gives for an answer whose status is no success."""
    error = answer.get("error")
    return str(error.get("message") if isinstance(error, dict) else answer.get("reason"))
