"""What it takes to move a partition's users to a worker that has never seen them, and what memory
a worker with half of the users needs.

    python -m benchmarks.moving_users [--users 50000] [--json FILE]

One worker has both partitions of a topic, and all users. It is started anew on its checkpoint.
Then another starts, with nothing but the store of checkpoints, and gets one of the partitions,
while events go to both. Then both are killed, and start anew at once; at last one of them is
stopped, and the other takes its users over. Checkpoints come every 5 s. Kafka waits 3 s for more
members of a new group, which is its default.

- `move_seconds`: from when the group has given the second worker its partition until the first
  answer of it is read.
- `longest_answer_ms`: what the slowest event from the second worker's start on waited for its
  answer, from send to receive: of the partition that `moved`, and of the one that was `kept`.
- `leaving_answer_ms`: the same from when a worker of two is stopped: all partitions wait until the
  group has given them out anew, and those that stay also for the users that the other takes over.
- `moved_users`: users of the partition that moved.
- `memory_mb`: resident, of a worker that starts with `all` users, with `half` of them (once the
  others have left it), and with `few` (but as many items). `user_side_mb`: what `all` and `half`
  have above `few`, which is the users; `user_side_ratio`: the one by the other.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import psutil
from confluent_kafka import OFFSET_END, TopicPartition

from benchmarks.end_to_end import Bench
from engine.evaluation.provenance import provenance
from engine.events import Interaction
from streams.brokers import KafkaServer
from streams.kafka import clients
from streams.kafka.group import Group
from streams.kafka.partitioner import partition_of
from streams.kafka.reader_thread import ReaderThread
from streams.messages.state_mark import read_mark
from streams.processes import Child
from streams.tools.replay import SENT_NS
from streams.worker.user_side import AT_ONCE

USERS = 50_000
EVENTS_A_USER = 4
ITEMS = 1_999  # a prime: no user takes an item twice
FEW = 50
_RATE = 100.0
_LEAVING_SECONDS = 10.0
_CHECKPOINT_SECONDS = 5.0
_BEFORE_SECONDS, _AFTER_SECONDS = 10.0, 15.0
_PATIENCE_SECONDS = 600.0


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--users", type=int, default=USERS)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    report = run(arguments.users) | provenance(f"{arguments.users:,} invented users", 0)
    text = json.dumps(report, indent=2)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n")


def run(users: int = USERS) -> dict[str, Any]:
    """All figures, with a Kafka of its own."""
    with KafkaServer(properties="group.initial.rebalance.delay.ms=3000\n") as kafka:
        benches = [Bench(kafka.bootstrap, name, partitions=2) for name in ("moving", "few")]
        return measure(*benches, users=users)


class _Answers:
    """A thread that notes of each answer: its partition, who gave it, when it came, how long it
    took."""

    def __init__(self, bench: Bench) -> None:
        self.seen: list[tuple[int, str, float, float]] = []
        topic, partitions = bench.settings.topics.recommendations, bench.settings.topics.partitions
        self._consumer = clients.reader(bench.settings, **{"isolation.level": "read_committed"})
        self._consumer.assign([TopicPartition(topic, n, OFFSET_END) for n in range(partitions)])
        self.thread = ReaderThread("answers", self._consumer)
        self.thread.start(self._turn)

    def _turn(self) -> None:
        message = self._consumer.poll(0.1)
        if message is None or message.error():
            return
        headers = clients.headers(message)
        mark = read_mark(message.headers() or [])
        took = (time.time_ns() - int(headers[SENT_NS])) / 1e6
        worker = mark.worker if mark else ""
        self.seen.append((message.partition() or 0, worker, time.monotonic(), took))


def measure(bench: Bench, few: Bench, users: int) -> dict[str, Any]:
    """All figures.

    Parameters
    ----------
    bench, few
        Of two partitions each, and with nothing in their topics.
    """
    often = bench.settings.worker.model_copy(update={"checkpoint_seconds": _CHECKPOINT_SECONDS})
    bench.settings = bench.settings.model_copy(update={"worker": often})
    numbers = count()
    with few.worker() as worker:
        _send(few, numbers, 5 * ITEMS, FEW)
        memory = {"few": _resident_mb(worker)}
    with bench.worker():
        _send(bench, numbers, users * EVENTS_A_USER, users)
    with ExitStack() as stack:
        workers: list[Child] = []

        def start() -> Child:
            workers.append(stack.enter_context(bench.worker()))
            return workers[-1]

        first = start()
        bench.await_workers(1)
        _send(bench, numbers, 10, users)  # it answers, so it is ready
        memory["all"] = _resident_mb(first)
        moved = _move(bench, numbers, users, start)
        for worker in workers:  # in order, the last to go would have all users again
            worker.kill()
    with bench.worker() as one, bench.worker() as other:
        bench.await_workers(2)
        _send(bench, numbers, 100, users)
        # Those of the other partition leave some at a time, and then their room is given back.
        steps = users / AT_ONCE
        time.sleep(_LEAVING_SECONDS + steps * bench.settings.worker.commit_seconds)
        memory["half"] = (_resident_mb(one) + _resident_mb(other)) / 2
        leaving = _leave(bench, numbers, users, other)
    above = {name: memory[name] - memory["few"] for name in ("all", "half")}
    return moved | {
        "leaving_answer_ms": leaving,
        "memory_mb": {name: round(megabytes) for name, megabytes in memory.items()},
        "user_side_mb": {name: round(megabytes) for name, megabytes in above.items()},
        "user_side_ratio": round(above["half"] / above["all"], 3),
    }


def _move(
    bench: Bench, numbers: count[int], users: int, start: Callable[[], Child]
) -> dict[str, Any]:
    """The first worker runs; the second starts, and gets a partition."""
    answers = _Answers(bench)
    group = Group(bench.settings)
    _trickle(bench, numbers, users, lambda passed: passed > _BEFORE_SECONDS)
    [first] = {worker for _, worker, _, _ in answers.seen}
    started = time.monotonic()
    start()
    assigned: list[float] = []

    def has_answered(_passed: float) -> bool:
        if not assigned and [len(member.partitions) for member in group.members()] == [1, 1]:
            assigned.append(time.monotonic())
        return any(worker != first for _, worker, _, _ in answers.seen)

    _trickle(bench, numbers, users, has_answered)
    moved, came = next((n, came) for n, worker, came, _ in answers.seen if worker != first)
    _trickle(bench, numbers, users, lambda passed: passed > _AFTER_SECONDS)
    answers.thread.finish()
    longest = {"moved": 0.0, "kept": 0.0}
    for partition, _, moment, took in answers.seen:
        name = "moved" if partition == moved else "kept"
        if moment > started:
            longest[name] = max(longest[name], took)
    partitions = bench.settings.topics.partitions
    return {
        "move_seconds": round(came - assigned[0], 2) if assigned else None,
        "longest_answer_ms": {name: round(took) for name, took in longest.items()},
        "moved_users": sum(
            partition_of(_user(n, users), partitions) == moved for n in range(users)
        ),
    }


def _leave(bench: Bench, numbers: count[int], users: int, leaving: Child) -> dict[str, int]:
    """One of two workers is stopped in order; how long events then waited."""
    answers = _Answers(bench)
    everywhere = range(bench.settings.topics.partitions)
    _trickle(bench, numbers, users, lambda _: {n for n, *_ in answers.seen} == {*everywhere})
    owners = {n: worker for n, worker, _, _ in answers.seen}
    stopped = time.monotonic()
    stopping = threading.Thread(target=leaving.stop)
    stopping.start()

    def has_one_owner(_passed: float) -> bool:
        latest = {n: worker for n, worker, _, _ in answers.seen}
        return len(set(latest.values())) == 1

    _trickle(bench, numbers, users, has_one_owner)
    _trickle(bench, numbers, users, lambda passed: passed > _AFTER_SECONDS)
    stopping.join()
    answers.thread.finish()
    survivor = answers.seen[-1][1]
    longest = {"moved": 0.0, "kept": 0.0}
    for partition, _, moment, took in answers.seen:
        name = "kept" if owners[partition] == survivor else "moved"
        if moment > stopped:
            longest[name] = max(longest[name], took)
    return {name: round(took) for name, took in longest.items()}


def _trickle(
    bench: Bench, numbers: count[int], users: int, is_over: Callable[[float], bool]
) -> None:
    """Events at a steady rate, until it is over; that is given the seconds that have passed."""
    began = time.monotonic()
    sent = 0
    while not is_over(time.monotonic() - began):
        if time.monotonic() > began + _PATIENCE_SECONDS:
            raise TimeoutError("the worker that is to answer has not")
        while sent < (time.monotonic() - began) * _RATE:
            bench.send(bench.settings.topics.interactions, _event(next(numbers), users))
            sent += 1
        bench.producer.poll(0.005)


def _send(bench: Bench, numbers: count[int], events: int, users: int) -> None:
    """Send so many events, and wait until they are answered."""
    already = bench.end_of(bench.settings.topics.interactions)
    for _ in range(events):
        bench.send(bench.settings.topics.interactions, _event(next(numbers), users))
    bench.producer.flush()
    bench.await_answered(already + events, _PATIENCE_SECONDS)


def _event(number: int, users: int) -> Interaction:
    return Interaction(
        event_id=f"moving {number}", user=_user(number, users),
        item=f"item {number * 7_919 % ITEMS}", timestamp=time.time_ns() // 1_000_000, kind="click",
    )  # fmt: skip


def _user(number: int, users: int) -> str:
    return f"user {number % users}"


def _resident_mb(child: Child) -> float:
    return float(psutil.Process(child.pid).memory_info().rss / 1e6)


if __name__ == "__main__":
    main()
