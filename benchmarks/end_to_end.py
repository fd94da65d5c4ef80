"""Latency and throughput of the whole path, on a real Kafka, beside a loop that does nothing.

    python -m benchmarks.end_to_end ../shared/data/ml-100k --delivery leased --json FILE

- `end_to_end_ms`: producer's send to subscriber's receive at 200 events/s, in blocks that take
  turns with the bare loop's (`bare_loop_ms`), so that both meet the same machine; the bare loop
  writes in the same way of delivery.
- `stages_us`: what the worker reports of each answer in those blocks; `total` is received to
  handed to the producer.
- `events_per_second`: answers a second while one worker works off a backlog, between its first
  and last tenth; `time_share` is where that time goes.
- `outside_engine_us`: the mean microseconds of a backlog's event that the engine did not take.
- `fairness_ms`: how long an event of one partition waits for its answer while 50,000 events wait in
  another: the longest and the median of ten.
- `first_answer_s`: from the start of the worker's process to its first answer, kernels cached and
  the catalogue on its topic; `restart_s` is the same for a worker that starts again, after a
  backlog, with what it learnt and answered.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Self

import msgspec
from confluent_kafka import Consumer, TopicPartition
from rich.console import Console

from engine.datasets import open_dataset
from engine.evaluation.measures import percentiles
from engine.evaluation.provenance import provenance
from engine.events import Interaction
from streams.brokers import KafkaServer
from streams.kafka import clients, topics
from streams.kafka.group import Group
from streams.kafka.partitioner import partition_of
from streams.kafka.reader_thread import ReaderThread
from streams.messages.decoding import decode_interaction
from streams.messages.schemas import Recommendation, encode
from streams.processes import Child
from streams.settings import WebSettings
from streams.settings_io import as_environment, load_settings
from streams.tools.answer_stats import STAGES
from streams.tools.replay import SENT_NS

RATE = 200.0
BLOCK_SECONDS = 5.0
WARM_UP_EVENTS = 5_000
PROBES = 10
TOPICS = (
    "interactions", "items", "item_embeddings", "item_deltas", "recommendations", "dead_letters",
)  # fmt: skip
console = Console(stderr=True)


class Bench:
    """A broker, its topics and the clients of one measurement."""

    def __init__(
        self, bootstrap: str, suffix: str, delivery: str = "leased", partitions: int | None = None
    ) -> None:
        defaults = load_settings()
        names: dict[str, Any] = {name: f"bench.{suffix}.{name}" for name in TOPICS}
        checkpoints = tempfile.mkdtemp(prefix="millrace-bench-")
        weakref.finalize(self, shutil.rmtree, checkpoints, ignore_errors=True)
        names["partitions"] = partitions or defaults.topics.partitions
        self.settings = defaults.model_copy(
            update={
                "broker": defaults.broker.model_copy(update={"bootstrap": bootstrap}),
                "topics": defaults.topics.model_copy(update=names),
                "worker": defaults.worker.model_copy(
                    update={
                        "group": f"bench-{suffix}",
                        "delivery": delivery,
                        "checkpoints": checkpoints,
                    }
                ),
                "web": WebSettings(port=0),
            }
        )
        topics.create(self.settings)
        self.producer = clients.producer(self.settings)
        self.reader = clients.tail_reader(self.settings, **{"group.id": self.settings.worker.group})

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | as_environment(self.settings)

    def worker(self, port: int | None = None) -> Child:
        """Start a worker, its web server at a port in place of that of the settings."""
        environment = dict(self.environment)
        if port is not None:
            environment["MILLRACE_WEB__PORT"] = str(port)
        return Child([sys.executable, "-m", "streams.cli", "worker"], env=environment)

    def send(self, topic: str, interaction: Interaction) -> None:
        """Send one event to its user's partition, with the time."""
        self.produce(
            topic, interaction, partition_of(interaction.user, self.settings.topics.partitions)
        )

    def produce(self, topic: str, interaction: Interaction, partition: int) -> None:
        """Send one event to a partition, with the time."""
        headers = [(SENT_NS, b"%d" % time.time_ns())]
        clients.produce(
            self.producer, topic, encode(interaction), interaction.user, partition, headers
        )
        self.producer.poll(0)

    def end_of(self, topic: str) -> int:
        """Messages that a topic has had."""
        return sum(clients.ends(self.reader, topic).values())

    def await_workers(self, count: int, seconds: float = 180.0) -> None:
        """Wait until so many workers share the partitions."""
        group = Group(self.settings)
        deadline = time.monotonic() + seconds
        while True:
            shares = [len(member.partitions) for member in group.members()]
            if len(shares) == count and all(shares):
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"{count} workers do not share the partitions: {shares}")
            time.sleep(0.1)

    def await_messages(self, topic: str, count: int, seconds: float = 120.0) -> None:
        """Wait until a topic has had that many."""
        deadline = time.monotonic() + seconds
        while self.end_of(topic) < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{topic}: {self.end_of(topic)} of {count} messages")
            time.sleep(0.2)

    def await_answered(self, count: int, seconds: float = 120.0) -> None:
        """Wait until the workers have committed that so many events are answered."""
        topic = self.settings.topics.interactions
        places = [TopicPartition(topic, n) for n in clients.partitions(self.reader, topic)]
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = self.reader.committed(places, timeout=clients.TIMEOUT_SECONDS)
            if sum(max(0, place.offset) for place in found) >= count:
                return
            time.sleep(0.2)
        raise TimeoutError(f"{topic}: {count} events are not answered")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, nargs="?", default=Path("../shared/data/ml-100k"))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--blocks", type=int, default=6, help="blocks of 5 s for each contender")
    parser.add_argument("--backlog", type=int, default=30_000, help="events for the throughput")
    parser.add_argument("--delivery", choices=("leased", "transactional"), default="leased")
    parser.add_argument("--waiting", type=int, default=50_000, help="events for fairness_ms")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    dataset = open_dataset(arguments.data, seed=arguments.seed)
    with KafkaServer() as kafka:
        delivery = arguments.delivery
        latency = measure_latency(
            Bench(kafka.bootstrap, "latency", delivery), dataset, arguments.blocks, delivery
        )
        throughput = measure_throughput(
            Bench(kafka.bootstrap, "throughput", delivery), dataset, arguments.backlog
        )
        fairness = measure_fairness(
            Bench(kafka.bootstrap, "fairness", delivery, partitions=2), dataset, arguments.waiting
        )
    report = (
        {"delivery": delivery}
        | latency
        | throughput
        | fairness
        | provenance(dataset.name, arguments.seed)
    )
    ratios = {
        key: round(report["end_to_end_ms"][key] / report["bare_loop_ms"][key], 2)
        for key in ("p50", "p99")
    }
    report["ratio_to_bare_loop"] = ratios
    text = json.dumps(report, indent=2)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n")


def publish_catalogue(bench: Bench, dataset: Any) -> int:
    """Send the items and wait until a worker has embedded them."""
    items = list(dataset.items())
    for item in items:
        bench.producer.produce(bench.settings.topics.items, encode(item), item.item)
    bench.producer.flush()
    bench.await_messages(bench.settings.topics.item_embeddings, len(items))
    return len(items)


def measure_latency(bench: Bench, dataset: Any, blocks: int, delivery: str) -> dict[str, Any]:
    """Blocks of Millrace and of the bare loop in turn, at 200 events/s."""
    names = bench.settings.topics
    bare_in, bare_out = "bench.bare.in", "bench.bare.out"
    with_bare = bench.settings.model_copy(
        update={"topics": names.model_copy(update={"items": bare_in, "item_embeddings": bare_out})}
    )
    topics.create(with_bare)
    events = dataset.interactions()
    with bench.worker():
        publish_catalogue(bench, dataset)
        for interaction in islice(events, WARM_UP_EVENTS):
            bench.send(names.interactions, interaction)
        bench.producer.flush()
        bench.await_answered(WARM_UP_EVENTS)
        bare = Child(
            [sys.executable, "-m", "benchmarks.bare_loop", bare_in, bare_out, delivery],
            stdout=subprocess.PIPE,
            env=bench.environment,
        )
        with (
            bare,
            Subscriber(bench, names.recommendations) as ours,
            Subscriber(bench, bare_out) as theirs,
        ):
            assert bare.process.stdout is not None
            bare.process.stdout.readline()
            for block in range(blocks + 1):
                console.print(f"latency: block {block} of {blocks}")
                _block(bench, events, names.interactions, ours)
                _block(bench, events, bare_in, theirs)
                if block == 0:  # every connection has been used once
                    ours.samples.clear()
                    theirs.samples.clear()
    stages: dict[str, list[float]] = {stage: [] for stage in STAGES}
    decoder = msgspec.json.Decoder(Recommendation)
    for _, value in ours.samples:
        latency = decoder.decode(value).latency_us
        for stage, sample in stages.items():
            sample.append(getattr(latency, stage))
    return {
        "end_to_end_ms": percentiles([milliseconds for milliseconds, _ in ours.samples]),
        "bare_loop_ms": percentiles([milliseconds for milliseconds, _ in theirs.samples]),
        "stages_us": {stage: percentiles(sample) for stage, sample in stages.items()},
        "latency_events": len(ours.samples),
    }


def _block(
    bench: Bench, events: Iterator[Interaction], source: str, subscriber: Subscriber
) -> None:
    """Five seconds of events at the rate, until all have come out."""
    count = int(RATE * BLOCK_SECONDS)
    wanted = len(subscriber.samples) + count
    start = time.monotonic()
    for number, interaction in enumerate(islice(events, count)):
        while (left := start + number / RATE - time.monotonic()) > 0:
            bench.producer.poll(0)
            time.sleep(min(left, 0.002))
        bench.send(source, interaction)
    bench.producer.flush()
    subscriber.wait_for(wanted)


class Subscriber:
    """A thread that notes when each message of a topic comes; from the topic's end on.

    Attributes
    ----------
    samples
        Milliseconds since the event was sent, and the message.
    """

    def __init__(self, bench: Bench, topic: str) -> None:
        self.samples: list[tuple[float, bytes]] = []
        self.partitions: list[int] = []
        self._consumer = clients.reader(bench.settings)
        ends = clients.ends(self._consumer, topic)
        self._consumer.assign([TopicPartition(topic, p, end) for p, end in ends.items()])
        self._thread = ReaderThread(f"subscriber-{topic}", self._consumer)

    def __enter__(self) -> Self:
        self._thread.start(self._turn)
        time.sleep(1.0)  # its first fetch is under way when the first event is sent
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.finish()

    def _turn(self) -> None:
        message = self._consumer.poll(0.05)
        if message is not None and not message.error():
            now = time.time_ns()
            sent = int(clients.headers(message)[SENT_NS])
            self.partitions.append(message.partition() or 0)
            self.samples.append(((now - sent) / 1e6, message.value() or b""))

    def wait_of(self, partition: int, event_id: str, waiting: int) -> tuple[float, bool]:
        """How long an event waited for its answer, and whether other partitions' still wait."""
        deadline, at = time.monotonic() + 60, 0
        wanted = f'"event_id":"{event_id}"'.encode()
        while time.monotonic() < deadline:
            while at < len(self.samples):
                milliseconds, value = self.samples[at]
                at += 1
                if value.startswith(b"{" + wanted) and self.partitions[at - 1] == partition:
                    answered = self.partitions[:at].count(0)
                    return milliseconds, answered < waiting - 1_000
            time.sleep(0.001)
        raise TimeoutError(f"event {event_id} was not answered within a minute")

    def wait_for(self, count: int) -> None:
        """Return once that many messages have come."""
        deadline = time.monotonic() + 30
        while len(self.samples) < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(self.samples)} of {count} messages came")
            time.sleep(0.01)


def measure_throughput(bench: Bench, dataset: Any, backlog: int) -> dict[str, Any]:
    """One worker on a backlog, and its first answer after a start."""
    names = bench.settings.topics
    with bench.worker():
        publish_catalogue(bench, dataset)
    console.print(f"throughput: {backlog:,} events")
    *events, next_event = islice(dataset.interactions(), backlog + 1)
    for interaction in events:
        bench.send(names.interactions, interaction)
    bench.producer.flush()
    started = time.time()
    with bench.worker():
        first_answer_s = _timestamps(bench, names.recommendations, 1)[0] / 1e3 - started
        bench.await_answered(len(events), 600)
    bench.send(names.interactions, next_event)
    bench.producer.flush()
    restarted = time.time()
    with bench.worker():
        bench.await_answered(len(events) + 1)
    answered = _timestamps(bench, names.recommendations, len(events) + 1)[-1]
    stamps, stages = _read_answers(bench, names.recommendations, len(events))
    low, high = len(stamps) // 10, len(stamps) * 9 // 10
    per_second = (high - low) / (stamps[high] - stamps[low]) * 1e3
    return {
        "events_per_second": round(per_second),
        "outside_engine_us": round(1e6 / per_second - engine_us(stages)),
        "first_answer_s": round(first_answer_s, 2),
        "restart_s": round(answered / 1e3 - restarted, 2),
        "time_share": time_share(bench, events[:5_000], stages, 1e6 / per_second),
    }


def measure_fairness(bench: Bench, dataset: Any, waiting: int) -> dict[str, Any]:
    """How long events of partition 1 wait while partition 0 has a backlog."""
    names = bench.settings.topics
    events = list(islice(dataset.interactions(), waiting + PROBES))
    waits: list[float] = []
    with bench.worker(), Subscriber(bench, names.recommendations) as answers:
        bench.produce(names.interactions, events[0], 1)
        bench.producer.flush()
        answers.wait_for(1)  # it is warm and has both partitions
        for interaction in events[:waiting]:
            bench.produce(names.interactions, interaction, 0)
        bench.producer.flush()
        for interaction in events[waiting:]:
            time.sleep(0.3)
            bench.produce(names.interactions, interaction, 1)
            bench.producer.flush()
            milliseconds, left = answers.wait_of(1, interaction.event_id, waiting)
            if not left:
                break
            waits.append(milliseconds)
    if len(waits) < PROBES // 2:
        raise RuntimeError(f"the backlog was gone after {len(waits)} events: take more --waiting")
    return {
        "fairness_ms": round(max(waits), 1),
        "fairness_median_ms": round(sorted(waits)[len(waits) // 2], 1),
        "fairness_events": len(waits),
    }


def time_share(
    bench: Bench, events: list[Interaction], stages: dict[str, list[float]], event_us: float
) -> dict[str, float]:
    """The mean microseconds of an event at full speed, by who spent them.

    Decoding and the engine report themselves; encoding and producing are timed here on the same
    messages; the rest of the event's time is Faust's (and librdkafka's and the event loop's).
    """
    answers = [
        message.value() or b""
        for message in clients.tail(bench.reader, bench.settings.topics.recommendations, 0, 5_000)
    ]
    decoded = [msgspec.json.decode(answer, type=Recommendation) for answer in answers]
    encoding = _mean_us(encode, decoded)
    producing = _mean_us(
        lambda answer: bench.producer.produce("bench.bare.out", answer, b"key", 0), answers
    )
    bench.producer.flush()
    raw = [encode(event) for event in events]
    decoding = _mean_us(lambda value: decode_interaction(value, (), None), raw)
    engine = engine_us(stages)
    shares = {
        "decode": decoding,
        "engine": engine,
        "encode": encoding,
        "produce": producing,
        "faust": event_us - decoding - engine - encoding - producing,
    }
    return {name: round(us / event_us, 3) for name, us in shares.items()}


def engine_us(stages: dict[str, list[float]]) -> float:
    """The mean microseconds of an answer that its engine's stages took."""
    return sum(
        sum(stages[stage]) / len(stages[stage])
        for stage in ("learn", "graph", "propagate", "text", "rank")
    )


def _mean_us(work: Callable[[Any], object], inputs: list[Any]) -> float:
    started = time.perf_counter()
    for each in inputs:
        work(each)
    return (time.perf_counter() - started) / len(inputs) * 1e6


def _read_answers(bench: Bench, topic: str, count: int) -> tuple[list[int], dict[str, list[float]]]:
    stages: dict[str, list[float]] = {stage: [] for stage in STAGES}
    stamps = []
    decoder = msgspec.json.Decoder(Recommendation)
    for message in _all(bench, topic, count):
        stamps.append(message.timestamp()[1])
        latency = decoder.decode(message.value() or b"").latency_us
        for stage, sample in stages.items():
            sample.append(getattr(latency, stage))
    return sorted(stamps), stages


def _timestamps(bench: Bench, topic: str, count: int) -> list[int]:
    return sorted(message.timestamp()[1] for message in _all(bench, topic, count))


def _all(bench: Bench, topic: str, count: int) -> Iterator[Any]:
    consumer: Consumer = clients.reader(bench.settings)
    consumer.assign([TopicPartition(topic, p, 0) for p in clients.partitions(consumer, topic)])
    for _ in range(count):
        message = consumer.poll(30)
        if message is None or message.error():
            raise TimeoutError(f"{topic} could not be read")
        yield message
    consumer.close()


if __name__ == "__main__":
    main()
