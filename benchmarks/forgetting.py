"""What exact forgetting costs, and whether it is exact, on a real Kafka.

    python -m benchmarks.forgetting [DATA] [--users 1 10 100] [--events 100000] [--json FILE]

A worker answers the events of a data set. Then others are answered at `--rate` a second, and after
`--seconds` of that so many users (drawn by the seed) ask to be forgotten at once. `rows`, one for
each number of users, has

- `forgotten`: how many of them the state was rebuilt without;
- `seconds`, `rebuild_events_per_second`: from the start of the rebuild to the exchange, and the
  events of the log in that time;
- `pause_ms`: for how long the event path stood still for the exchange;
- `p99_ms`, `p99_ms_before`: producer's send to subscriber's receive while it was made, and before;
- `equal`: whether the worker's digest is that of an engine that was told the log without them.
"""

from __future__ import annotations

import argparse
import json
import os
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from confluent_kafka import Message
from rich.console import Console

import streams.cli  # noqa: F401 - one thread for linear algebra, as workers have
from benchmarks.end_to_end import Bench, publish_catalogue
from benchmarks.hostile import Honest
from benchmarks.worker_metrics import metric_families
from engine.datasets import open_dataset
from engine.evaluation.provenance import provenance
from engine.events import Interaction
from engine.recommender import Recommender
from engine.state.snapshot import state_digest
from streams.brokers import KafkaServer
from streams.kafka import clients
from streams.kafka.record import Record
from streams.kafka.stretch import records_between
from streams.messages.forget_request import forget_request
from streams.settings import Settings, WebSettings
from streams.worker.catalogue import decode_embedding, item_facts

console = Console(stderr=True)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, nargs="?", default=Path("../shared/data/ml-100k"))
    parser.add_argument("--users", type=int, nargs="+", default=[1, 10, 100])
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--rate", type=float, default=100.0)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--port", type=int, default=6099)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    dataset = open_dataset(arguments.data, seed=arguments.seed)
    events = list(islice(dataset.interactions(), arguments.events))
    rows = []
    with KafkaServer() as kafka:
        for users in arguments.users:
            drawn = np.random.default_rng(arguments.seed).permutation(
                sorted({event.user for event in events})
            )
            bench = made(kafka.bootstrap, f"forget-{users}", arguments.port)
            asked = drawn[:users].tolist()
            row = forgotten(bench, dataset, events, asked, arguments.rate, arguments.seconds)
            console.print(row)
            digest = in_a_process(never_told, bench.settings, set(asked), row.pop("up_to"))
            rows.append(row | {"users": users, "equal": digest == row.pop("digest")})
    report = {"rows": rows, "rate": arguments.rate, "events": len(events)}
    text = json.dumps(report | provenance(dataset.name, arguments.seed), indent=2)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n")


def made(bootstrap: str, mark: str, port: int) -> Bench:
    """Topics of one partition, and settings that forget exactly."""
    bench = Bench(bootstrap, mark, partitions=1)
    engine = bench.settings.engine.model_copy(update={"forget": "exact"})
    update = {"engine": engine, "web": WebSettings(port=port)}
    bench.settings = bench.settings.model_copy(update=update)
    return bench


def forgotten(
    bench: Bench, dataset: Any, events: list[Interaction], users: list[str], rate: float,
    seconds: float,
) -> dict[str, Any]:  # fmt: skip
    """Have these users forgotten beside ordinary traffic."""
    topic, port = bench.settings.topics.interactions, bench.settings.web.port
    with bench.worker():
        publish_catalogue(bench, dataset)
        for event in events:
            bench.send(topic, event)
        bench.producer.flush()
        bench.await_answered(len(events), 600)
        with Honest(bench, bench.end_of(bench.settings.topics.recommendations)) as honest:
            end = time.monotonic() + seconds

            def passed() -> bool:
                _get(port, "forgetting")  # as it is asked during the rebuild
                return time.monotonic() > end

            before = beside(bench, rate, passed, "before")
            for user in users:
                bench.send(topic, forget_request(user))

            def done() -> bool:
                found = _get(port, "forgetting")
                return not found["pending"] and found["users"] == len(users)

            during = beside(bench, rate, done, "during")
            sent = len(events) + len(before) + len(users) + len(during)
            bench.await_answered(sent, 60)
            deadline = time.monotonic() + 30
            while not all(one in honest.took for one in during) and time.monotonic() < deadline:
                time.sleep(0.1)
            took = honest.took
        status = _get(port, "forgetting")
        pause = _metric(port, "millrace_worker_rebuild_pause_seconds_sum")
        times = int(_metric(port, "millrace_worker_rebuild_pause_seconds_count"))
    p99_before, p99 = (
        round(float(np.percentile([took[one][0] for one in ids if one in took], 99)), 1)
        for ids in (before, during)
    )
    return {
        "forgotten": status["users"],
        "times": times,
        "seconds": status["seconds"],
        "rebuild_events_per_second": round(status["exact"] / status["seconds"]),
        "pause_ms": round(pause / times * 1e3, 1),
        "p99_ms_before": p99_before,
        "p99_ms": p99,
        "digest": status["digest"],
        "up_to": status["exact"],
    }


def beside(bench: Bench, rate: float, is_done: Callable[[], bool], mark: str) -> list[str]:
    """Send events at a rate until it is done; returns their ids."""
    over = threading.Event()

    def watch() -> None:
        while not is_done():
            time.sleep(0.2)
        over.set()

    threading.Thread(target=watch, daemon=True).start()
    ids: list[str] = []
    started = time.monotonic()
    while not over.is_set():
        number = len(ids)
        ids.append(f"{mark}-{number}")
        event = Interaction(
            event_id=ids[-1], user=f"honest-{number % 100}", item=str(number * 7 % 1500 + 1),
            timestamp=int(time.time() * 1000), kind="view",
        )  # fmt: skip
        bench.produce(bench.settings.topics.interactions, event, 0)
        time.sleep(max(0.0, started + len(ids) / rate - time.monotonic()))
    bench.producer.flush()
    return ids


def in_a_process(function: Callable[..., str], *arguments: Any) -> str:
    """What it returns, with one thread for linear algebra, as workers have: how many threads add up
    a sum decides its last bits."""
    os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def never_told(settings: Settings, users: set[str], end: int) -> str:
    """The digest of an engine that is told the log up to an offset, but for what is of users."""
    names = settings.topics
    engine = Recommender(settings.engine)
    for message in _messages(settings, names.item_embeddings):
        if (found := decode_embedding(message)) is not None:
            engine.upsert_item(*found)
    for message in _messages(settings, names.items):
        item, given = item_facts(Record.of(message), names.message_bytes)
        engine.describe_item(item, given or ())
    read = msgspec.json.Decoder(Interaction).decode
    for records in records_between(settings, names.interactions, 0, 0, end):
        told = list(map(read, (r.value or b"" for r in records)))
        kept = [event for event in told if event.user not in users]
        engine.observe_many(kept, [False] * len(kept))
    return state_digest(engine)


def _messages(settings: Settings, topic: str) -> Iterator[Message]:
    with closing(clients.tail_reader(settings)) as reader:
        yield from clients.read_from(reader, topic, 0, 0)


def _get(port: int, path: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=30) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


def _metric(port: int, name: str) -> float:
    samples = (each for family in metric_families(port) for each in family.samples)
    return next(each.value for each in samples if each.name == name)


if __name__ == "__main__":
    main()
