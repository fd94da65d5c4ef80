"""Past answers are computed again and are equal; what was altered, lost or another model's is seen.

On a real Kafka, with real workers: their log has repeated events, dead letters, a forget, late
events, reviews, and a catalogue that changes while events come.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path as FilePath
from typing import Any

import hypothesis
import msgspec
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from hypothesis import strategies as st

from engine.events import Interaction, Item
from engine.recommender import Recommender
from streams.brokers import KafkaServer
from streams.kafka import clients, topics
from streams.kafka.record import Record
from streams.settings import Settings
from streams.settings_io import as_environment
from streams.tools.past import answers as past_answers
from streams.tools.past.audit import Range, audit
from streams.tools.past.error import PastError
from streams.tools.past.questions import explain, list_at
from streams.worker.catalogue import decode_embedding, item_facts
from tests.conftest import settings_on
from tests.streams.conftest import FIRST_MS, Path, interaction

HOUR = 3_600_000
NOW = 4_000_000_000_000
FILMS = [
    Item(
        item=f"m{n}", title=f"Film {n} of {word}", categories=[word], properties={"year": 1990 + n}
    )
    for n, word in enumerate(["Horror", "Comedy", "Drama", "Space", "War", "Love"] * 5)
]
WORKER = {
    "session_seconds": 6.0, "checkpoint_seconds": 3600.0, "checkpoints_kept": 50,
    "late": "dead-letter", "grace_seconds": 7_200.0,
}  # fmt: skip
BEFORE, BESIDE, AFTER, LATEST = 120, 60, 80, 50


def event(number: int, **fields: Any) -> Interaction:
    """One of an ordinary stream."""
    kinds = ("rating", "view", "purchase", "like")
    defaults = {"user": f"u{number * 7 % 11}", "item": f"m{number * number % 30}"}
    return interaction(number, **defaults | {"kind": kinds[number % 4]} | fields)


def trouble(at: int) -> list[Interaction]:
    """What is no ordinary event: all of it stands in the log between others."""
    newest = FIRST_MS + at * 60_000
    return [
        event(at - 3),  # repeated
        event(1_000 + at, timestamp=newest - 3 * HOUR),  # too late
        event(2_000 + at, timestamp=newest - HOUR),  # late, and in time
        event(3_000 + at, kind="review", text="A quiet film about a war.", timestamp=newest),
        event(4_000 + at, kind="dislike", timestamp=newest),
        event(5_000 + at, user="u3", item=None, kind="forget", timestamp=newest),
    ]


def lived(path: Path) -> int:
    """Have two workers, one after the other, live through it all; returns how many answers."""
    with path.worker():
        path.send_items(*FILMS)
        path.read(path.names.item_embeddings, len(FILMS))
        path.send(*(event(n) for n in range(BEFORE)), *trouble(BEFORE))
        path.send_bytes(b"rubbish")
        path.flush()
        answers = BEFORE + 4
        path.answers(answers)
        for n in range(BESIDE):  # while the catalogue changes
            if n % 10 == 0:
                path.send_items(Item(item=f"new{n}", title=f"A new film, {n}", categories=["War"]))
            if n == 35:
                path.send_items(Item(item="m5", title="Hidden", hidden=True))
                path.producer.produce(path.names.items, None, "m7")
            path.send(event(200 + n))
            answers += 1
            path.answers(answers)
    with path.worker():
        path.send(*trouble(255), *(event(300 + n) for n in range(AFTER)))
        answers += 4 + AFTER
        path.answers(answers)
    with path.worker():  # what came before the forget is in no checkpoint any more
        path.send(*(event(400 + n) for n in range(LATEST)))
        answers += LATEST
        path.answers(answers)
    return answers


@pytest.fixture(scope="module")
def logs(
    kafka: KafkaServer, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], tuple[Path, int]]:
    """A log that was lived through once with a way of delivery, and how many answers it has."""
    made = settings_on(kafka, tmp_path_factory.mktemp("past"))

    @cache
    def log_of(delivery: str) -> tuple[Path, int]:
        path = Path(made(topics={"partitions": 1}, worker=WORKER | {"delivery": delivery}))
        return path, lived(path)

    return log_of


@pytest.fixture(params=["leased", pytest.param("transactional", marks=pytest.mark.long)])
def log(
    request: pytest.FixtureRequest, logs: Callable[[str], tuple[Path, int]]
) -> tuple[Path, int]:
    """A log that was lived through, and how many answers it has."""
    return logs(request.param)


def without_checkpoints(settings: Settings) -> Settings:
    worker = settings.worker.model_copy(update={"checkpoints": ""})
    return settings.model_copy(update={"worker": worker})


def test_every_answer_is_equal_from_the_beginning_and_from_a_checkpoint(
    log: tuple[Path, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, answers = log
    files = sorted(FilePath(path.settings.worker.checkpoints).rglob("*.millrace"))
    before = {file: file.read_bytes() for file in files}
    counts = path.counts()
    for settings in (path.settings, without_checkpoints(path.settings)):
        report = audit(settings, Range())
        assert report["first_difference"] is None
        assert (report["equal"], report["different"], report["missing"]) == (answers, 0, 0)
        # Of each trouble one is known and one too late; the rubbish.
        assert report["unanswered"] == 2 + 2 + 1
        assert report["all_equal"]
        assert report["workers"] == 3
    # What the later workers began with was made again.
    assert report["starts"] == [""]

    monkeypatch.setattr(past_answers, "_NEAR", 8)  # where the answers begin has to be searched
    with path.worker():  # beside one that goes on
        latest = audit(path.settings, Range(last=LATEST // 2))
    assert (latest["equal"], latest["applied"]) == (LATEST // 2, LATEST)
    assert latest["starts"] == [str(files[-2])]  # that of the second worker's end
    assert path.counts() == counts
    assert {file: file.read_bytes() for file in before} == before


def test_a_range_is_of_the_broker_s_time(log: tuple[Path, int]) -> None:
    path, answers = log
    messages = path.read(path.names.interactions, path.counts()[path.names.interactions])
    since, until = (messages[at].timestamp()[1] for at in (150, 180))
    inside = sum(since <= message.timestamp()[1] <= until for message in messages)
    report = audit(path.settings, Range(from_ms=since, to_ms=until))
    assert report["messages"] == inside
    assert report["all_equal"]
    assert sum(report["models"].values()) == report["equal"] < answers


def copied(path: Path, change: Callable[[dict[str, Any]], dict[str, Any] | None]) -> Settings:
    """Settings whose topic of answers is a copy that somebody altered."""
    name = f"{path.names.recommendations}.copy.{os.urandom(4).hex()}"
    settings = path.settings.model_copy(
        update={"topics": path.names.model_copy(update={"recommendations": name})}
    )
    topics.create(settings)
    for message in path.read(path.names.recommendations, path.counts()[path.names.recommendations]):
        value = change(msgspec.json.decode(message.value() or b""))
        if value is not None:
            headers: Any = list(clients.headers(message).items())
            path.producer.produce(
                name, msgspec.json.encode(value), message.key(), 0, headers=headers
            )
    path.flush()
    return settings


@pytest.mark.parametrize("what", ["order", "score"])
def test_an_altered_answer_is_found_and_shown(log: tuple[Path, int], what: str) -> None:
    path, answers = log

    def alter(value: dict[str, Any]) -> dict[str, Any]:
        if value["event_id"] == "e77":
            items = value["items"]
            if what == "order":
                items[0], items[1] = items[1], items[0]
            elif what == "score":
                items[0]["score"] += 1e-6
            elif what == "reason":
                items[2]["reason"] = "because of an advertisement"
            else:
                value["user"] = "mallory"
        return value

    report = audit(copied(path, alter), Range())
    assert (report["equal"], report["different"], report["missing"]) == (answers - 1, 1, 0)
    assert report["same_items"] == (what != "order")
    difference = report["first_difference"]
    assert difference["offset"] == 77
    assert difference["given"] != difference["computed"]
    assert difference["computed"]["event_id"] == "e77"


@pytest.mark.long
def test_a_lost_answer_and_one_too_many_are_found(log: tuple[Path, int]) -> None:
    path, answers = log
    lost = audit(copied(path, lambda value: None if value["event_id"] == "e40" else value), Range())
    assert (lost["equal"], lost["different"], lost["missing"]) == (answers - 1, 0, 1)
    assert lost["first_difference"]["given"] == "no answer"

    def moved(value: dict[str, Any]) -> dict[str, Any]:
        if value["source"]["offset"] == BEFORE + 2:
            value["source"]["offset"] = BEFORE + 1  # that of the event that came too late
        return value

    extra = audit(copied(path, moved), Range())
    assert (extra["equal"], extra["different"], extra["missing"]) == (answers - 1, 1, 1)
    assert extra["first_difference"]["computed"].startswith("a dead letter: timestamp: ")

    first = copied(path, lambda value: None if value["event_id"] == "e0" else value)
    with pytest.raises(PastError, match="told by an answer that is not on the output topic"):
        audit(first, Range())


def test_another_model_s_answers_are_compared_only_by_force(log: tuple[Path, int]) -> None:
    path, _ = log
    engine = path.settings.engine.model_copy(update={"k": 3})
    other = path.settings.model_copy(update={"engine": engine})
    with pytest.raises(PastError, match=r"given by model [0-9a-f]{12}, and .* --force"):
        audit(other, Range(last=5))
    report = audit(other, Range(last=5), force=True)
    assert report["different"] == 5
    assert len(report["first_difference"]["computed"]["items"]) == 3


def test_a_user_s_list_of_then(log: tuple[Path, int]) -> None:
    path, _ = log
    answers = path.answers(path.counts()[path.names.recommendations])
    messages = path.read(path.names.interactions, path.counts()[path.names.interactions])
    # Those before the second worker's came one by one.
    for at in (BEFORE + 30, BEFORE + 50):
        message = messages[at]
        moment = message.timestamp()[1]
        assert moment < (messages[at + 1].timestamp()[1])
        [answer] = [a for a in answers if a["source"]["offset"] == at]
        found = list_at(path.settings, moment, answer["user"])
        assert found["items"] == answer["items"]
        assert found["known"]
        assert found["applied"] == at + 1
    assert not list_at(path.settings, messages[3].timestamp()[1] - 1_000, "u0")["known"]
    assert len(list_at(path.settings, NOW, "u0", k=4)["items"]) == 4


def test_an_answer_is_explained_by_its_features(log: tuple[Path, int]) -> None:
    path, _ = log
    for event_id in ("e0", "e77", "e215", "e379", f"e{5_000 + BEFORE}"):
        found = explain(path.settings, event_id)
        assert found["equal"]
        assert found["items"]
        for item in found["items"]:
            total = math.fsum(item["features"].values())
            assert total == pytest.approx(item["score"], abs=1e-4)
    with pytest.raises(PastError, match="no answer to event 'e9999'"):
        explain(path.settings, "e9999")


@pytest.mark.long
@pytest.mark.parametrize("broker", ["kafka"], indirect=True)
def test_a_list_without_an_event_is_that_of_a_log_without_it(
    settings: Callable[..., Settings],
) -> None:
    """The log without it is lived through by a worker of its own; lists are equal to the bit."""
    events = [event(n) for n in range(150)]
    last = next(n for n in range(148, 0, -1) if event(n).user == event(149).user)
    events.insert(last + 1, events[last])  # repeated: without it there is neither

    def told(number: int | None) -> tuple[Path, list[dict[str, Any]]]:
        folder = FilePath(settings().worker.checkpoints) / f"without-{number}"
        broker = path.settings.broker if path else settings().broker
        mark = os.urandom(4).hex()
        names = {n: f"{n}.{mark}" for n in ("interactions", "items", "recommendations")}
        names |= {n: f"{n}.{mark}" for n in ("item_embeddings", "item_deltas", "dead_letters")}
        made = Path(
            settings(
                topics={"partitions": 1} | names,
                worker=WORKER | {"checkpoints": str(folder), "group": f"group.{mark}"},
                broker=broker.model_dump(),
            )
        )
        gone = None if number is None else f"e{number}"
        kept = [each for each in events if each.event_id != gone]
        known = len({each.event_id for each in kept})
        made.send_items(*FILMS)
        with made.worker():  # which reads the catalogue before it begins
            made.read(made.names.item_embeddings, len(FILMS))
        half = [each for each in kept if int(each.event_id[1:]) < 100]
        for part, count in ((kept[: len(half)], len(half)), (kept[len(half) :], known)):
            with made.worker():
                made.send(*part)
                answers = made.answers(count)
        return made, answers

    path: Path | None = None
    path, answers = told(None)
    explained = answers[-1]
    own = [n for n in range(149) if event(n).user == explained["user"]]
    assert explained["event_id"] == "e149"
    differing = 0
    for number in (own[0], own[-1]):  # before the checkpoint, and behind it
        _, fresh = told(number)
        assert fresh[-1]["event_id"] == "e149"
        found = explain(path.settings, "e149", f"e{number}")
        assert found["equal"]
        assert found["other"] == fresh[-1]["items"]
        differing += found["other"] != explained["items"]
    assert differing
    other = next(n for n in range(149) if event(n).user != explained["user"])
    with pytest.raises(PastError, match=f"event 'e{other}' is of user"):
        explain(path.settings, "e149", f"e{other}")
    with pytest.raises(PastError, match="'e149' came after"):
        explain(path.settings, f"e{own[0]}", "e149")


PLAIN = [event(n) for n in range(120)]


@pytest.fixture(scope="module")
def plain_log(kafka: KafkaServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The log of a worker that had read the whole catalogue before the first event."""
    made = settings_on(kafka, tmp_path_factory.mktemp("plain"))
    path = Path(made(topics={"partitions": 1}, worker=WORKER))
    with path.worker():
        path.send_items(*FILMS)
        path.read(path.names.item_embeddings, len(FILMS))
    for file in FilePath(path.settings.worker.checkpoints).rglob("*.millrace"):
        file.unlink()  # the next worker reads the whole catalogue first
    with path.worker():
        path.send(*PLAIN)
        path.answers(len(PLAIN))
    return path


def test_a_list_without_any_one_event_is_an_engine_s_that_was_not_told_of_it(
    plain_log: Path,
) -> None:
    """Whichever answer, and whichever of its user's events; a plain loop is the reference."""
    path, events = plain_log, PLAIN
    catalogue = [
        decode_embedding(message) for message in path.read(path.names.item_embeddings, len(FILMS))
    ]

    def plain(last: int, gone: int) -> list[dict[str, Any]]:
        engine = Recommender(path.settings.engine)
        for found in catalogue:
            assert found is not None
            engine.upsert_item(*found)
        for message in path.read(path.names.items, len(FILMS)):
            item, given = item_facts(Record.of(message), 1 << 20)
            assert given is not None
            engine.describe_item(item, given)
        for number in range(last):
            if number != gone:
                engine.observe(events[number])
        answer = engine.observe(events[last])
        return [{"item": i, "score": score, "reason": why} for i, score, why in answer.items]

    @hypothesis.settings(max_examples=6, derandomize=True)
    @hypothesis.given(last=st.integers(20, len(events) - 1), place=st.integers(0, 10))
    def equal(last: int, place: int) -> None:
        own = [n for n in range(last) if events[n].user == events[last].user]
        gone = own[place % len(own)]
        found = explain(path.settings, f"e{last}", f"e{gone}")
        assert found["equal"]
        assert found["other"] == plain(last, gone)

    equal()


@pytest.mark.long
@pytest.mark.parametrize("broker", ["kafka"], indirect=True)
def test_what_a_killed_worker_s_heirs_learnt_again_is_learnt_again(
    settings: Callable[..., Settings],
) -> None:
    """With the catalogue of then, which had changed since the checkpoint."""
    path = Path(settings(topics={"partitions": 1}, worker=WORKER))
    with path.worker():
        path.send_items(*FILMS)
        path.read(path.names.item_embeddings, len(FILMS))
        path.send(*(event(n) for n in range(60)))
        path.answers(60)
    sent = 60
    for life in range(3):
        with path.worker() as worker:
            for n in range(3):
                title = f"A film about life {life}, part {n}"
                path.send_items(
                    Item(item=f"m{n}", title=title, categories=["War"]),
                    Item(item=f"new{life}{n}", title=title, categories=["Love"]),
                )
                path.send(*(event(sent + more) for more in range(10)))
                sent += 10
                path.answers(sent)
            worker.kill()
    for asked in (Range(), Range(last=45)):
        report = audit(path.settings, asked)
        assert report["first_difference"] is None
        assert report["equal"] == (asked.last or sent) == report["messages"]
    assert {start.rpartition("/")[2][:16] for start in report["starts"]} == {f"{60:016d}"}
    whole = audit(without_checkpoints(path.settings), Range())
    assert (whole["equal"], whole["workers"]) == (sent, 4)


# ------------------------------------------------------------------ the commands


def millrace(settings: Settings, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "streams.cli", *words]
    return subprocess.run(
        command, env=os.environ | as_environment(settings), check=False, capture_output=True,
        text=True,
    )  # fmt: skip


@pytest.mark.long
def test_the_commands_say_it_in_their_status(log: tuple[Path, int], tmp_path: FilePath) -> None:
    path, answers = log
    file = tmp_path / "report.json"
    done = millrace(path.settings, "audit", "--json", str(file))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{answers:,}" in done.stdout
    assert json.loads(file.read_text())["equal"] == answers

    def alter(value: dict[str, Any]) -> dict[str, Any]:
        if value["event_id"] == "e77":
            value["items"][0]["item"] = "planted"
        return value

    altered = copied(path, alter)
    done = millrace(altered, "audit")
    assert done.returncode == 1
    assert "the first difference, at partition 0, offset 77" in done.stdout
    assert "planted" in done.stdout

    done = millrace(path.settings, "at", "2100-01-01", "--user", "u5", "--k", "2")
    assert done.returncode == 0
    assert "u5" in done.stdout

    done = millrace(path.settings, "explain", "e77", "--without", "e0")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "without e0" in done.stdout
    assert millrace(altered, "explain", "e77").returncode == 1

    done = millrace(path.settings, "audit", "--set", "engine.k=3")
    assert (done.returncode, done.stderr.count("millrace:")) == (2, 1)


def test_without_a_state_to_begin_with_it_says_what_is_missing(plain_log: Path) -> None:
    """The last test of this log, whose beginning it deletes."""
    path = plain_log
    for file in FilePath(path.settings.worker.checkpoints).rglob("*.millrace"):
        file.unlink()
    admin = AdminClient({"bootstrap.servers": path.settings.broker.bootstrap})
    gone = admin.delete_records([TopicPartition(path.names.interactions, 0, 5)])
    for each in gone.values():
        each.result()
    with pytest.raises(PastError, match="partition 0 begins at offset 5, and no checkpoint"):
        audit(path.settings, Range(last=10))
