"""Who is answered: whoever has the token, and no page of another site."""

from __future__ import annotations

import hmac
import ipaddress
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from streams.settings import WebSettings
from streams.web.errors import RefusedRequest

OPEN = ("/health/live", "/health/ready", "/")
"""What is answered without the token: orchestrators ask the first, and none tells a secret."""
OPEN_FOLDER = "/static/"
"""And the files of the page, which asks for the token itself."""
_SAFE = ("GET", "HEAD", "OPTIONS")


def guards(settings: WebSettings) -> list[Middleware]:
    """The middlewares that these settings ask for.

    With a token all but what is open asks for it, as `Authorization: Bearer TOKEN`. Without one,
    a server of this machine alone answers only those who call it so: a page of another site whose
    name has been made to mean this machine (DNS rebinding) calls it by that name. And no page of
    another site may send anything (its browser says in `Origin` where it is from).
    """
    found: list[Middleware] = [_same_origin]
    token = settings.token.get_secret_value()
    if token:
        found.append(_token_guard(token))
    elif is_loopback(settings.host):
        found.append(_host_guard(settings.host))
    return found


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what is bound to `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@web.middleware
async def _same_origin(request: web.Request, handler: Handler) -> web.StreamResponse:
    origin = request.headers.get("Origin")
    if origin is not None and request.method not in _SAFE and _site(origin) != _host(request):
        raise RefusedRequest(403, f"Origin: {origin!r} is another site's; none may send anything")
    return await handler(request)


def _site(origin: str) -> str:
    return origin.lower().partition("://")[2]


def _host(request: web.Request) -> str:
    return request.headers.get("Host", "").lower()


def _token_guard(token: str) -> Middleware:
    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.headers.get("Authorization", "").encode(errors="surrogateescape")
        is_open = request.path in OPEN or request.path.startswith(OPEN_FOLDER)
        if not is_open and not hmac.compare_digest(given, f"Bearer {token}".encode()):
            raise web.HTTPUnauthorized(headers={"WWW-Authenticate": "Bearer"})
        return await handler(request)

    return guard


def _host_guard(bound: str) -> Middleware:
    names = {"localhost", "127.0.0.1", "::1", bound}

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        host = _host(request)
        if _host_name(host) not in names:
            raise RefusedRequest(
                403,
                f"Host: {host!r} is not this machine's; set web.token to be called by other names",
            )
        return await handler(request)

    return guard


def _host_name(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None
