"""What a worker counts, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from streams.pipeline import Pipeline


class WorkerMetrics(Collector):
    """Reads the pipeline's counts when asked, so that an event costs nothing more."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    def collect(self) -> Iterator[Metric]:
        """The metrics, as prometheus_client asks for them."""
        counts = self._pipeline.counts
        yield CounterMetricFamily(
            "millrace_worker_events", "Events received.", value=counts.received
        )
        yield CounterMetricFamily(
            "millrace_worker_recommendations",
            "Recommendations written.",
            value=counts.recommendations,
        )
        yield CounterMetricFamily(
            "millrace_worker_duplicates",
            "Events whose event_id was known already.",
            value=counts.duplicates,
        )
        yield CounterMetricFamily(
            "millrace_worker_replayed",
            "Events learnt again after a restart, their answers being out already.",
            value=counts.replayed,
        )
        dead = CounterMetricFamily(
            "millrace_worker_dead_letters", "Messages that could not be read.", labels=["error"]
        )
        for error, count in sorted(counts.dead_letters.items()):
            dead.add_metric([error], count)
        yield dead
        yield GaugeMetricFamily(
            "millrace_worker_partitions",
            "Partitions of the input that this worker reads.",
            value=len(self._pipeline.active),
        )


def serve(pipeline: Pipeline, host: str, port: int) -> None:
    """Serve /metrics from a thread of this process; port 0 serves nothing."""
    if port:
        registry = CollectorRegistry()
        registry.register(WorkerMetrics(pipeline))
        start_http_server(port, host, registry)
