"""Metrics of the web server: requests by route and status, and their durations."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterator

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from streams.worker.durations import Histogram, exposed

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_STREAMS = ("/live",)
"""Routes that stream as long as a page is open: their durations say nothing of the server."""
OTHER = "other"
"""The label of unknown routes and methods, which keeps the values of a label few."""


class HttpMetrics(Collector):
    """Counts what a server answers; for its event loop, and any thread may read."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, str, str]] = Counter()
        self._durations: defaultdict[str, Histogram] = defaultdict(Histogram)

    @property
    def middleware(self) -> Middleware:
        """Middleware that counts answers; a client that went away has the status `gone`."""

        @web.middleware
        async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
            began_ns, status = time.perf_counter_ns(), "gone"
            try:
                response = await handler(request)
                status = str(response.status)
                return response
            finally:
                us = (time.perf_counter_ns() - began_ns) / 1e3
                self._count(request.method, _route(request), status, us)

        return count

    def _count(self, method: str, route: str, status: str, microseconds: float) -> None:
        self._requests[method if method in _METHODS else OTHER, route, status] += 1
        if route not in _STREAMS:
            self._durations[route].observe(microseconds)

    def collect(self) -> Iterator[Metric]:
        """The metrics, as prometheus_client asks for them."""
        requests = CounterMetricFamily(
            "millrace_http_requests",
            "Requests that the web server answered.",
            labels=("method", "route", "status"),
        )
        for labels, count in list(self._requests.items()):
            requests.add_metric(labels, count)
        yield requests
        durations = HistogramMetricFamily(
            "millrace_http_request_seconds",
            "Time of a request, from its header to its answer, except streams.",
            labels=("route",),
        )
        for route, histogram in list(self._durations.items()):
            durations.add_metric([route], *exposed([histogram]))
        yield durations


def _route(request: web.Request) -> str:
    """The path of the route, with its parameters' names in place of their values."""
    resource = request.match_info.route.resource
    return OTHER if resource is None else resource.canonical
