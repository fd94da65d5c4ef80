"""The event path on both brokers: what goes in comes out once, and nothing stops the worker."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait

import pytest

from engine.events import Item
from streams.brokers import EmbeddedBroker, KafkaServer
from streams.kafka import clients, topic_checks
from streams.kafka.partitioner import partition_of
from streams.processes import Child
from streams.settings import Settings
from tests.conftest import TOPICS, settings_on
from tests.streams.conftest import FIRST_MS, Path, interaction, one_partition
from tests.streams.waiting import until


def event(**changes: str) -> bytes:
    """A good event but for the fields that are given as JSON text; an empty text leaves one out."""
    fields = {
        "event_id": '"x"',
        "user": '"ann"',
        "item": '"m"',
        "timestamp": "1600000000000",
        "kind": '"click"',
    } | changes
    return ("{" + ", ".join(f'"{k}": {v}' for k, v in fields.items() if v) + "}").encode()


BAD: dict[str, bytes | None] = {
    "not JSON": b"{",
    "not UTF-8": b'{"user": "\xff\xfe"}',
    "wrong type": event(event_id="5.5"),
    "missing field": event(item=""),
    "empty id": event(user='""'),
    "NaN": event(value="NaN"),
    "absurd timestamp": event(timestamp="1600000000"),
    "unknown kind": event(kind='"stare"'),
    "null value": None,
    "empty value": b"",
    "deep nesting": b'{"properties": ' + b"[" * 100_000,
    "long text": event(text='"' + "a" * 500_000 + '"'),
}


@pytest.fixture(scope="module")
def running(
    broker: EmbeddedBroker | KafkaServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """A path with a worker, for tests whose users and event ids are their own."""
    path = one_partition(settings_on(broker, tmp_path_factory.mktemp("worker")), broker)
    with path.worker():
        yield path


def test_forget_answers_as_for_somebody_unknown(running: Path) -> None:
    """The first test of the file: what is trending are this test's items alone."""
    running.begin_here()
    running.send(*(interaction(n, user="forget-bob") for n in range(400, 405)))
    running.send(interaction(409, user="forget-ann", item="m400"))
    running.send(interaction(410, user="forget-ann", kind="forget", event_id="forget"))
    answer = running.answers(7)[-1]
    assert answer["event_id"] == "forget"
    assert "item" not in answer or answer["item"] in (None, "m410")
    assert {entry["reason"] for entry in answer["items"]} == {"trending"}
    assert "m400" in {entry["item"] for entry in answer["items"]}


def test_each_event_gets_one_answer_in_order(running: Path) -> None:
    first = running.begin_here()[running.names.interactions]
    events = [interaction(n, user=f"u{n % 3}") for n in range(30)]
    running.send(*events)
    answers = running.answers(30)
    assert [answer["event_id"] for answer in answers] == [event.event_id for event in events]
    assert [answer["source"]["offset"] for answer in answers] == list(range(first, first + 30))
    last = answers[-1]
    assert last["user"] == "u2"
    assert last["item"] == "m29"
    taken = {event.item for event in events if event.user == "u2"}
    recommended = [entry["item"] for entry in last["items"]]
    assert len(recommended) == len(set(recommended)) == 10
    assert not taken & set(recommended)
    assert all(entry["reason"] for entry in last["items"])
    scores = [entry["score"] for entry in last["items"]]
    assert scores == sorted(scores, reverse=True)
    stages = last["latency_us"]
    assert all(stages[name] > 0 for name in ("decode", "learn", "graph", "rank", "total"))
    parts = sum(stages[name] for name in stages if name not in ("queue", "total"))
    assert parts <= stages["total"]


def test_bad_input_is_buried_with_its_bytes_and_origin_and_stops_nothing(
    running: Path,
) -> None:
    path, first = running, running.begin_here()[running.names.interactions]
    path.send(interaction(100))
    for name, value in BAD.items():
        path.send_bytes(value, headers={"case": name})
    path.flush()
    path.send(interaction(101))
    assert [a["event_id"] for a in path.answers(2)] == ["e100", "e101"]
    letters = path.read(path.names.dead_letters, len(BAD))
    sent = zip(BAD.items(), letters, strict=True)
    for offset, ((name, value), letter) in enumerate(sent, first + 1):
        headers = clients.headers(letter)
        assert letter.value() == value, name
        assert headers["case"] == name.encode()
        assert headers["origin.topic"] == path.names.interactions.encode()
        assert headers["origin.partition"] == b"0"
        assert headers["origin.offset"] == str(offset).encode()
        assert int(headers["origin.timestamp"]) > 0
        assert headers["error.class"], name
        assert headers["error.message"], name


@pytest.mark.long
@pytest.mark.parametrize("broker", ["kafka"], indirect=True)
def test_a_message_as_large_as_the_topic_takes_is_buried_whole(running: Path) -> None:
    running.begin_here()
    value = b'{"event_id": "x", "text": "' + b"a" * 1_500_000 + b'"}'
    running.send_bytes(value)
    running.send(interaction(200))
    assert running.answers(1)[0]["event_id"] == "e200"
    assert running.read(running.names.dead_letters, 1)[0].value() == value


def test_a_known_event_id_is_not_answered_again(running: Path) -> None:
    running.begin_here()
    running.send(interaction(300), interaction(301), interaction(300), interaction(302))
    assert [answer["event_id"] for answer in running.answers(3)] == ["e300", "e301", "e302"]


def test_a_catalogue_item_is_recommended_with_its_text_and_hidden_ones_never(
    path: Path, worker: Child
) -> None:
    films = [
        Item(item="horror", title="The Haunted House", categories=["Horror"]),
        Item(item="horror2", title="The Haunted House II", categories=["Horror"]),
        Item(item="comedy", title="Two Weddings", categories=["Comedy"]),
        Item(item="secret", title="The Haunted Cellar", categories=["Horror"], hidden=True),
    ]
    path.send_items(*films)
    path.send_bytes(b"rubbish")  # no item either, but on the interactions topic
    path.producer.produce(path.names.items, b"rubbish", "key")
    path.flush()
    embeddings = path.read(path.names.item_embeddings, len(films))
    assert all(len(message.value() or b"") > 1000 for message in embeddings)
    assert len(path.read(path.names.dead_letters, 2)) == 2
    asked = itertools.count(1)

    def recommended() -> set[str]:
        number = next(asked)
        path.send(interaction(number, user=f"u{number}", item="horror"))
        items = {entry["item"] for entry in path.answers(number)[-1]["items"]}
        assert "secret" not in items
        return items

    # The worker tails the catalogue beside the events.
    until(lambda: recommended() == {"horror2", "comedy"})


def test_the_answer_carries_tracing_headers_on(running: Path) -> None:
    running.begin_here()
    event = (
        b'{"event_id": "t", "user": "ann", "item": "m", "timestamp": 1600000000000, "kind": "view"}'
    )
    running.send_bytes(event, headers={"traceparent": b"00-abc-def-01", "other": b"not this"})
    running.flush()
    headers = clients.headers(running.read(running.names.recommendations, 1)[0])
    assert headers.pop("millrace.state")
    assert headers == {"traceparent": b"00-abc-def-01"}


@pytest.mark.parametrize("broker", ["kafka"], indirect=True)
def test_a_killed_worker_loses_nothing_and_answers_nothing_twice(path: Path) -> None:
    choose = random.Random(0)
    events = [
        interaction(n, user=f"u{choose.randrange(20)}", item=f"m{choose.randrange(50)}")
        for n in range(2000)
    ]
    with path.worker() as undisturbed:
        path.send(*events[:1000])
        path.answers(1000)
        undisturbed.kill()
    path.send_bytes(b"rubbish")
    path.send(*events[1000:1500])
    with path.worker() as second:
        path.answers(1200)
        second.kill()
    path.send(*events[1500:])
    events.append(interaction(2000))
    with path.worker():
        path.answers(2000)
        path.send(events[-1])  # whatever came twice would come before its answer
        answers = path.answers(2001)
    assert [answer["event_id"] for answer in answers] == [event.event_id for event in events]
    counts = path.counts()
    assert counts[path.names.recommendations] == 2001
    assert counts[path.names.dead_letters] == 1


@pytest.mark.long
@pytest.mark.parametrize("broker", ["kafka"], indirect=True)
def test_a_restarted_worker_answers_as_an_undisturbed_one(path: Path, settings: object) -> None:
    events = [interaction(n, user=f"u{n % 7}", item=f"m{n * 13 % 40}") for n in range(300)]
    other = Path(path.settings.model_copy(update={"topics": path.names.model_copy(
        update={name: f"{getattr(path.names, name)}.whole" for name in TOPICS}
    ), "worker": path.settings.worker.model_copy(
        update={"group": "whole", "checkpoints": ""}
    )}))  # fmt: skip
    other.send(*events)
    path.send(*events[:200])
    with other.worker():
        with path.worker():
            path.answers(200)
        path.send(*events[200:])
        with path.worker():
            interrupted = path.answers(300)
        whole = other.answers(300)
    assert [a["items"] for a in interrupted] == [a["items"] for a in whole]


@pytest.mark.parametrize("broker", ["kafka"], indirect=True)
def test_a_worker_that_joins_and_leaves_costs_no_event_and_no_answer_twice(
    settings: Callable[..., Settings],
) -> None:
    timing = {"session_seconds": 6.0, "checkpoint_seconds": 2.0}
    path = Path(settings(topics={"partitions": 2}, worker=timing))
    events = [interaction(n, user=f"u{n % 20}", item=f"m{n * 7 % 50}") for n in range(600)]
    with ThreadPoolExecutor(1) as waiting, path.worker():
        path.send(*events[:200])
        path.answers(200)
        with path.worker():
            moved = waiting.submit(path.await_workers, 2)
            for event in events[200:400]:  # slowly: the partitions move while these are answered
                path.send(event)
                wait({moved}, 0.05)
            moved.result()
            path.answers(400)
        path.send(*events[400:590])
        path.answers(590)
        path.send(*events[590:])  # whatever came twice would come before their answers
        answers = path.answers(600)
    assert len({partition_of(event.user, 2) for event in events[590:]}) == 2
    assert path.counts()[path.names.recommendations] == 600
    by_user: dict[str, list[str]] = {}
    for answer in answers:
        by_user.setdefault(answer["user"], []).append(answer["event_id"])
    for user, answered in by_user.items():
        assert answered == [event.event_id for event in events if event.user == user]


@pytest.mark.parametrize("broker", ["kafka"], indirect=True)
def test_every_worker_learns_what_the_others_answer(settings: Callable[..., Settings]) -> None:
    path = Path(settings(topics={"partitions": 2}, worker={"session_seconds": 6.0}))
    with path.worker(), path.worker():
        path.await_workers(2)
        # Two users of different partitions, and so of different workers.
        assert partition_of("ann", 2) != partition_of("dan", 2)
        path.send(*(interaction(n, user="ann", item=f"shown{n}") for n in range(3)))
        path.send(*(interaction(n, user="dan", item=f"other{n - 10}") for n in range(10, 13)))
        path.answers(6)
        asked = itertools.count(1)

        def learnt() -> bool:
            """Whether each recommends the other's items to its own user."""
            turn = next(asked)
            path.send(interaction(100 * turn, user="ann", item="shown9"))
            path.send(interaction(100 * turn + 1, user="dan", item="other9"))
            answers = {answer["event_id"]: answer["items"] for answer in path.answers(6 + 2 * turn)}
            for_ann = {entry["item"] for entry in answers[f"e{100 * turn}"]}
            for_dan = {entry["item"] for entry in answers[f"e{100 * turn + 1}"]}
            return {"other0", "other1", "other2"} <= for_ann and (
                {"shown0", "shown1", "shown2"} <= for_dan
            )

        until(learnt, 10)  # what others teach is a second away at most


@pytest.mark.long
@pytest.mark.parametrize("broker", ["kafka"], indirect=True)
def test_an_event_that_is_too_late_is_buried_if_the_settings_say_so(
    settings: Callable[..., Settings],
) -> None:
    policy = {"late": "dead-letter", "grace_seconds": 3_600.0}
    path = Path(settings(topics={"partitions": 1}, worker=policy))
    hour = 3_600_000
    newest = interaction(0, timestamp=FIRST_MS + 10 * hour)
    within = interaction(1, timestamp=FIRST_MS + 9 * hour)
    late = interaction(2, timestamp=FIRST_MS + 9 * hour - 1)
    with path.worker():
        path.send(newest, within, late, interaction(3, timestamp=FIRST_MS + 10 * hour))
        answers = path.answers(3)
        letter = path.read(path.names.dead_letters, 1)[0]
    assert [answer["event_id"] for answer in answers] == ["e0", "e1", "e3"]
    headers = clients.headers(letter)
    assert headers["error.class"] == b"Late"
    assert headers["origin.offset"] == b"2"
    assert str(late.timestamp).encode() in headers["error.message"]


@pytest.mark.parametrize("broker", ["kafka"], indirect=True)
def test_events_dated_ahead_make_none_of_another_user_late(
    settings: Callable[..., Settings],
) -> None:
    path = Path(
        settings(topics={"partitions": 1}, worker={"late": "dead-letter", "grace_seconds": 60.0})
    )
    assert topic_checks.check(path.settings) == []
    now, hour = int(time.time() * 1000), 3_600_000
    ahead = [interaction(n, user="mallory", timestamp=now + 23 * hour + n) for n in range(4)]
    honest = [interaction(n, user=f"u{n}", timestamp=now + n) for n in range(4, 104)]
    with path.worker():
        path.send(*ahead, *honest)
        answers = path.answers(104)
    assert [answer["event_id"] for answer in answers] == [e.event_id for e in (*ahead, *honest)]


@pytest.mark.parametrize("broker", ["kafka"], indirect=True)
def test_a_worker_goes_on_from_its_checkpoint_and_reads_nothing_again(
    path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path.send(*(interaction(n, user=f"u{n % 5}") for n in range(50)))
    with path.worker():
        path.answers(50)
    path.send(interaction(50))
    with path.worker():
        path.answers(51)
    said = capfd.readouterr().err
    assert "going on from checkpoint" in said
    assert said.count('"0 events read again"') == 2
