"""Traces, sent by a real worker to a collector of the tests that speaks OTLP over HTTP."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from streams.brokers import EmbeddedBroker
from streams.kafka import clients
from streams.messages.schemas import encode
from streams.settings import Settings
from tests.streams.conftest import Path, interaction, one_partition

TRACE, SENDER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Collector(ThreadingHTTPServer):
    """Takes spans at /v1/traces, as OpenTelemetry's own collector does."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.spans: list[Any] = []
        self.resources: list[dict[str, str]] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        assert self.path == "/v1/traces"
        assert isinstance(self.server, Collector)
        for found in ExportTraceServiceRequest.FromString(body).resource_spans:
            attributes = found.resource.attributes
            self.server.resources.append({each.key: each.value.string_value for each in attributes})
            self.server.spans += [span for scope in found.scope_spans for span in scope.spans]
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as made:
        yield made
        made.shutdown()


def test_a_trace_goes_on_through_the_worker_to_its_subscribers(
    collector: Collector, settings: Callable[..., Settings], embedded: EmbeddedBroker
) -> None:
    path = one_partition(settings, embedded)
    traced = path.settings.traces.model_copy(update={"endpoint": collector.url})
    path = Path(path.settings.model_copy(update={"traces": traced}))
    parents = [f"00-{TRACE}-{SENDER}-01", f"00-{TRACE}-{SENDER}-00", "00-no-trace-01", None]
    with path.worker():
        for number, parent in enumerate(parents):
            headers = {"traceparent": parent.encode()} if parent else {}
            path.send_bytes(encode(interaction(number)), "ann", headers)
        # One whose value is null, as Kafka allows.
        path.send_bytes(encode(interaction(len(parents))), "ann", {"traceparent": None})
        path.flush()
        answers = path.read(path.names.recommendations, len(parents) + 1)
    # It has ended in order: what was left to send is sent.
    name = f"process {path.names.interactions}"
    [span] = [each for each in collector.spans if each.name == name]
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, SENDER)
    told = [clients.headers(answer).get("traceparent", b"").decode() for answer in answers]
    assert told == [f"00-{TRACE}-{span.span_id.hex()}-01", parents[1], parents[2], "", ""]
    stages = [each for each in collector.spans if each is not span]
    assert {each.parent_span_id for each in stages} == {span.span_id}
    assert {"decode", "learn", "graph", "rank", "emit"} <= {each.name for each in stages}
    begins = [each.start_time_unix_nano for each in stages]
    assert begins == sorted(begins)
    assert span.start_time_unix_nano <= begins[0] < span.end_time_unix_nano
    attributes = {each.key: each.value for each in span.attributes}
    assert attributes["messaging.destination.name"].string_value == path.names.interactions
    assert attributes["messaging.kafka.offset"].int_value == 0
    assert not any("ann" in each.value.string_value for each in span.attributes)
    assert collector.resources[0]["service.name"] == "millrace"


def test_a_collector_that_is_away_holds_nothing_up(
    settings: Callable[..., Settings], embedded: EmbeddedBroker
) -> None:
    path = one_partition(settings, embedded)
    gone = path.settings.traces.model_copy(update={"endpoint": "http://127.0.0.1:9"})
    path = Path(path.settings.model_copy(update={"traces": gone}))
    with path.worker() as child:
        headers: dict[str, Any] = {"traceparent": f"00-{TRACE}-{SENDER}-01".encode()}
        for number in range(20):
            path.send_bytes(encode(interaction(number)), "ann", headers)
        path.flush()
        assert len(path.answers(20)) == 20
        assert child.running
