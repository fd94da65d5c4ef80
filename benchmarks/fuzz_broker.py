"""Hostile records through a real Kafka to a real worker: none of them ends it.

    python -m benchmarks.fuzz_broker [--records 1000000] [--json FILE]

Every part of a record is drawn at random: key, value, names and values of headers (names that are
no UTF-8 among them), codec, batch size, `linger.ms`. A third of the values are good events of some
hundred users; the rest are good ones with other fields, two that are cut and joined, bytes, and
nothing at all. Of every record one of three things comes: an answer, a dead letter, or, of an event
that was sent before, a count. `exits` says how often the worker ended.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy
from confluent_kafka import Producer
from rich.console import Console

from benchmarks.end_to_end import Bench
from benchmarks.fuzz_corpus import BODIES, HEADERS
from benchmarks.worker_metrics import metric_families
from engine.evaluation.provenance import provenance
from streams.brokers import KafkaServer
from streams.kafka import clients
from streams.settings import Settings, WebSettings

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
BATCH_BYTES = (200, 16_384, 1_000_000)
LINGER_MS = (0, 5, 100)
ROUND = 2_000
_GZIP = 1
"""As a batch says it."""
_KINDS = ("view", "click", "rating", "purchase", "dislike", "ignore", "forget", "review")
_FIELDS = sorted({name for body in BODIES for name in json.loads(body)})
_ODD: tuple[Any, ...] = (None, True, -1, 1e308, 2**70, "", " ", "\x1b[2J", "é" * 300, [], {}, [[]],
                         {"a": {"b": 1}}, "NaN", "\ud800")  # fmt: skip
console = Console(stderr=True)

Sent = tuple[bytes | None, bytes | None, list[tuple[str, bytes | None]]]
"""Key, value and headers of a record."""


class RawName(str):
    """A header's name that is these bytes on the wire, whatever they are."""

    raw: bytes

    def __new__(cls, raw: bytes) -> RawName:
        made = super().__new__(cls, raw.decode("latin-1"))
        made.raw = raw
        return made

    def encode(self, *_: Any, **__: Any) -> bytes:
        """The bytes."""
        return self.raw


def record(draw: random.Random, number: int) -> Sent:
    """The number-th record."""
    user = f"u{draw.randrange(100)}"
    return _key(draw, user), _value(draw, user, number), _headers(draw)


def _key(draw: random.Random, user: str) -> bytes | None:
    way = draw.random()
    if way < 0.5:
        return user.encode()
    return None if way < 0.7 else draw.randbytes(draw.randrange(40))


def _value(draw: random.Random, user: str, number: int) -> bytes | None:
    way = draw.random()
    if way < 0.35:
        return _event(draw, user, number)
    if way < 0.55:
        body = json.loads(draw.choice(BODIES))
        body[draw.choice([*_FIELDS, "x\x00"])] = draw.choice(_ODD)
        return json.dumps(body).encode()
    if way < 0.8:
        one, other = draw.choice(BODIES), draw.choice(BODIES)
        return one[: draw.randrange(len(one) + 1)] + other[draw.randrange(len(other) + 1) :]
    if way < 0.95:
        return draw.randbytes(draw.choice((0, 1, 20, 3_000)))
    return None


def _event(draw: random.Random, user: str, number: int) -> bytes:
    kind = draw.choice(_KINDS)
    event: dict[str, Any] = {
        "event_id": str(number - (draw.random() < 0.1)), "user": user, "kind": kind,
        "timestamp": draw.choice((1_600_000_000_000 + number, int(time.time() * 1000))),
    }  # fmt: skip
    if kind != "forget":
        event["item"] = f"i{draw.randrange(300)}"
    if kind == "rating":
        event["value"] = draw.uniform(-1e6, 1e6)
    return json.dumps(event).encode()


def _headers(draw: random.Random) -> list[tuple[str, bytes | None]]:
    way = draw.random()
    if way < 0.5:
        return list(draw.choice(HEADERS))
    if way < 0.9:
        names = ("ce_id", "ce_specversion", "content-type", "millrace.sent-ns", "", "\x00", "é")
        return [(draw.choice(names), draw.choice((None, b"", draw.randbytes(9))))
                for _ in range(draw.randrange(4))]  # fmt: skip
    return [("h", b"")] * draw.choice((50, 500))


# ---------------------------------------------------------------------- sending


class Senders:
    """Producers of each codec, batch size and linger, made when they are asked for."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._made: dict[tuple[str, int, int], Producer] = {}

    def send(self, draw: random.Random, records: Iterable[Sent]) -> None:
        """Send records in batches of one kind, and wait until the broker has them."""
        chosen = draw.choice(CODECS), draw.choice(BATCH_BYTES), draw.choice(LINGER_MS)
        producer = self._made.get(chosen)
        if producer is None:
            codec, size, linger = chosen
            limits = {"compression.type": codec, "batch.size": size, "linger.ms": linger}
            producer = self._made[chosen] = clients.producer(self._settings, **limits)
        topic = self._settings.topics.interactions
        partitions = self._settings.topics.partitions
        for key, value, headers in records:
            producer.produce(topic, value, key, draw.randrange(partitions), headers=headers)
        left = producer.flush(60)
        if left:
            raise TimeoutError(f"{left} records were not sent")


async def send_raw_names(settings: Settings, draw: random.Random, records: list[Sent]) -> None:
    """Send records with header names that no string of Python holds, and librdkafka does not."""
    topic, partitions = settings.topics.interactions, settings.topics.partitions
    producer = AIOKafkaProducer(bootstrap_servers=settings.broker.bootstrap)
    await producer.start()
    try:
        waiting = []
        for first in range(0, len(records), 100):
            batch = producer.create_batch()
            # The compiled one takes no strings but Python's own.
            batch._builder = _DefaultRecordBatchBuilderPy(
                2, draw.choice((0, _GZIP)), False, -1, -1, 0, 1_000_000
            )
            for key, value, _ in records[first : first + 100]:
                names = [RawName(draw.randbytes(draw.randrange(8)) + b"\xff") for _ in range(2)]
                headers = [(name, draw.randbytes(4)) for name in names]
                batch.append(timestamp=None, key=key, value=value, headers=headers)
            partition = draw.randrange(partitions)
            waiting.append(await producer.send_batch(batch, topic, partition=partition))
        await asyncio.gather(*waiting)
    finally:
        await producer.stop()


def send(settings: Settings, count: int, seed: int) -> None:
    """Send that many records; of every tenth round the headers have raw names."""
    draw, senders = random.Random(seed), Senders(settings)
    for number, first in enumerate(range(0, count, ROUND)):
        made = [record(draw, n) for n in range(first, min(first + ROUND, count))]
        if number % 10 == 1 or count <= 2 * ROUND:
            raw = len(made) // 10 if count <= 2 * ROUND else len(made)
            asyncio.run(send_raw_names(settings, draw, made[:raw]))
            made = made[raw:]
        senders.send(draw, made)
        if number % 50 == 49:
            console.print(f"{first + ROUND:,} records")


# ---------------------------------------------------------------------- what came of them


def counted(port: int) -> dict[str, int]:
    """The worker's own counts."""
    wanted = ("events", "recommendations", "dead_letters", "duplicates")
    totals = dict.fromkeys(wanted, 0)
    for family in metric_families(port):
        name = family.name.removeprefix("millrace_worker_")
        if name in wanted:
            totals[name] += int(sum(s.value for s in family.samples if s.name.endswith("_total")))
    return totals


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--port", type=int, default=6167, help="of the worker's web server")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with KafkaServer() as kafka:
        bench = Bench(kafka.bootstrap, "fuzz", partitions=2)
        bench.settings = bench.settings.model_copy(
            update={
                "web": WebSettings(port=arguments.port),
                "engine": bench.settings.engine.model_copy(update={"k": 1}),
            }
        )
        report = run(bench, arguments.records, arguments.seed)
    report |= provenance("made at random", arguments.seed)
    text = json.dumps(report, indent=2)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n")
    if report["exits"] or not report["balanced"]:
        raise SystemExit(1)


def run(bench: Bench, records: int, seed: int) -> dict[str, Any]:
    """Send the records to a worker; what it made of them."""
    started = time.monotonic()
    with bench.worker() as child:
        send(bench.settings, records, seed)
        exits = 0
        try:
            bench.await_answered(records, seconds=60 + records / 200)
        except TimeoutError:
            exits = int(child.process.poll() is not None)
            if not exits:
                raise
        exits = exits or int(child.process.poll() is not None)
        found = {} if exits else counted(bench.settings.web.port)
    topics = bench.settings.topics
    outcomes = found.get("recommendations", 0) + found.get("dead_letters", 0)
    written = bench.end_of(topics.recommendations) + bench.end_of(topics.dead_letters)
    return {
        "records": records,
        "exits": exits,
        **found,
        "balanced": outcomes + found.get("duplicates", 0) == records and written == outcomes,
        "seconds": round(time.monotonic() - started, 1),
    }


if __name__ == "__main__":
    main()
