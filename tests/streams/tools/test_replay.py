"""Replay: pace, order, partitions, headers, and going on after an interruption."""

from __future__ import annotations

import itertools

import msgspec
import pytest
from confluent_kafka import Message

from engine.datasets import Synthetic
from streams.kafka import clients
from streams.kafka.partitioner import partition_of
from streams.tools import replay
from streams.tools.replay import SENT_NS, SEQUENCE, Pace, Progress, Replay
from tests.streams.conftest import Path, interaction


@pytest.fixture(autouse=True)
def nobody_encodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests run no worker, so waiting for the catalogue's embeddings is in vain."""
    monkeypatch.setattr(replay, "_PATIENCE_SECONDS", 0.0)


def dataset(events: int = 120) -> Synthetic:
    return Synthetic(events=events, users=20, items=50, seed=3)


def events_of(path: Path, count: int) -> list[tuple[int, str, str, str]]:
    """(partition, user, event id, sequence) of each message of the interactions topic."""
    found = []
    for message in path.read(path.names.interactions, count):
        event = msgspec.json.decode(message.value() or b"")
        headers = clients.headers(message)
        assert headers[SENT_NS].isdigit()
        assert (message.key() or b"").decode() == event["user"]
        found.append(
            (message.partition() or 0, event["user"], event["event_id"], headers[SEQUENCE].decode())
        )
    return found


def test_everything_is_sent_once_in_order_of_time(path: Path) -> None:
    sent = Replay(path.settings, dataset(), Pace()).run()
    assert (sent.items, sent.interactions, sent.skipped) == (50, 120, 0)
    assert len(path.read(path.names.items, 50)) == 50
    events = events_of(path, 120)
    assert [event_id for _, _, event_id, _ in events] == [
        event.event_id for event in dataset().interactions()
    ]
    assert [place for *_, place in events] == [f"synthetic/{n}" for n in range(1, 121)]


def test_a_limit_counts_from_the_start(path: Path) -> None:
    assert Replay(path.settings, dataset(), Pace(), limit=7).run().interactions == 7


@pytest.mark.parametrize("broker", ["kafka"], indirect=True)
def test_resuming_sends_the_rest_and_nothing_twice(settings: object) -> None:
    path = Path(settings(topics={"partitions": 3}))  # type: ignore[operator]
    Replay(path.settings, dataset(), Pace(), limit=70).run()
    resumed = Replay(path.settings, dataset(), Pace(), resume=True).run()
    assert (resumed.items, resumed.interactions, resumed.skipped) == (0, 50, 70)
    events = events_of(path, 120)
    assert sorted(event_id for _, _, event_id, _ in events) == sorted(
        event.event_id for event in dataset().interactions()
    )
    for partition, user, *_ in events:
        assert partition == partition_of(user, 3)
    again = Replay(path.settings, dataset(), Pace(), resume=True).run()
    assert (again.interactions, again.skipped) == (0, 120)


@pytest.mark.parametrize("broker", ["kafka"], indirect=True)
def test_resuming_another_data_set_starts_at_its_beginning(path: Path) -> None:
    path.send(interaction(1))
    assert Replay(path.settings, dataset(), Pace(), resume=True).run().interactions == 120


def test_progress_tells_items_then_interactions(path: Path) -> None:
    seen: list[Progress] = []
    Replay(
        path.settings,
        dataset(),
        Pace(),
        on_progress=lambda p: seen.append(Progress(p.phase, p.done, p.total)),
    ).run()
    assert [phase for phase, _ in itertools.groupby(p.phase for p in seen)] == [
        "items",
        "reading",
        "interactions",
    ]
    assert seen[-1] == Progress("interactions", 120, 120)


def test_a_rate_spaces_events_evenly() -> None:
    due = [seconds for seconds, _ in Pace(rate=50).due(iter([interaction(n) for n in range(4)]))]
    assert due == pytest.approx([0, 0.02, 0.04, 0.06])


def test_a_speedup_divides_the_time_between_events() -> None:
    events = [interaction(0), interaction(1), interaction(5)]  # a minute apart each
    assert [s for s, _ in Pace(speedup=60).due(iter(events))] == pytest.approx([0, 1, 5])


def test_as_fast_as_it_goes_is_due_at_once() -> None:
    assert [s for s, _ in Pace().due(iter([interaction(0), interaction(9)]))] == [0, 0]


@pytest.mark.parametrize("broker", ["kafka"], indirect=True)
def test_partitions_are_those_of_other_kafka_clients(settings: object) -> None:
    path = Path(settings(topics={"partitions": 7}))  # type: ignore[operator]
    chosen: dict[str, int] = {}

    def delivered(error: object, message: Message) -> None:
        assert error is None
        chosen[(message.key() or b"").decode()] = message.partition() or 0

    told = {"partitioner": "murmur2", "delivery.report.only.error": False}
    producer = clients.producer(path.settings, **told)
    users = [f"user-{n}" for n in range(50)] + ["ß", "日本", "a" * 200]
    for user in users:
        producer.produce(path.names.interactions, b"{}", user, on_delivery=delivered)
    producer.flush(30)
    assert chosen == {user: partition_of(user, 7) for user in users}
    assert len(set(chosen.values())) == 7
