"""Guards of the web server: only who has the token, and no page of another site, is answered."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import time
from collections import OrderedDict
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from streams.settings import WebSettings
from streams.web.errors import RefusedRequest

OPEN = ("/health/live", "/health/ready", "/", "/docs")
"""Paths that need no token: orchestrators ask for the first two, and no answer holds a secret."""
OPEN_FOLDER = "/static/"
"""Files of the pages need no token either: the pages ask for it themselves."""
_SAFE = ("GET", "HEAD", "OPTIONS")
_OWN = ("same-origin", "none")
"""Values of `Sec-Fetch-Site` that are served: the server's own pages, and typed addresses."""
_MOST_CLIENTS = 4_096
"""Most addresses whose requests are counted: those that asked last."""
_REFUSED_SECONDS = 0.25
"""Seconds that a refusal for too many requests waits."""


def guards(settings: WebSettings) -> list[Middleware]:
    """The middlewares that these settings ask for.

    With a token, all other paths demand it, as `Authorization: Bearer TOKEN`. Without one, a server
    that only this machine reaches checks the `Host` header, because a page of another site whose
    name was made to resolve to this machine (DNS rebinding) sends that name. No page of another
    site may send anything (its browser names the site in `Origin`).
    """
    found: list[Middleware] = []
    if settings.requests_per_second:
        found.append(_rate_guard(settings.requests_per_second))
    found.append(_same_origin)
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
    if request.method not in _SAFE:
        origin, from_site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site")
        if origin is not None and _site(origin) != _host(request):
            raise RefusedRequest(
                403, f"Origin: {origin!r} is another site's; none may send anything"
            )
        if from_site is not None and from_site.strip().lower() not in _OWN:
            raise RefusedRequest(
                403, f"Sec-Fetch-Site: {from_site!r} is another site; none may send anything"
            )
    return await handler(request)


def _site(origin: str) -> str:
    return origin.lower().partition("://")[2]


def _host(request: web.Request) -> str:
    return request.headers.get("Host", "").lower()


def _token_guard(token: str) -> Middleware:
    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        header = request.headers.get("Authorization", "")
        scheme, _, rest = header.partition(" ")
        given = rest.strip(" ").encode(errors="surrogateescape")
        fits = hmac.compare_digest(given, token.encode()) and scheme.lower() == "bearer"
        is_open = request.path in OPEN or request.path.startswith(OPEN_FOLDER)
        if not is_open and not fits:
            raise web.HTTPUnauthorized(headers={"WWW-Authenticate": "Bearer"})
        return await handler(request)

    return guard


def _rate_guard(rate: float) -> Middleware:
    """A bucket of tokens for each address: `rate` a second, and as many at once."""
    most = max(1.0, rate)
    buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        client, now = request.remote or "", time.monotonic()
        left, at = buckets.pop(client, (most, now))
        left = min(most, left + (now - at) * rate)
        buckets[client] = (left - 1.0 if left >= 1.0 else left, now)
        if len(buckets) > _MOST_CLIENTS:
            buckets.popitem(last=False)
        if left < 1.0:
            # Clients that retry at once would cost as much as those that are answered.
            await asyncio.sleep(_REFUSED_SECONDS)
            raise RefusedRequest(
                429, f"more than web.requests_per_second = {rate:g} from {client}; ask again later"
            )
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
