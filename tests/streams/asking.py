"""Asking a web server over HTTP, as the tests do."""

from __future__ import annotations

import http.client
import json
from typing import Any, NamedTuple
from urllib.parse import quote


class Heard(NamedTuple):
    """An answer: its status, headers by lower-case name, and what its body says as JSON."""

    status: int
    headers: dict[str, str]
    body: Any


def ask(
    port: int,
    path: str,
    method: str = "GET",
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> Heard:
    """Send exactly this path, and these headers in place of what is usual."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        text = response.read()
        names = {name.lower(): value for name, value in response.getheaders()}
        return Heard(response.status, names, json.loads(text) if text else None)
    finally:
        connection.close()


def segment(text: str) -> str:
    """Any text as one segment of a path."""
    return quote(text, safe="")
