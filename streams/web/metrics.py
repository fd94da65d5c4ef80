"""A worker's metrics for Prometheus; docs/metrics.md lists them.

The web server's thread reads all of them when asked, so an event costs only its own counting
(streams/worker/durations.py, streams/worker/drift.py).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from math import isfinite

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

from engine.propagation import DeviceWork
from engine.settings import EngineSettings
from streams.experiments.comparison import Comparison
from streams.messages.bad_message import ERROR_CLASSES
from streams.worker.assignment import Assignment
from streams.worker.checkpoints import Checkpoints
from streams.worker.drift import SCORES, SHARES
from streams.worker.durations import cumulative, exposed
from streams.worker.health import Health
from streams.worker.pipeline import Pipeline


def registry(
    pipeline: Pipeline,
    assignment: Assignment,
    health: Health,
    settings: EngineSettings,
    checkpoints: Checkpoints | None,
) -> CollectorRegistry:
    """A worker's metrics, with those of its process and of Python's garbage collector."""
    found = CollectorRegistry()
    found.register(WorkerMetrics(pipeline, assignment, health, settings, checkpoints))
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=found)
    return found


@dataclass(eq=False)  # a registry keeps collectors by identity
class WorkerMetrics(Collector):
    """Reads the counts of a worker's parts."""

    pipeline: Pipeline
    assignment: Assignment
    health: Health
    settings: EngineSettings
    checkpoints: Checkpoints | None

    def collect(self) -> Iterator[Metric]:
        """The metrics, as prometheus_client asks for them."""
        yield _labelled(
            GaugeMetricFamily,
            "millrace_build_info",
            "Version, model and aggregator of this Millrace; always 1.",
            ("version", "model", "aggregator"),
            {(version("millrace-recommender"), self.settings.model, self.settings.aggregator): 1},
        )
        yield from self._of_worker()
        yield from self._of_partitions()
        yield from self._of_checkpoints()
        yield from self._of_forgetting()
        yield from self._of_engine()
        yield from of_device(self.pipeline.device_work)

    def _of_worker(self) -> Iterator[Metric]:
        counts = self.pipeline.counts
        yield _gauge(
            "worker_ready", "Whether /health/ready answers 200: 1 or 0.", int(self.health.ready)
        )
        yield _gauge(
            "worker_partitions",
            "Partitions of the input that this worker reads.",
            len(self.assignment.ours()),
        )
        for name, value, text in (
            ("events", counts.received, "Events received."),
            ("recommendations", counts.recommendations, "Recommendations written."),
            ("duplicates", counts.duplicates, "Events whose event_id was known already."),
            (
                "replayed",
                counts.replayed,
                "Answered events that were learnt again after a restart.",
            ),
            (
                "followed",
                counts.followed,
                "Events of other workers whose deltas of items were applied.",
            ),
            ("deltas", counts.deltas, "Deltas of items sent to other workers."),
            ("delta_bytes", counts.delta_bytes, "Size of the deltas sent."),
            ("foreign_keys", counts.foreign_keys, "Events whose key is not their user's id."),
            ("late", counts.late, "Events more than worker.grace_seconds behind the latest."),
        ):
            yield CounterMetricFamily(f"millrace_worker_{name}", text, value=value)
        letters: dict[tuple[str, ...], float] = {
            (message, error): count
            for message, counted in (
                ("interaction", counts.dead_letters),
                ("item", counts.item_dead_letters),
            )
            for error, count in (dict.fromkeys(ERROR_CLASSES, 0) | counted).items()
        }
        yield _labelled(
            CounterMetricFamily,
            "millrace_worker_dead_letters",
            "Messages that could not be read: interactions, and messages about items.",
            ("message", "error"),
            letters,
        )
        yield _labelled(
            CounterMetricFamily,
            "millrace_worker_unknown",
            "Answered events by what was not known: the user, the item, a listing of the item.",
            ("of",),
            {(of,): counts.unknown[of] for of in ("user", "item", "unlisted")},
        )
        yield _gauge(
            "worker_follow_lag_seconds",
            "Age of the last delta of another worker when it was applied.",
            counts.follow_lag_seconds,
        )
        stages = HistogramMetricFamily(
            "millrace_worker_stage_seconds",
            "Time of each stage of an answer; total is all of them but queue, the wait before.",
            labels=["stage"],
        )
        for stage, histogram in self.pipeline.durations.histograms.items():
            stages.add_metric([stage], *exposed([histogram]))
        yield stages
        yield from self._of_drift()

    def _of_drift(self) -> Iterator[Metric]:
        # Without sums: that of scores, some of which are negative, would be no counter.
        drift = self.pipeline.drift
        scores = HistogramMetricFamily(
            "millrace_worker_top_score", "Score of the first item of each answer."
        )
        scores.add_metric([], cumulative(SCORES, drift.scores), None)
        yield scores
        popularity = HistogramMetricFamily(
            "millrace_worker_item_popularity_ratio",
            "Share of recent interactions of the first item of each answer, and of the item taken.",
            labels=["of"],
        )
        for of, counts in (("recommended", drift.recommended), ("taken", drift.taken)):
            popularity.add_metric([of], cumulative(SHARES, counts), None)
        yield popularity

    def _of_partitions(self) -> Iterator[Metric]:
        places = self.assignment.partitions.copy()
        out = {partition.number: partition.writer.queue for partition in self.assignment.ours()}
        waiting = self.health.waiting
        for name, values, text in (
            (
                "next_offset",
                {n: place.next_offset for n, place in places.items() if place.held},
                "Offset of the next event to learn, of partitions whose users are here.",
            ),
            (
                "waiting_events",
                {n: waiting[n] for n in out if n in waiting},
                "Events not learnt yet, of partitions that this worker answers.",
            ),
            (
                "answered_offset",
                {n: queue.out for n, queue in out.items()},
                "Offset up to which answers are committed, of partitions that this worker answers.",
            ),
            (
                "waiting_answers",
                {n: queue.waiting for n, queue in out.items()},
                "Answers not committed yet, of partitions that this worker answers.",
            ),
        ):
            yield _labelled(
                GaugeMetricFamily,
                f"millrace_partition_{name}",
                text,
                ("partition",),
                {(str(number),): value for number, value in values.items()},
            )
        commits = HistogramMetricFamily(
            "millrace_delivery_write_seconds",
            "Time from sending a batch of answers until the broker has acknowledged it.",
        )
        commits.add_metric([], *exposed(place.writer.durations for place in places.values()))
        yield commits

    def _of_forgetting(self) -> Iterator[Metric]:
        counts = self.pipeline.counts
        yield _gauge(
            "worker_forget_pending",
            "Whether a request to be forgotten is not carried out exactly yet: 1 or 0.",
            int(counts.forget_pending),
        )
        yield SummaryMetricFamily(
            "millrace_worker_rebuild_pause_seconds",
            "Time that events waited for each takeover of a state without forgotten users.",
            counts.rebuilds,
            counts.rebuild_pause_seconds,
        )
        yield CounterMetricFamily(
            "millrace_worker_rebuild_failures",
            "Rebuilds of the state without forgotten users that failed.",
            value=counts.rebuild_failures,
        )

    def _of_checkpoints(self) -> Iterator[Metric]:
        counts = self.pipeline.counts
        yield SummaryMetricFamily(
            "millrace_checkpoint_pause_seconds",
            "Time that events waited for the fork of each checkpoint begun.",
            counts.checkpoints,
            counts.checkpoint_pause_seconds,
        )
        yield SummaryMetricFamily(
            "millrace_checkpoint_write_seconds",
            "Time from the fork of each checkpoint until it had its name.",
            counts.checkpoints_written,
            counts.checkpoint_write_seconds,
        )
        yield CounterMetricFamily(
            "millrace_checkpoint_failures",
            "Checkpoints that could not be written.",
            value=counts.checkpoint_failures,
        )
        age = self.checkpoints.age() if self.checkpoints else float("inf")
        if isfinite(age):
            yield _gauge(
                "checkpoint_newest_timestamp_seconds",
                "When the newest checkpoint of this machine was written, since the epoch.",
                time.time() - age,
            )

    def _of_engine(self) -> Iterator[Metric]:
        for kind, count in self.pipeline.known.items():
            yield _gauge(f"engine_{kind}", f"{kind.capitalize()} that the engine knows.", count)
        yield _labelled(
            CounterMetricFamily,
            "millrace_engine_evicted",
            "Users and items that were evicted to make room for others.",
            ("of",),
            {(kind,): count for kind, count in self.pipeline.evicted._asdict().items()},
        )


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"millrace_{name}", text, value=value)


def _labelled(
    family: type[CounterMetricFamily] | type[GaugeMetricFamily],
    name: str,
    text: str,
    labels: tuple[str, ...],
    values: dict[tuple[str, ...], float],
) -> Metric:
    metric = family(name, text, labels=labels)
    for label_values, value in values.items():
        metric.add_metric(label_values, value)
    return metric


def of_device(work: DeviceWork | None) -> Iterator[Metric]:
    """Metrics of the board; a label says whether its time is simulated."""
    if work is None:
        return
    for name, value, text in (
        ("device_seconds", work.device_seconds, "Time of the core: cycles over its clock."),
        ("host_seconds", work.host_seconds, "Time that this machine waited for the board."),
        ("batches", work.batches, "Batches that the board aggregated."),
        ("targets", work.targets, "Nodes that the board aggregated."),
        ("calls", work.calls, "Calls to the board over the network."),
        ("sent_bytes", work.bytes_sent, "Bytes of buffers sent to the board."),
        ("received_bytes", work.bytes_received, "Bytes of buffers received from it."),
        ("faults", work.faults, "Times that the board failed; the CPU takes over."),
    ):
        simulated = str(work.simulated).lower()
        yield _labelled(
            CounterMetricFamily,
            f"millrace_overlay_{name}",
            text,
            ("simulated",),
            {(simulated,): value},
        )


@dataclass(eq=False)
class ExperimentMetrics(Collector):
    """Metrics of the arms of experiments: answers, and measures of their lists."""

    pipeline: Pipeline
    comparison: Comparison

    def collect(self) -> Iterator[Metric]:
        """The metrics, as prometheus_client asks for them; none without experiments."""
        answers, sums = self.pipeline.counts.arms, self.comparison.sums
        if not sums:
            return
        told: dict[str, tuple[str, dict[tuple[str, ...], float]]] = {
            "answers": ("Answers by arm.", {arm: answers[arm] for arm in sums}),
            "queries": (
                "Times that users took an item while they had a list.",
                {arm: each.queries for arm, each in sums.items()},
            ),
            "hits": (
                "Queries whose item was among the first ten of the list.",
                {arm: each.hits for arm, each in sums.items()},
            ),
            "gain": (
                "Sum of the queries' NDCG@10.",
                {arm: each.gain for arm, each in sums.items()},
            ),
        }
        for name, (text, values) in told.items():
            full = f"millrace_experiment_{name}"
            yield _labelled(CounterMetricFamily, full, text, ("experiment", "arm"), values)
