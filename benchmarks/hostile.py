"""What hostile clients and messages cost everybody else, on a real Kafka.

    python -m benchmarks.hostile [--seconds 20] [--rest 60] [--limit 0] [--json FILE]

One worker answers 50 honest events a second; after that alone (`undisturbed_p99_ms`), each attack
runs beside the same traffic for as long:

- `messages`: 5 messages a second that cost most to parse, tokenise, explain or carry, of up to
  the largest size that the topic takes, and of 7 MB, which the broker refuses;
- `idle_connections`: 1,000 connections that send nothing, opened anew 1 s after they are closed;
- `slow_headers`, `slow_bodies`: 200 connections that send a byte a second;
- `large_bodies`: POSTs of 8 MB, six at a time;
- `gzip_bombs`: POSTs of 20 kB that unpack to 20 MB, six at a time;
- `page_streams`: 100 live pages;
- `requests`: 20 clients that ask for recommendations without a pause; `--limit` sets
  `web.requests_per_second`, which is off by default.

Of each: `honest_p50_ms`, `honest_p99_ms` (producer's send to subscriber's receive), `answered` of
`sent`, each once, `worker_alive`, `memory_mb` (resident: before, right after, and when it has
rested, 60 s later), and what the web server answered to `/health/live` meanwhile
(`health_answered`, of one a second).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gzip
import json
import random
import time
from collections.abc import Awaitable, Callable, Coroutine
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Self

import msgspec
import numpy as np
import psutil
from confluent_kafka import OFFSET_BEGINNING, TopicPartition
from rich.console import Console

from benchmarks.end_to_end import Bench, publish_catalogue
from engine.datasets import Synthetic
from engine.evaluation.provenance import provenance
from engine.events import Interaction
from streams.brokers import KafkaServer
from streams.kafka import clients
from streams.kafka.reader_thread import ReaderThread
from streams.settings import Settings, WebSettings
from streams.tools.replay import SENT_NS

RATE = 50.0
WARM_UP = 1_000
ATTACKER = "127.0.0.2"  # limits are by address
HEALTH = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
REVIEW = Interaction(
    event_id="first", user="honest-1", item="i1", kind="review", text="Quite good.",
    timestamp=1_600_000_000_000,
)  # fmt: skip
console = Console(stderr=True)
Attack = Callable[["Target", float], Coroutine[Any, Any, None]]


class _Answer(msgspec.Struct):
    user: str
    event_id: str


class Honest:
    """A thread that takes the answers to honest users: milliseconds by event id."""

    def __init__(self, bench: Bench, first: int = OFFSET_BEGINNING) -> None:
        self.took: dict[str, list[float]] = {}
        self._reader = clients.reader(bench.settings)
        topic = bench.settings.topics.recommendations
        self._reader.assign([TopicPartition(topic, 0, first)])
        self._decoder = msgspec.json.Decoder(_Answer)
        self._thread = ReaderThread("honest-answers", self._reader)

    def __enter__(self) -> Self:
        self._thread.start(self._turn)
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.finish()

    def _turn(self) -> None:
        message = self._reader.poll(0.1)
        if message is None or message.error():
            return
        now, answer = time.time_ns(), self._decoder.decode(message.value() or b"")
        if answer.user.startswith("honest"):
            sent = int(clients.headers(message)[SENT_NS])
            self.took.setdefault(answer.event_id, []).append((now - sent) / 1e6)


class Target:
    """Where attacks go; all but `messages` need no settings."""

    def __init__(
        self, port: int, settings: Settings | None = None, address: str = "127.0.0.1"
    ) -> None:
        self.port, self.settings, self._from = port, settings, (address, 0)

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port, local_addr=self._from)

    async def send(self, data: bytes) -> bytes:
        """The status line that comes for these bytes; empty if the connection is ended."""
        reader, writer = await self.open()
        try:
            with contextlib.suppress(ConnectionError):
                writer.write(data)
                await writer.drain()
            return await reader.readline()
        finally:
            writer.close()


# ---------------------------------------------------------------------- attacks


async def _again(
    seconds: float, many: int, once: Callable[[], Awaitable[object]], pause: float = 0.01
) -> None:
    """Have `once` done again and again, so many at a time, with a pause in s between two."""
    until = time.monotonic() + seconds

    async def go_on() -> None:
        while time.monotonic() < until:
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(max(0.1, until - time.monotonic())):
                    await once()
            await asyncio.sleep(pause)

    await asyncio.gather(*(go_on() for _ in range(many)))


async def messages(target: Target, seconds: float) -> None:
    event = b'{"event_id":"%d","user":"mallory","item":"m%d","kind":"review","timestamp":%d,'
    assert target.settings is not None
    largest = target.settings.topics.message_bytes - 1_000
    worst = [
        b'"text":"' + b"lengthy words. " * 6_600 + b'"}',
        b'"properties":{"p":"' + random.randbytes(largest // 2).hex().encode()[:-200] + b'"}}',
        b'"properties":{"p":"' + b"x" * 7_000_000 + b'"}}',
        b'"properties":{' + b",".join(b'"p%d":1' % n for n in range(100_000)) + b"}}",
        b'"value":[' + b",".join([b"1" * 120] * 9_000) + b"]}",
        b'"value":"' + b"NaN" * 400_000 + b'"}',
    ]
    # Their sender has no such limit of its own as ours have.
    own = {"message.max.bytes": 20_000_000, "enable.idempotence": False}
    producer = clients.producer(target.settings, **own)
    until, number = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        head = event % (number, number % 50, int(time.time() * 1000))
        value = head + worst[number % len(worst)]
        producer.produce(target.settings.topics.interactions, value, "mallory")
        producer.poll(0)
        number += 1
        await asyncio.sleep(0.2)
    producer.flush()


async def idle_connections(target: Target, seconds: float) -> None:
    async def idle() -> None:
        reader, writer = await target.open()
        try:
            await reader.read(1)
        finally:
            writer.close()

    await _again(seconds, 1_000, idle, 1.0)


def _slow(head: bytes) -> Attack:
    async def attack(target: Target, seconds: float) -> None:
        async def drip() -> None:
            _, writer = await target.open()
            try:
                writer.write(head)
                while True:
                    writer.write(b"a")
                    await writer.drain()
                    await asyncio.sleep(1)
            finally:
                writer.close()

        await _again(seconds, 200, drip, 1.0)

    return attack


def _post(body: bytes, more: bytes = b"") -> Attack:
    request = b"POST /interactions HTTP/1.1\r\nHost: localhost\r\n%sContent-Length: %d\r\n\r\n"

    async def attack(target: Target, seconds: float) -> None:
        await _again(seconds, 6, lambda: target.send(request % (more, len(body)) + body))

    return attack


async def page_streams(target: Target, seconds: float) -> None:
    async def watch() -> None:
        reader, writer = await target.open()
        try:
            writer.write(b"GET /live?user=honest-1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            while await reader.read(65_536):
                pass
        finally:
            writer.close()

    await _again(seconds, 100, watch, 1.0)


async def requests(target: Target, seconds: float) -> None:
    ask = b"GET /users/honest-1/recommendations HTTP/1.1\r\nHost: localhost\r\n\r\n"
    await _again(seconds, 20, lambda: target.send(ask))


ATTACKS: dict[str, Attack] = {
    "messages": messages,
    "idle_connections": idle_connections,
    "slow_headers": _slow(b"GET /users/honest-1 HTTP/1.1\r\nHost: localhost\r\nX: "),
    "slow_bodies": _slow(
        b"POST /interactions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999\r\n\r\n"
    ),
    "large_bodies": _post(b"[" * 8_000_000),
    "gzip_bombs": _post(gzip.compress(b" " * 20_000_000), b"Content-Encoding: gzip\r\n"),
    "page_streams": page_streams,
    "requests": requests,
}


# ---------------------------------------------------------------------- beside honest traffic


async def _honest(bench: Bench, seconds: float, mark: str) -> list[str]:
    """Send honest events at `RATE`; returns their ids."""
    ids: list[str] = []
    started = time.monotonic()
    while time.monotonic() < started + seconds:
        number = len(ids)
        ids.append(f"{mark}-{number}")
        event = Interaction(
            event_id=ids[-1], user=f"honest-{number % 100}", item=f"i{number * 7 % 200}",
            timestamp=int(time.time() * 1000), kind="view",
        )  # fmt: skip
        bench.produce(bench.settings.topics.interactions, event, 0)
        await asyncio.sleep(max(0.0, started + len(ids) / RATE - time.monotonic()))
    return ids


async def _health(target: Target, seconds: float) -> float:
    """The share of questions that `/health/live` answers, one a second, within a second."""
    found: list[bool] = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        status = b""
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(1.0):
                status = await target.send(HEALTH)
        found.append(b" 200 " in status)
        await asyncio.sleep(1.0)
    return round(sum(found) / len(found), 3)


def run_attack(name: str, port: int, settings: Settings, seconds: float) -> None:
    """In a process of its own, so that honest clients are not held up by what attacks take."""
    asyncio.run(ATTACKS[name](Target(port, settings, ATTACKER), seconds))


def beside(
    bench: Bench,
    target: Target,
    honest: Honest,
    worker: psutil.Process,
    name: str,
    seconds: float,
    rest: float = 0.0,
) -> dict[str, Any]:
    """Honest traffic, with the attack of this name beside it, if there is one, and then a rest."""
    memory = [_resident_mb(worker)]
    attacker = None
    if name in ATTACKS:
        attacker = get_context("spawn").Process(
            target=run_attack, args=(name, target.port, bench.settings, seconds), daemon=True
        )
        attacker.start()

    async def together() -> tuple[list[str], float]:
        return await asyncio.gather(_honest(bench, seconds, name), _health(target, seconds))

    ids, health = asyncio.run(together())
    bench.producer.flush()
    if attacker is not None:
        attacker.join()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not all(one in honest.took for one in ids):
        time.sleep(0.1)
    memory.append(_resident_mb(worker))
    time.sleep(rest)
    memory.append(_resident_mb(worker))
    took = [honest.took[one][0] for one in ids if one in honest.took]
    alive = worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE
    p50, p99 = np.percentile(took, [50, 99]).round(1).tolist() if took else (None, None)
    return {
        "honest_p50_ms": p50,
        "honest_p99_ms": p99,
        "sent": len(ids),
        "answered": len(took),
        "answered_twice": sum(len(honest.took.get(one, [])) > 1 for one in ids),
        "worker_alive": alive,
        "health_answered": health,
        "memory_mb": memory,
    }


def _resident_mb(process: psutil.Process) -> int:
    """Its resident memory; 0 when it has ended."""
    try:
        return round(process.memory_info().rss / 1e6)
    except psutil.NoSuchProcess:
        return 0


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="of each attack")
    parser.add_argument("--rest", type=float, default=60.0, help="seconds after each attack")
    parser.add_argument("--only", choices=ATTACKS, nargs="*", help="these attacks alone")
    parser.add_argument("--port", type=int, default=6166, help="of the worker's web server")
    parser.add_argument("--limit", type=float, default=0.0, help="web.requests_per_second")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    chosen = arguments.only or list(ATTACKS)
    dataset = Synthetic(events=WARM_UP, users=100, items=200, seed=0)
    report: dict[str, Any] = {}
    with KafkaServer() as kafka:
        bench = Bench(kafka.bootstrap, "hostile", partitions=1)
        bench.settings = bench.settings.model_copy(
            update={"web": WebSettings(port=arguments.port, requests_per_second=arguments.limit)}
        )
        with bench.worker() as child:
            publish_catalogue(bench, dataset)
            for event in dataset.interactions():
                bench.send(bench.settings.topics.interactions, event)
            # The first text has the worker load its encoder, for half a second, whoever sends it.
            bench.send(bench.settings.topics.interactions, REVIEW)
            bench.producer.flush()
            bench.await_answered(WARM_UP + 1)
            target, worker = Target(arguments.port), psutil.Process(child.pid)
            with Honest(bench) as honest:
                beside(bench, target, honest, worker, "warm-up", 5.0)
                alone = beside(bench, target, honest, worker, "alone", arguments.seconds)
                report["undisturbed"] = alone
                for name in chosen:
                    console.print(name)
                    found = beside(
                        bench, target, honest, worker, name, arguments.seconds, arguments.rest
                    )
                    found["undisturbed_p99_ms"] = alone["honest_p99_ms"]
                    report[name] = found
    report["requests_per_second"] = arguments.limit
    report |= provenance(f"{dataset.name} ({dataset.format})", 0)
    text = json.dumps(report, indent=2)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
