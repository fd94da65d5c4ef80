"""The body of a request, within the limits of the settings, and the messages in it."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
from aiohttp import web

from streams.messages.bad_message import BadMessage, shown
from streams.settings import WebSettings
from streams.web.errors import RefusedRequest

JSON_LINES = ("application/x-ndjson", "application/ndjson", "application/jsonl")
"""Content types of one message a line."""
_PACKED = ("gzip", "x-gzip", "deflate")
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
MOST_MESSAGES = 1_000
"""Most messages of one body: while they are handled, other requests wait."""


async def body_of(request: web.Request, settings: WebSettings) -> bytes:
    """The decompressed body; one whose length is too large is not read at all.

    Raises
    ------
    RefusedRequest
        413 if it is too large, 408 if it does not arrive in time, 400 if it cannot be decompressed,
        415 if it is compressed with anything but gzip or deflate.
    ConnectionResetError
        If the client has gone.
    """
    most, seconds = settings.body_bytes, settings.body_seconds
    too_large = RefusedRequest(413, f"the body: at most web.body_bytes = {most} are taken")
    if (request.content_length or 0) > most:
        raise too_large
    try:
        async with asyncio.timeout(seconds):
            sent = await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise too_large from None
    except TimeoutError:
        raise RefusedRequest(
            408, f"the body: not here within web.body_seconds = {seconds:g} s"
        ) from None
    except web.RequestPayloadError as error:
        raise _unreadable(error) from None
    except RuntimeError:
        if request.transport is not None:
            raise
        # Its connection was closed before this began; aiohttp has no class of its own for it.
        raise ConnectionResetError from None
    unpacked = _unpacked(sent, request.headers.get("Content-Encoding", ""), most)
    if len(unpacked) > most:
        raise too_large
    return unpacked


def _unpacked(sent: bytes, encoding: str, most: int) -> bytes:
    """A decompressed body; decompression stops after `most` + 1 bytes."""
    if encoding.strip().lower() in ("", "identity"):
        return sent
    if encoding.strip().lower() not in _PACKED:
        raise RefusedRequest(
            415, f"Content-Encoding: {shown(encoding)} is not known; known are {', '.join(_PACKED)}"
        )
    found = b""
    try:
        while sent and len(found) <= most:
            member = zlib.decompressobj(_GZIP_OR_ZLIB)
            found += member.decompress(sent, most + 1 - len(found))
            if len(found) <= most and not member.eof:
                raise RefusedRequest(400, "the body: it cannot be read: it ends too early")
            sent = member.unused_data
    except zlib.error as error:
        raise _unreadable(error) from None
    return found


def _unreadable(error: Exception) -> RefusedRequest:
    reason = " ".join(str(error).split())[:200]
    return RefusedRequest(400, f"the body: it cannot be read: {reason}")


@contextmanager
def limits() -> Iterator[None]:
    """A context in which a message that is too large to be accepted or parsed is answered with
    413."""
    try:
        yield
    except BadMessage as error:
        raise RefusedRequest(413, error.message) from None


def messages_of(body: bytes, content_type: str) -> list[bytes] | None:
    """The messages of a body that is a JSON array or JSON lines; None of one that is neither.

    An empty body is neither. The messages are not parsed.

    Raises
    ------
    BadMessage
        If an array is not closed or holds no JSON.
    RefusedRequest
        413, if there are more than `MOST_MESSAGES`.
    """
    if content_type in JSON_LINES:
        found = [line for line in body.splitlines() if line.strip()]
    elif body.lstrip()[:1] == b"[":
        try:
            found = [bytes(raw) for raw in msgspec.json.decode(body, type=list[msgspec.Raw])]
        except (msgspec.DecodeError, RecursionError) as error:
            raise BadMessage("NotJson", f"the body: {error}") from None
    else:
        return None
    if len(found) > MOST_MESSAGES:
        raise RefusedRequest(
            413, f"the body: it has {len(found)} messages; at most {MOST_MESSAGES} are taken"
        )
    return found or None
