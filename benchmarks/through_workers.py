"""How soon what one worker has learnt is known through another one.

Events go one after the other to one of two workers, the other one is asked over HTTP every
millisecond or so, until it knows. Both times are from sending the event to Kafka.

- `own_feedback_other_worker_ms`: until a user's interaction is among those of the user. The worker
  that is asked passes the question on to the one that has the user.
- `item_freshness_ms`: until the worker that is asked knows an item that the event is the first of.
  What events teach the items is told every `worker.delta_seconds`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any
from urllib.parse import quote

import numpy as np

from benchmarks.end_to_end import Bench
from benchmarks.http_peers.client import JsonClient
from engine.evaluation.measures import percentiles
from engine.events import Interaction
from streams.kafka.partitioner import partition_of

PROBES = 200
_PATIENCE_SECONDS = 10.0
_READY_SECONDS = 120.0
_LONGEST_PAUSE_SECONDS = 0.5
"""Between two events a random time passes: else each would come right after a delta."""


def measure(bench: Bench, ports: Sequence[int], probes: int = PROBES) -> dict[str, Any]:
    """Both figures, by percentile, in milliseconds, of two workers with these ports."""
    with ExitStack() as stack:
        for port in ports:
            stack.enter_context(bench.worker(port))
        first, second = (JsonClient(f"http://127.0.0.1:{port}") for port in ports)
        partitions = bench.settings.topics.partitions

        def both_have_some() -> bool:
            if not all(asked.answers("/health/ready") for asked in (first, second)):
                return False
            of_each = [len(each["partitions"]) for each in first.ask("GET", "/workers")["workers"]]
            return len(of_each) == len(ports) and all(of_each) and sum(of_each) == partitions

        _until(both_have_some, _READY_SECONDS)
        owned = next(
            each["partitions"] for each in second.ask("GET", "/workers")["workers"] if each["asked"]
        )
        pauses = np.random.default_rng(0).uniform(0, _LONGEST_PAUSE_SECONDS, 2 * probes)
        users = (
            name
            for number in range(100 * probes)
            if partition_of(name := f"probe {number}", partitions) in owned
        )
        found = {
            "own_feedback_other_worker_ms": [
                _seconds(
                    bench, pauses[n], f"feedback {n}", next(users), "an item that all know",
                    lambda user, _item: first.ask("GET", f"/users/{quote(user)}")["interactions"],
                )
                for n in range(probes)
            ],
            "item_freshness_ms": [
                _seconds(
                    bench, pauses[-n], f"freshness {n}", next(users), f"item {n}",
                    lambda _user, item: first.answers(f"/items/{quote(item)}"),
                )
                for n in range(probes)
            ],
        }  # fmt: skip
    return {name: percentiles([1e3 * s for s in seconds]) for name, seconds in found.items()}


def _seconds(
    bench: Bench,
    pause: float,
    event_id: str,
    user: str,
    item: str,
    is_known: Callable[[str, str], object],
) -> float:
    """From sending an event to its being known."""
    time.sleep(pause)
    event = Interaction(
        event_id=event_id, user=user, item=item, timestamp=time.time_ns() // 1_000_000, kind="view"
    )
    began = time.monotonic()
    bench.send(bench.settings.topics.interactions, event)
    bench.producer.flush()
    _until(lambda: is_known(user, item), _PATIENCE_SECONDS)
    return time.monotonic() - began


def _until(holds: Callable[[], object], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"it was not so within {seconds:g} s")
        time.sleep(0.001)
