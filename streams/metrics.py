"""What a worker counts, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from engine.propagation import DeviceWork
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
        yield CounterMetricFamily(
            "millrace_worker_followed",
            "Events learnt that other workers answered.",
            value=counts.followed,
        )
        yield GaugeMetricFamily(
            "millrace_worker_follow_lag_seconds",
            "Age of the last event learnt that another worker answered.",
            value=counts.follow_lag_seconds,
        )
        yield CounterMetricFamily(
            "millrace_worker_late",
            "Events later than worker.grace_seconds behind the latest of their partition.",
            value=counts.late,
        )
        evicted = CounterMetricFamily(
            "millrace_engine_evicted",
            "Users and items that made room for others.",
            labels=["of"],
        )
        for kind, count in self._pipeline.evicted._asdict().items():
            evicted.add_metric([kind], count)
        yield evicted
        yield CounterMetricFamily(
            "millrace_worker_checkpoints", "Checkpoints begun.", value=counts.checkpoints
        )
        yield CounterMetricFamily(
            "millrace_worker_checkpoint_pause_seconds",
            "Time that events waited for checkpoints.",
            value=counts.checkpoint_pause_seconds,
        )
        dead = CounterMetricFamily(
            "millrace_worker_dead_letters", "Messages that could not be read.", labels=["error"]
        )
        for error, count in sorted(counts.dead_letters.items()):
            dead.add_metric([error], count)
        yield dead
        yield from _of_device(self._pipeline.device_work)
        yield GaugeMetricFamily(
            "millrace_worker_partitions",
            "Partitions of the input that this worker reads.",
            value=len(self._pipeline.ours),
        )


def _of_device(work: DeviceWork | None) -> Iterator[Metric]:
    """What the board did. Its time is labelled as simulated where it is."""
    if work is None:
        return
    simulated = str(work.simulated).lower()
    for name, value, text in (
        ("device_seconds", work.device_seconds, "Time of the core: cycles over its clock."),
        ("host_seconds", work.host_seconds, "Time that this machine waited for the board."),
        ("batches", work.batches, "Batches that the board aggregated."),
        ("targets", work.targets, "Nodes that the board aggregated."),
        ("sent_bytes", work.bytes_sent, "Bytes of buffers sent to the board."),
        ("received_bytes", work.bytes_received, "Bytes of buffers received from it."),
        ("faults", work.faults, "Times that the board failed; the CPU takes over."),
    ):
        family = CounterMetricFamily(f"millrace_overlay_{name}", text, labels=["simulated"])
        family.add_metric([simulated], value)
        yield family
