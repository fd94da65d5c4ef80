"""Throughput of one and of two workers on this machine, and a simulation of many from their costs.

    python -m benchmarks.scale_out [--data ml-100k] [--also yoochoose] [--json FILE]

Every worker learns and answers the events of its own partitions, and adds to its items what others
tell of theirs, which takes `FOLLOWING_SHARE` of its time at most (`streams.worker.item_deltas`).

- `measured`: events/s over all partitions while one and two workers work off a backlog (from the
  times that answers reached the output topic, first and last tenth left out), and the CPU time of
  the worker processes for it. On two cores the broker takes its part of them.
- `own_event_us`, `following_us`: CPU time of a worker for an event. The first is what one worker
  needs, all partitions being its own; what two need more of in all is that of following.
- `following_share`: of two workers' CPU time, what following takes.
- `two_workers_speedup`: by CPU time, the broker's and the clients' left out: twice what one worker
  needs for an event, by what two need in all.
- `delta_bytes_per_event`: of the topic of deltas, while two workers worked.
- `simulated`: 8 to 64 workers, a core each and one partition each, events arriving at random
  (Poisson) at a share of `LOAD` of what they can keep up with, equal users. A worker answers the
  events of its own first come first served, and adds what others told when it has none; they tell
  as workers do: as often and as much as `item_deltas` lets them. `speedup`: what they can keep up
  with, in events of one worker that follows nobody. `lag_ms`: from an answer until another worker
  knows what its event taught; `answer_ms`: from an event to its answer; `delta_seconds`: between
  two deltas of a worker; `rows`: of a delta. The way through Kafka is left out, and so is the
  broker, which serves each delta to W readers. What a delta and its rows cost is measured in this
  process (`flush_us`).
- `own_feedback_other_worker_ms`, `item_freshness_ms`: `benchmarks.through_workers`.
- `move_seconds`, `longest_answer_ms`, `leaving_answer_ms`, `memory_mb`, `user_side_mb`,
  `user_side_ratio`: `benchmarks.moving_users`.
- `flush_us`, `ndcg_ratio`, `engines`: quality and costs of engines that share their items in this
  process (`benchmarks.shared_items`); `flush_us` of the largest number of engines. `also`: the same
  by name for further data sets.
"""

from __future__ import annotations

import argparse
import heapq
import json
import time
from collections import deque
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
from rich.console import Console

from benchmarks import moving_users, shared_items, through_workers
from benchmarks.end_to_end import Bench, publish_catalogue
from benchmarks.http_peers.services import free_ports
from engine.datasets import Dataset, Synthetic, open_dataset
from engine.evaluation.measures import percentiles
from engine.evaluation.provenance import provenance
from engine.events import Interaction
from streams.brokers import KafkaServer
from streams.settings_io import load_settings
from streams.tools.planning.telling import telling
from streams.tools.torture.account import read_all
from streams.tools.torture.traffic import Subscriber

PARTITIONS = 4
WARM_UP_EVENTS = 4_000
WORKERS = (8, 16, 32, 64)
LOAD = 0.8
SIMULATED_EVENTS = 10_000
IDLE_SECONDS = 3.0
_TELL, _DONE = -1, -2
console = Console(stderr=True)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="a data set; else an invented stream")
    parser.add_argument(
        "--also", type=Path, nargs="+", default=[],
        help="data sets of which the quality with shared items is measured, too",
    )  # fmt: skip
    parser.add_argument("--events", type=int, default=20_000, help="events of a backlog")
    parser.add_argument("--rounds", type=int, default=3, help="one worker and two, in turns")
    parser.add_argument("--users", type=int, default=moving_users.USERS, help="users that move")
    parser.add_argument("--engines", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    wanted = arguments.events + WARM_UP_EVENTS
    dataset: Dataset = (
        open_dataset(arguments.data, seed=arguments.seed)
        if arguments.data
        else Synthetic(wanted, seed=arguments.seed)
    )
    events = list(islice(dataset.interactions(), wanted))
    runs: dict[int, list[dict[str, float]]] = {1: [], 2: []}
    with KafkaServer() as kafka:
        for number in range(arguments.rounds):
            for workers, found in runs.items():
                console.print(f"round {number + 1} of {arguments.rounds}: {workers} workers")
                bench = Bench(kafka.bootstrap, f"{workers}.{number}", partitions=PARTITIONS)
                found.append(measure(bench, dataset, events, workers))
        console.print("what is known through another worker")
        bench = Bench(kafka.bootstrap, "through", partitions=PARTITIONS)
        known_through_others = through_workers.measure(bench, free_ports(2))
    console.print("a partition's users move")
    moving = moving_users.run(arguments.users)
    engines = shared_items.measure(dataset, arguments.events, arguments.engines)
    engines["large"] = shared_items.large()
    others = [open_dataset(path, seed=arguments.seed) for path in arguments.also]
    also = {
        other.name: shared_items.measure(other, arguments.events, arguments.engines)
        for other in others
    }
    measured = {workers: median(found) for workers, found in runs.items()}
    own, both = measured[1]["cpu_us"], measured[2]["cpu_us"]
    following = max(0.0, both - own)
    delta_seconds = load_settings().worker.delta_seconds
    largest = str(max(arguments.engines))
    flush = engines["flush_us"][largest]
    costs = Costs(
        own / 1e6,
        flush["fixed"] / 1e6,
        flush["more_per_row"] / 1e6,
        engines["rows_per_event"][largest],
    )
    report: dict[str, Any] = {
        "events": len(events) - WARM_UP_EVENTS,
        "rounds": arguments.rounds,
        "measured": {str(workers): figures for workers, figures in measured.items()},
        "ratio": round(measured[2]["events_per_second"] / measured[1]["events_per_second"], 2),
        "own_event_us": own,
        "following_us": round(following, 1),
        "following_share": round(following / both, 3),
        "two_workers_speedup": round(2 * own / both, 2),
        "delta_bytes_per_event": measured[2]["delta_bytes"],
        "load": LOAD,
        "delta_seconds": delta_seconds,
        "simulated": [
            {
                "workers": workers,
                **simulate(workers, costs, delta_seconds, arguments.seed),
            }
            for workers in WORKERS
        ],
        **known_through_others,
        **moving,
        "flush_us": flush,
        "ndcg_ratio": engines["ndcg_ratio"],
        "engines": engines,
        "also": also,
        **provenance(f"{dataset.name} ({dataset.format})", arguments.seed),
    }
    text = json.dumps(report, indent=2)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n")


def median(runs: list[dict[str, float]]) -> dict[str, float]:
    """The median of each figure over runs."""
    return {name: round(float(np.median([run[name] for run in runs])), 1) for name in runs[0]}


def measure(
    bench: Bench, dataset: Dataset, events: list[Interaction], workers: int
) -> dict[str, float]:
    """Events/s of so many workers, and their CPU time for an event in all, in microseconds."""
    topic = bench.settings.topics.interactions
    with bench.worker():  # it stops when all is embedded: the others then know it from their start
        publish_catalogue(bench, dataset)
    with ExitStack() as stack:
        processes = [
            psutil.Process(stack.enter_context(bench.worker()).pid) for _ in range(workers)
        ]
        subscriber = stack.enter_context(Subscriber(bench.settings))
        for event in events[:WARM_UP_EVENTS]:
            bench.send(topic, event)
        await_idle(subscriber, WARM_UP_EVENTS, processes)
        before = cpu_seconds(processes)
        for event in events[WARM_UP_EVENTS:]:
            bench.send(topic, event)
        bench.producer.flush()
        await_idle(subscriber, len(events), processes)
        cpu = cpu_seconds(processes) - before
    stamps = sorted(
        message.timestamp()[1]
        for message in read_all(bench.settings, bench.settings.topics.recommendations)
    )[WARM_UP_EVENTS:]
    deltas = read_all(bench.settings, bench.settings.topics.item_deltas)
    told = sum(len(message.value() or b"") for message in deltas)
    low, high = len(stamps) // 10, len(stamps) * 9 // 10
    return {
        "events_per_second": (high - low) / (stamps[high] - stamps[low]) * 1e3,
        "cpu_us": cpu / len(stamps) * 1e6,
        "delta_bytes": told / len(events),
    }


def await_idle(subscriber: Subscriber, count: int, processes: list[psutil.Process]) -> None:
    """Return once that many answers have come and the workers have nothing left to apply."""
    while subscriber.count < count:
        if time.monotonic() > subscriber.moved + 120:
            raise TimeoutError(f"{subscriber.count:,} of {count:,} events were answered")
        time.sleep(0.1)
    while True:
        before = cpu_seconds(processes)
        time.sleep(IDLE_SECONDS)
        if cpu_seconds(processes) - before < 0.2 * IDLE_SECONDS * len(processes):
            return


def cpu_seconds(processes: list[psutil.Process]) -> float:
    """CPU time, user and system, that the processes have had."""
    return sum(sum(process.cpu_times()[:2]) for process in processes)


class Costs(NamedTuple):
    """What a worker's work takes, in seconds of CPU.

    Attributes
    ----------
    own
        An event that it answers.
    delta, row
        Another's delta whatever it holds, and a row of it.
    rows
        Rows that an event changes.
    """

    own: float
    delta: float
    row: float
    rows: float


class Fleet(NamedTuple):
    """How so many workers work at their most: events/s of all; of each delta: seconds to the next,
    rows, and the time that another worker takes to add it."""

    events_per_second: float
    delta_seconds: float
    rows: float
    adding: float


def busiest(workers: int, costs: Costs, delta_seconds: float) -> Fleet:
    """The most that they manage, where each tells as `streams.worker.item_deltas` does."""
    share = 0.0
    for _ in range(100):  # what they manage and what they tell depend on each other
        seconds, rows = telling((1 - share) / costs.own, workers, costs.rows, delta_seconds)
        adding = costs.delta + rows * costs.row
        share = (workers - 1) * adding / seconds
    return Fleet(workers * (1 - share) / costs.own, seconds, rows, adding)


def simulate(
    workers: int, costs: Costs, delta_seconds: float, seed: int, events: int = SIMULATED_EVENTS
) -> dict[str, Any]:
    """So many workers by the model above."""
    rng = np.random.default_rng([seed, workers])
    fleet = busiest(workers, costs, delta_seconds)
    arrivals = np.cumsum(rng.exponential(1 / (LOAD * fleet.events_per_second), events))
    owners: list[int] = rng.integers(workers, size=events).tolist()

    # What happens, in order of time: an event reaches a worker; one tells what it has answered
    # since (`_TELL`); one is done with what it had to do (`_DONE`).
    heap = [(float(t), w, event) for event, (t, w) in enumerate(zip(arrivals, owners, strict=True))]
    heap += [
        (float(phase), worker, _TELL)
        for worker, phase in enumerate(rng.uniform(0, fleet.delta_seconds, workers))
    ]
    heapq.heapify(heap)
    mine: list[deque[int]] = [deque() for _ in range(workers)]
    others: list[deque[list[int]]] = [deque() for _ in range(workers)]
    working: list[int | list[int] | None] = [None] * workers
    untold: list[list[int]] = [[] for _ in range(workers)]
    answered = np.zeros(events)
    lags: list[float] = []
    waiting = events

    def begin(now: float, worker: int) -> None:
        """Have a worker that does nothing begin with what waits: its own events first."""
        if working[worker] is None and (mine[worker] or others[worker]):
            own = bool(mine[worker])
            working[worker] = mine[worker].popleft() if own else others[worker].popleft()
            heapq.heappush(heap, (now + (costs.own if own else fleet.adding), worker, _DONE))

    while heap:
        now, worker, what = heapq.heappop(heap)
        if what >= 0:
            mine[worker].append(what)
        elif what == _TELL:
            told, untold[worker] = untold[worker], []
            for other in range(workers):
                if told and other != worker:
                    others[other].append(told)
                    begin(now, other)
            if waiting or untold[worker]:
                heapq.heappush(heap, (now + fleet.delta_seconds, worker, _TELL))
        else:
            done, working[worker] = working[worker], None
            if isinstance(done, int):
                answered[done] = now
                untold[worker].append(done)
                waiting -= 1
            elif done is not None:
                lags.extend((now - answered[done]).tolist())
        begin(now, worker)
    return {
        "events_per_second": round(fleet.events_per_second),
        "speedup": round(fleet.events_per_second * costs.own, 1),
        "delta_seconds": round(fleet.delta_seconds, 3),
        "rows": round(fleet.rows),
        "lag_ms": percentiles(np.array(lags) * 1e3),
        "answer_ms": percentiles((answered - arrivals)[events // 10 :] * 1e3),
    }


if __name__ == "__main__":
    main()
