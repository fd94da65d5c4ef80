"""Workers and a real Kafka for two million events: does memory stay flat, and latency what it was?

    python -m benchmarks.soak [--events 2000000] [--rate 800] [--workers 1] [--json FILE]

The invented stream at a fixed rate, its users and items bounded (what a worker holds grows with
those, not with the log). Topics keep the last quarter of a gigabyte.

- `slope_mb_per_million_events`: least squares over the workers' resident memory together (a child
  that writes a checkpoint shares it and is not counted), sampled every second, after the first
  quarter of the run (a full run's window of known event ids is full then).
  What users took is part of it: 8 bytes for each item that is new to its user (`new_pairs_mb`).
- `total_us`, `end_to_end_ms`: of the second tenth of the answers and of the last, and the ratio of
  their p99. `total` is received to handed to the producer; end to end, sent to received.
"""

from __future__ import annotations

import argparse
import json
import time
from array import array
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import msgspec
import numpy as np
import psutil
from confluent_kafka import OFFSET_BEGINNING, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from benchmarks.end_to_end import Bench, publish_catalogue
from engine.datasets import Synthetic
from engine.evaluation.measures import percentiles
from engine.evaluation.provenance import provenance
from engine.events import Interaction
from streams.brokers import KafkaServer
from streams.kafka import clients
from streams.kafka.reader_thread import ReaderThread
from streams.tools.replay import SENT_NS

USERS, ITEMS = 5_000, 2_000
RETENTION = {"retention.bytes": str(256 * 2**20), "segment.bytes": str(32 * 2**20)}
WARM_UP = 0.25
MB = 1e6
console = Console(stderr=True)


class _Latency(msgspec.Struct):
    total: float


class _Answer(msgspec.Struct):
    latency_us: _Latency


class Answers:
    """A thread that takes every answer's latencies: `total_us` and `end_to_end_ms`, in order."""

    def __init__(self, bench: Bench) -> None:
        self.total_us, self.end_to_end_ms = array("f"), array("f")
        self._consumer = clients.reader(bench.settings, **{"isolation.level": "read_committed"})
        topic = bench.settings.topics.recommendations
        partitions = range(bench.settings.topics.partitions)
        self._consumer.assign([TopicPartition(topic, n, OFFSET_BEGINNING) for n in partitions])
        self._decoder = msgspec.json.Decoder(_Answer)
        self._thread = ReaderThread("answers", self._consumer)

    def __enter__(self) -> Self:
        self._thread.start(self._turn)
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.finish()

    def __len__(self) -> int:
        return len(self.end_to_end_ms)

    def _turn(self) -> None:
        message = self._consumer.poll(0.1)
        if message is not None and not message.error():
            now = time.time_ns()
            sent = int(clients.headers(message)[SENT_NS])
            self.total_us.append(self._decoder.decode(message.value() or b"").latency_us.total)
            self.end_to_end_ms.append((now - sent) / 1e6)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--events", type=int, default=2_000_000)
    parser.add_argument("--rate", type=float, default=800.0, help="events per second")
    parser.add_argument("--workers", type=int, default=1, help="with a partition each")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    dataset = Synthetic(arguments.events, users=USERS, items=ITEMS, seed=arguments.seed)
    with KafkaServer() as kafka:
        bench = Bench(kafka.bootstrap, "soak", partitions=arguments.workers)
        keep_topics_small(bench)
        report = soak(bench, dataset, arguments.rate)
    report |= {"users": USERS, "items": ITEMS, "rate": arguments.rate, "workers": arguments.workers}
    report |= provenance(f"{dataset.name} ({dataset.format})", arguments.seed)
    text = json.dumps(report, indent=2)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n")


def keep_topics_small(bench: Bench) -> None:
    """Have the broker drop what has been read long since, so that the disk does not fill."""
    admin = AdminClient({"bootstrap.servers": bench.settings.broker.bootstrap})
    names = bench.settings.topics
    entries = [
        ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        for name, value in RETENTION.items()
    ]
    resources = [
        ConfigResource(ResourceType.TOPIC, name, incremental_configs=entries)
        for name in (names.interactions, names.recommendations)
    ]
    for altered in admin.incremental_alter_configs(resources).values():
        altered.result()


def soak(bench: Bench, dataset: Synthetic, rate: float) -> dict[str, Any]:
    """Send all of the data set to workers, of which each has a partition, and watch them."""
    with ExitStack() as stack:
        workers = range(bench.settings.topics.partitions)
        processes = [psutil.Process(stack.enter_context(bench.worker()).pid) for _ in workers]
        answers = stack.enter_context(Answers(bench))
        publish_catalogue(bench, dataset)
        bench.await_workers(len(workers))

        def resident() -> int:
            return sum(process.memory_info().rss for process in processes)

        samples: list[tuple[int, int]] = []
        pairs: set[tuple[str, str | None]] = set()
        warm_pairs = 0
        columns = TextColumn("{task.description}"), MofNCompleteColumn(), TimeRemainingColumn()
        with Progress(*columns, console=console, transient=True) as bars:
            task = bars.add_task("soak", total=dataset.events)
            for number, interaction in _paced(dataset.interactions(), rate, bench):
                bench.send(bench.settings.topics.interactions, interaction)
                pairs.add((interaction.user, interaction.item))
                if number == int(dataset.events * WARM_UP):
                    warm_pairs = len(pairs)
                if number % max(1, int(rate)) == 0:
                    samples.append((len(answers), resident()))
                    bars.update(task, completed=number, description=f"{samples[-1][1] / MB:.0f} MB")
        bench.producer.flush()
        _await(answers, dataset.events)
        samples.append((len(answers), resident()))
    report = summary(samples, answers.total_us, answers.end_to_end_ms, dataset.events)
    return report | {"new_pairs_mb": round((len(pairs) - warm_pairs) * 8 / MB, 2)}


def summary(
    samples: list[tuple[int, int]], total_us: array[float], end_to_end_ms: array[float], events: int
) -> dict[str, Any]:
    """The figures of a run.

    Parameters
    ----------
    samples
        (answers so far, bytes resident), in order.
    total_us, end_to_end_ms
        One of each answer, in order.
    """
    points = np.array(samples, np.float64)
    warm = points[points[:, 0] >= WARM_UP * events]
    slope = np.polyfit(warm[:, 0] / 1e6, warm[:, 1] / MB, 1)[0] if len(warm) > 2 else None
    report: dict[str, Any] = {
        "events": events,
        "answers": len(end_to_end_ms),
        "slope_mb_per_million_events": None if slope is None else round(float(slope), 2),
        "resident_mb": {
            "after_warm_up": round(float(warm[0, 1]) / MB, 1),
            "end": round(float(points[-1, 1]) / MB, 1),
            "peak": round(float(points[:, 1].max()) / MB, 1),
        },
    }
    tenth = len(end_to_end_ms) // 10
    for name, sample in (("total_us", total_us), ("end_to_end_ms", end_to_end_ms)):
        second, last = percentiles(sample[tenth : 2 * tenth]), percentiles(sample[-tenth:])
        report[name] = {
            "second_tenth": second,
            "last_tenth": last,
            "p99_ratio": round(last["p99"] / second["p99"], 3),
        }
    return report


def _paced(
    interactions: Iterator[Interaction], rate: float, bench: Bench
) -> Iterator[tuple[int, Interaction]]:
    start = time.monotonic()
    for number, interaction in enumerate(interactions):
        while (left := start + number / rate - time.monotonic()) > 0:
            bench.producer.poll(0)
            time.sleep(min(left, 0.002))
        yield number, interaction


def _await(answers: Answers, count: int) -> None:
    deadline, before = time.monotonic() + 60, -1
    while len(answers) < count:
        if len(answers) > before:
            deadline, before = time.monotonic() + 60, len(answers)
        if time.monotonic() > deadline:
            raise TimeoutError(f"{len(answers):,} of {count:,} events were answered")
        time.sleep(0.1)


if __name__ == "__main__":
    main()
