"""The answers of the web server to requests that fail: JSON, and no traceback."""

from __future__ import annotations

import logging
from typing import Literal

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from streams.messages.bad_message import BadMessage, ErrorClass
from streams.messages.schemas import encode
from streams.web.engine_access import EngineUnavailableError

log = logging.getLogger("millrace.web")

HttpErrorClass = Literal[
    "BadRequest",
    "UnknownParameter",
    "UnknownField",
    "NotWritten",
    "Unauthorized",
    "Forbidden",
    "NotFound",
    "MethodNotAllowed",
    "TooLong",
    "Timeout",
    "UnknownEncoding",
    "TooManyRequests",
    "Unavailable",
    "Internal",
]
_CLASSES: dict[int, HttpErrorClass] = {
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    408: "Timeout",
    413: "TooLong",
    415: "UnknownEncoding",
    429: "TooManyRequests",
    500: "Internal",
    503: "Unavailable",
}
RETRY_SECONDS = 2
"""Seconds after which a client may retry what was `Unavailable`."""


class Reason(msgspec.Struct, frozen=True):
    """What is wrong: a class of the dead letters, or one of HTTP, and one line."""

    class_: ErrorClass | HttpErrorClass = msgspec.field(name="class")
    message: str


class Error(msgspec.Struct, frozen=True):
    """The body of every answer to a request that failed."""

    error: Reason


class RefusedRequest(Exception):  # noqa: N818
    """A request that is answered with this status and message.

    Parameters
    ----------
    class_
        What went wrong; without it, the class of the status.
    """

    def __init__(
        self, status: int, message: str, class_: ErrorClass | HttpErrorClass | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = Reason(class_ or _CLASSES.get(status, "BadRequest"), message)


def error_response(status: int, reason: Reason) -> web.Response:
    """An answer with this status; it says when to retry, if that makes sense."""
    return web.Response(
        body=encode(Error(reason)),
        status=status,
        content_type="application/json",
        headers={"Retry-After": str(RETRY_SECONDS)} if status in (429, 503) else None,
    )


@web.middleware
async def errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Middleware: whatever a handler or aiohttp raises becomes an `Error`."""
    try:
        return await handler(request)
    except BadMessage as error:
        return error_response(400, Reason(error.error_class, error.message))
    except EngineUnavailableError as error:
        return error_response(503, Reason("Unavailable", str(error)))
    except RefusedRequest as error:
        return error_response(error.status, error.reason)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        told = f"{request.method} {request.path}: {error.reason}"
        class_ = _CLASSES.get(error.status, "BadRequest")
        response = error_response(error.status, Reason(class_, told))
        for name in ("Allow", "WWW-Authenticate"):
            if name in error.headers:
                response.headers[name] = error.headers[name]
        return response
    except ConnectionError:  # the client has gone
        raise
    except Exception:
        log.exception("%s %s failed", request.method, request.path)
        told = "the worker failed at this; its log says at what"
        return error_response(500, Reason("Internal", told))
