"""OpenTelemetry spans of events that bring a `traceparent`: one of the answer, one of each stage.

A trace that began where the event was made goes on here, and the answer's `traceparent` names our
span, so that it goes on at the subscriber, too (https://www.w3.org/TR/trace-context/). An event
that brings none, or whose sender did not sample it, makes no span and costs nothing.
"""

from __future__ import annotations

import time
from typing import Any

from streams.kafka.record import Record
from streams.messages.schemas import TRACING, Headers, Recommendation
from streams.settings import SettingsError

_NOT_STAGES = ("queue", "total")
_PATIENCE_SECONDS = 3.0
"""With a collector that is away: so long the end of a worker waits for it at most."""


class Traces:
    """Makes the spans, and sends them in batches from a thread of its own.

    Parameters
    ----------
    endpoint
        Of an OTLP/HTTP collector, as ``http://127.0.0.1:4318``. Headers for it, such as a token,
        come from ``OTEL_EXPORTER_OTLP_HEADERS``.
    version, worker
        Of Millrace, and what names this process: the spans' resource has them.

    Raises
    ------
    SettingsError
        If the extra `traces` is not installed.
    """

    def __init__(self, endpoint: str, version: str, worker: str) -> None:
        try:
            from opentelemetry import trace  # noqa: PLC0415 - of the extra traces
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
                OTLPSpanExporter,
            )
            from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
            from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
            from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
            from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415
                TraceContextTextMapPropagator,
            )
        except ImportError:
            raise SettingsError(
                "traces.endpoint names a collector, which needs OpenTelemetry: "
                "pip install '.[traces]'"
            ) from None
        resource = {
            "service.name": "millrace",
            "service.version": version,
            "service.instance.id": worker,
        }
        self._provider = TracerProvider(resource=Resource.create(resource))
        exporter = OTLPSpanExporter(
            endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=_PATIENCE_SECONDS
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("millrace", version)
        self._propagator, self._api = TraceContextTextMapPropagator(), trace

    def answered(self, record: Record, answer: Recommendation, headers: Headers) -> Headers:
        """Make the spans of an event whose answer has just been encoded.

        Parameters
        ----------
        headers
            Those of the answer.

        Returns
        -------
        Headers
            The same, in which `traceparent` names our span if there is one.
        """
        carrier = {
            name: (value or b"").decode("latin-1") for name, value in headers if name in TRACING
        }
        if not carrier:
            return headers
        context = self._propagator.extract(carrier)
        sender = self._api.get_current_span(context).get_span_context()
        if not (sender.is_valid and sender.trace_flags.sampled):
            return headers
        end_ns = time.time_ns()
        began_ns = end_ns - int(answer.latency_us.total * 1e3)
        span = self._tracer.start_span(
            f"process {answer.source.topic}",
            context,
            kind=self._api.SpanKind.CONSUMER,
            start_time=began_ns,
            attributes=_attributes(record, answer),
        )
        ours = self._api.set_span_in_context(span)
        at_ns = began_ns
        for stage in answer.latency_us.__struct_fields__:
            took_ns = int(getattr(answer.latency_us, stage) * 1e3)
            if stage in _NOT_STAGES or not took_ns:
                continue
            self._tracer.start_span(stage, ours, start_time=at_ns).end(at_ns + took_ns)
            at_ns += took_ns
        span.end(end_ns)
        told: dict[str, str] = {}
        self._propagator.inject(told, ours)
        return [
            *(header for header in headers if header[0] not in TRACING),
            *((name, value.encode("latin-1")) for name, value in told.items()),
        ]

    def stop(self) -> None:
        """Send what is left, and end the thread."""
        self._provider.shutdown()


def _attributes(record: Record, answer: Recommendation) -> dict[str, Any]:
    """By OpenTelemetry's conventions for messaging; nothing that names the user."""
    return {
        "messaging.system": "kafka",
        "messaging.operation.type": "process",
        "messaging.destination.name": answer.source.topic,
        "messaging.destination.partition.id": str(record.partition),
        "messaging.kafka.offset": record.offset,
        "millrace.kind": answer.kind,
        "millrace.queue_us": answer.latency_us.queue,
        "millrace.model": answer.model.digest,
    }
