"""Workers that share items: each event teaches them once, whoever dies, freezes or comes when."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from engine import Interaction, Recommender
from engine.sharing import ItemDelta
from engine.state.order_free_digest import commuting_state
from streams.kafka import clients
from streams.kafka.partitioner import partition_of
from streams.kafka.stretch import records_between
from streams.kafka.tail import Change
from streams.settings import Settings
from streams.worker.app import Worker
from streams.worker.item_deltas import _HEADER, Header
from streams.worker.leased import now
from tests.streams.conftest import Path, interaction
from tests.streams.waiting import until

pytestmark = pytest.mark.parametrize("broker", ["kafka"], indirect=True)
PARTITIONS = 2


class Peer:
    """A worker without Faust: the test says when it reads, tells, freezes and dies."""

    def __init__(self, settings: Settings) -> None:
        self.worker = Worker(settings)
        self.worker.catch_up()
        self._engine = threading.RLock()
        self._awake = threading.Event()
        self._awake.set()
        self.worker.deltas.follow(self._apply)

    def _apply(self, change: Change) -> None:
        self._awake.wait(30)
        with self._engine:
            change()

    def claim(self, *numbers: int) -> None:
        self.worker.assignment.claim(set(numbers))
        self.worker.assignment._lease.renew(now())

    def read(self, number: int, end: int) -> None:
        """Handle the events of a partition up to an offset, and wait until they are answered."""
        worker = self.worker
        partition = worker.assignment.partitions[number]
        topic, begin = worker.settings.topics.interactions, partition.next_offset
        for records in records_between(worker.settings, topic, number, begin, end):
            with self._engine:
                worker.pipeline.handle(partition, records)

        def out() -> bool:
            worker.assignment._lease.renew(now())
            partition.writer.advance()
            return partition.writer.queue.out >= end

        until(out, 10)

    def collect(self) -> None:
        with self._engine:
            assert self.worker.deltas.collect()

    def publish(self) -> None:
        """Send what was collected, and return once it was read back."""
        deltas = self.worker.deltas

        def back() -> bool:
            with self._engine:
                deltas.publish()
                return deltas._under_way is None

        until(back)

    def tell(self) -> None:
        self.collect()
        self.publish()

    def freeze(self) -> None:
        self._awake.clear()

    def wake(self) -> None:
        self._awake.set()

    def counts(self) -> dict[str, float]:
        with self._engine:
            return item_counts(self.worker.engine)

    def stop(self) -> None:
        self.wake()
        self.worker.deltas.stop()
        for partition in self.worker.assignment.ours():
            partition.writer.close(0.0)
        self.worker.assignment.stop()


def item_counts(engine: Recommender) -> dict[str, float]:
    state = commuting_state(engine)
    return {name: held[1] for name, held in state.items() if name.startswith("item ") and held[1]}


def users(engine: Recommender) -> dict[str, object]:
    state = commuting_state(engine)
    return {name: held for name, held in state.items() if name.startswith("user ")}


class Fleet:
    """Workers of one group, and the events of their input."""

    def __init__(self, settings: Callable[..., Settings], **worker: object) -> None:
        self.path = Path(settings(topics={"partitions": PARTITIONS}, worker=worker))
        self.peers: list[Peer] = []
        self.sent: list[Interaction] = []
        self.ends = dict.fromkeys(range(PARTITIONS), 0)

    def join(self) -> Peer:
        self.peers.append(Peer(self.path.settings))
        return self.peers[-1]

    def send(self, count: int) -> None:
        """Events of users of both partitions."""
        begin = len(self.sent)
        events = [
            interaction(n, user=f"u{n % 12}", item=f"m{n * 7 % 30}")
            for n in range(begin, begin + count)
        ]
        self.sent += events
        self.path.send(*events)
        for event in events:
            self.ends[partition_of(event.user, PARTITIONS)] += 1

    def read_all(self, peer: Peer) -> None:
        """Have a worker that has both partitions read all of them."""
        for number, end in self.ends.items():
            peer.read(number, end)

    def whole(self) -> Recommender:
        """An engine that was told all."""
        engine = Recommender(self.path.settings.engine)
        engine.observe_many(self.sent)
        return engine


@contextmanager
def fleet_on(settings: Callable[..., Settings], **worker: object) -> Iterator[Fleet]:
    made = Fleet(settings, **worker)
    try:
        yield made
    finally:
        for peer in made.peers:
            peer.stop()


def assert_all_know(fleet: Fleet, peers: Sequence[Peer]) -> None:
    """Each event is in the items of each of these once."""
    expected = item_counts(fleet.whole())
    for peer in peers:
        until(lambda peer=peer: peer.counts() == expected, 10, "the items are those of one engine")
        assert peer.worker.deltas.spoilt == ""


def test_what_one_worker_learns_the_items_of_all_know(settings: Callable[..., Settings]) -> None:
    with fleet_on(settings, checkpoints="") as fleet:
        one, other = fleet.join(), fleet.join()
        one.claim(0)
        other.claim(1)
        for _ in range(3):
            fleet.send(40)
            one.read(0, fleet.ends[0])
            other.read(1, fleet.ends[1])
            one.tell()
            other.tell()
        late = fleet.join()
        assert_all_know(fleet, [one, other, late])
        assert one.worker.pipeline.counts.followed == fleet.ends[1]
        held = users(one.worker.engine) | users(other.worker.engine)
        assert held == users(fleet.whole()), "users are at their owners alone"
        assert not users(one.worker.engine).keys() & users(other.worker.engine).keys()


def test_events_are_told_once_their_answers_are_written(settings: Callable[..., Settings]) -> None:
    with fleet_on(settings, checkpoints="") as fleet:
        one = fleet.join()
        one.claim(0, 1)
        one.worker.assignment._lease.end()
        fleet.send(10)
        partition = one.worker.assignment.partitions[0]
        topic = fleet.path.names.interactions
        for records in records_between(fleet.path.settings, topic, 0, 0, fleet.ends[0]):
            one.worker.pipeline.handle(partition, records)
        one.collect()
        for _ in range(5):
            one.worker.deltas.publish()
        assert fleet.path.counts()[fleet.path.names.item_deltas] == 1, "the claim, and no delta"
        one.worker.assignment._lease.renew(now())
        partition.writer.advance()
        until(lambda: partition.writer.queue.out == fleet.ends[0])
        one.publish()
        assert fleet.path.counts()[fleet.path.names.item_deltas] == 2


@pytest.mark.parametrize("collected", [False, True], ids=["learnt", "collected"])
def test_what_was_answered_and_not_told_the_next_owner_tells(
    settings: Callable[..., Settings], collected: bool
) -> None:
    """A worker dies between its answers and its delta."""
    with fleet_on(settings, checkpoints="") as fleet:
        dying, watching = fleet.join(), fleet.join()
        dying.claim(0, 1)
        fleet.send(60)
        fleet.read_all(dying)
        dying.tell()
        fleet.send(30)
        fleet.read_all(dying)
        if collected:
            dying.collect()
        dying.worker.assignment._lease.end()
        heir = fleet.join()
        heir.claim(0, 1)
        fleet.read_all(heir)
        heir.tell()
        assert_all_know(fleet, [heir, watching])
        assert users(heir.worker.engine) == users(fleet.whole())
        assert fleet.path.counts()[fleet.path.names.recommendations] == len(fleet.sent)


def test_a_frozen_worker_that_wakes_tells_nothing_that_counts(
    settings: Callable[..., Settings],
) -> None:
    with fleet_on(settings, checkpoints="") as fleet:
        frozen, watching = fleet.join(), fleet.join()
        frozen.claim(0, 1)
        fleet.send(30)
        fleet.read_all(frozen)
        frozen.collect()
        frozen.freeze()
        heir = fleet.join()
        heir.claim(0, 1)
        fleet.read_all(heir)
        fleet.send(20)
        fleet.read_all(heir)
        frozen.worker.deltas.publish()  # its answers had been written
        until(lambda: fleet.path.counts()[fleet.path.names.item_deltas] == 3)
        heir.tell()
        frozen.wake()
        assert_all_know(fleet, [heir, watching, fleet.join()])
        until(lambda: frozen.worker.deltas.spoilt, 10, "it knows that it has to start again")
        assert not frozen.worker.deltas.collect(), "nor is a checkpoint cut"


def test_a_late_delta_that_covers_a_part_ends_nobody(settings: Callable[..., Settings]) -> None:
    """The new owner told some of the events by the time; anybody's messages are passed over."""
    with fleet_on(settings, checkpoints="") as fleet:
        first, watching = fleet.join(), fleet.join()
        first.claim(0, 1)
        fleet.send(20)
        fleet.read_all(first)
        first.collect()
        heir = fleet.join()
        heir.claim(0, 1)
        for number, end in fleet.ends.items():
            heir.read(number, end // 2)
        heir.tell()
        first.worker.deltas.publish()
        producer, topic = fleet.path.producer, fleet.path.names.item_deltas
        mine = {"input": heir.worker.deltas._input, "writer": "me", "number": 1}
        for value, headers in (
            (b"rubbish", None),
            (b"rubbish", {_HEADER: b"rubbish"}),
            (b"rubbish", {_HEADER: json.dumps(mine | {"ranges": {"0": [0, 5]}}).encode()}),
            # Another group has the topic, too.
            (b"", {_HEADER: json.dumps(mine | {"input": "x", "claims": {"0": 900}}).encode()}),
        ):
            producer.produce(topic, value, partition=0, headers=headers)
        fleet.path.flush()
        fleet.read_all(heir)
        heir.tell()
        assert_all_know(fleet, [heir, watching])


def test_users_move_by_checkpoint_and_are_let_go(settings: Callable[..., Settings]) -> None:
    with fleet_on(settings) as fleet:
        one, other = fleet.join(), fleet.join()
        one.claim(0, 1)
        fleet.send(80)
        fleet.read_all(one)
        one.tell()
        worker = one.worker
        assert worker.checkpoints is not None
        worker.checkpoints.write(worker.engine, worker.checkpointing.notes())
        fleet.send(20)  # behind the checkpoint, and told: of these users alone learn again
        fleet.read_all(one)
        one.tell()
        known = len(users(worker.engine))
        one.claim(0)
        while worker.users._leaving:
            worker.users.let_some_go()
        other.claim(1)
        partition = other.worker.assignment.partitions[1]
        assert 0 < partition.next_offset < partition.told == fleet.ends[1]
        other.read(1, fleet.ends[1])
        here, there = users(worker.engine), users(other.worker.engine)
        assert len(here) + len(there) == known
        assert here | there == users(fleet.whole())
        assert worker.assignment.partitions[1].next_offset == 0
        assert not worker.assignment.partitions[1].is_duplicate(*a_known(fleet, 1))
        assert partition.is_duplicate(*a_known(fleet, 1))
        assert_all_know(fleet, [one, other])
        again = fleet.join()
        assert again.worker._notes.deltas_id
        assert_all_know(fleet, [again])


def a_known(fleet: Fleet, number: int) -> tuple[str, str]:
    event = next(e for e in fleet.sent if partition_of(e.user, PARTITIONS) == number)
    return event.user, event.event_id


def test_a_worker_without_a_checkpoint_learns_what_the_topic_dropped(
    settings: Callable[..., Settings],
) -> None:
    with fleet_on(settings, checkpoints="") as fleet:
        one = fleet.join()
        one.claim(0, 1)
        for _ in range(2):
            fleet.send(40)
            fleet.read_all(one)
            one.tell()
        drop(fleet, 2)  # the claim and the first delta
        assert_all_know(fleet, [one, fleet.join()])


def drop(fleet: Fleet, offset: int) -> None:
    """Have the broker forget the deltas before an offset, as retention does."""
    admin = AdminClient(clients.common(fleet.path.settings))
    place = TopicPartition(fleet.path.names.item_deltas, 0, offset)
    for done in admin.delete_records([place]).values():
        done.result()


def test_one_partition_shares_nothing(settings: Callable[..., Settings]) -> None:
    path = Path(settings(topics={"partitions": 1}))
    with path.worker():
        path.send(*(interaction(n) for n in range(10)))
        path.answers(10)
        asyncio.run(asyncio.sleep(1.0))
    assert path.counts()[path.names.item_deltas] == 0


def test_a_header_that_is_none_of_ours_is_none(settings: Callable[..., Settings]) -> None:
    with fleet_on(settings, checkpoints="") as fleet:
        topic, producer = fleet.path.names.item_deltas, fleet.path.producer
        for value in (None, b"{", b"[" * 10_000, b'{"x": ' + b"[" * 10_000, b'{"input": "\xff"}'):
            producer.produce(topic, b"x", headers={_HEADER: value})
        producer.produce(topic, b"x")
        fleet.path.flush()
        assert [Header.of(message) for message in fleet.path.read(topic, 6)] == [None] * 6


def test_a_delta_says_its_ranges_where_they_are_read_without_unpacking(
    settings: Callable[..., Settings],
) -> None:
    with fleet_on(settings, checkpoints="") as fleet:
        one = fleet.join()
        one.claim(0, 1)
        fleet.send(12)
        fleet.read_all(one)
        one.tell()
        message = fleet.path.read(fleet.path.names.item_deltas, 2)[1]
        delta = ItemDelta.decode(message.value() or b"", fleet.path.settings.engine.dimensions)
        assert delta.ranges == {n: (0, end) for n, end in fleet.ends.items()}
        assert delta.events == 12
