"""A worker forgets users exactly: afterwards it is one that was never told of them.

On a real Kafka, with real workers. Beside the log in which some ask to be forgotten there is one in
which nothing of them stands; a worker of each gives the same answers, from the same bytes of state.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path as FilePath
from typing import Any

import msgspec
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from engine.events import Interaction, Item
from engine.recommender import Recommender
from engine.state.snapshot import state_digest
from streams.brokers import KafkaServer
from streams.messages.state_mark import Round
from streams.settings_io import as_environment
from streams.tools.past.audit import Range, audit
from streams.worker.input_log import Input
from streams.worker.pins import model_of
from streams.worker.rebuild import Job, Rebuild
from tests.conftest import settings_on
from tests.ports import free_port
from tests.streams.asking import ask
from tests.streams.commands import millrace
from tests.streams.conftest import Path, interaction
from tests.streams.waiting import until

FILMS = [
    Item(item=f"m{n}", title=f"Film {n} of {word}", categories=[word])
    for n, word in enumerate(["Horror", "Comedy", "Drama", "Space", "War", "Love"] * 5)
]
GONE = ("gone-for-good", "gone as well")
BEFORE, LATER = 150, 40
WORKER = {"session_seconds": 6.0, "checkpoint_seconds": 1.0}


def ordinary(number: int) -> Interaction:
    """One of those who stay, or of a user who will ask to be forgotten."""
    user = GONE[number % 2] if number % 5 == 0 else f"u{number * 7 % 11}"
    kind = ("rating", "view", "purchase", "like")[number % 4]
    return interaction(number, user=user, item=f"m{number * number % 37}", kind=kind)


def forget(number: int, user: str) -> Interaction:
    fields: dict[str, Any] = {"kind": "forget"}
    return Interaction(
        event_id=f"f{number}", user=user, timestamp=interaction(number).timestamp, **fields
    )


def stay(events: list[Interaction]) -> list[Interaction]:
    return [event for event in events if event.user not in GONE]


@pytest.fixture
def log(kafka: KafkaServer, tmp_path: FilePath) -> Callable[[str], Path]:
    """A log of one partition by name, and settings that forget exactly."""

    def made(name: str) -> Path:
        settings = settings_on(kafka, tmp_path / name)
        web, engine = {"port": free_port()}, {"forget": "exact"}
        return Path(settings(topics={"partitions": 1}, worker=WORKER, web=web, engine=engine))

    return made


def listed(path: Path) -> None:
    path.send_items(*FILMS)
    path.read(path.names.item_embeddings, len(FILMS))


def status(path: Path) -> dict[str, Any]:
    heard = ask(path.settings.web.port, "/forgetting")
    return heard.body if heard.status == 200 else {"pending": True}


def until_exact(path: Path) -> dict[str, Any]:
    def done() -> bool:
        try:
            found = status(path)
        except OSError:  # it starts
            return False
        return found.get("exact", 0) > 0 and not found["pending"]

    until(done, 90.0)
    return status(path)


def files(path: Path) -> list[FilePath]:
    return sorted(FilePath(path.settings.worker.checkpoints).rglob("*.millrace"))


def newest_state(path: Path) -> Recommender:
    return Recommender.load(files(path)[-1], path.settings.engine)


def lists(answers: list[dict[str, Any]], events: list[Interaction]) -> list[Any]:
    """The lists of the answers to these events, in their order."""
    found = {answer["event_id"]: answer["items"] for answer in answers}
    return [found[event.event_id] for event in events]


def test_state_and_answers_are_those_of_a_worker_that_was_never_told(
    log: Callable[[str], Path],
) -> None:
    told, never = log("told"), log("never")
    events = [ordinary(n) for n in range(BEFORE)]
    later = stay([ordinary(n) for n in range(BEFORE, BEFORE + 2 * LATER)])[:LATER]
    review = interaction(900, user="u3", item="m35", kind="review", text="A quiet film about war.")
    gone = Item(item="m4", hidden=True)
    count = 0
    with told.worker():
        listed(told)
        told.send(*events, review)
        count += BEFORE + 1
        told.answers(count)
        assert "nobody has asked" in millrace("forget", "--status", settings=told.settings).stdout
        assert millrace("forget", *GONE, settings=told.settings).exit_code == 0
        count += len(GONE)
        told.answers(count)
        asked = count
        meanwhile: list[Interaction] = []
        while status(told)["pending"]:  # events come while the state is made anew
            number = 2_000 + len(meanwhile)
            meanwhile.append(interaction(number, user=f"u{number % 5}", item=f"m{number % 30}"))
            told.send(meanwhile[-1])
            count += 1
            told.answers(count)
        found = until_exact(told)
        assert asked <= found["exact"] < count
        said = millrace("forget", "--status", settings=told.settings)
        assert said.exit_code == 0
        assert f"2 users who asked before offset {found['exact']}" in said.stdout
        assert found["digest"] in said.stdout
        assert (found["users"], found["asked"]) == (2, {"0": asked})
        told.send_items(gone)
        until(lambda: is_hidden(told, "m4"), 30.0)
        told.send(*later, interaction(990, user=GONE[0], item="m1"))  # somebody comes back
        answers = told.answers(count + LATER + 1)
    with never.worker():
        listed(never)
    for file in files(never):  # the next one reads the whole catalogue first, as what is made anew
        file.unlink()
    with never.worker():
        never.send(*stay(events), review, *meanwhile)
        others_before = len(stay(events)) + 1 + len(meanwhile)
        never.answers(others_before)
        never.send_items(gone)
        until(lambda: is_hidden(never, "m4"), 30.0)
        never.send(*later, interaction(990, user=GONE[0], item="m1"))
        others = never.answers(others_before + LATER + 1)
    assert lists(answers, later) == lists(others, later)
    assert answers[-1]["items"] == others[-1]["items"]
    assert state_digest(newest_state(told)) == state_digest(newest_state(never))

    report = audit(told.settings, Range())
    assert report["first_difference"] is None
    assert report["rebuilt"] == {"equal": 1, "different": 0}
    assert report["equal"] == count + LATER + 1


def is_hidden(path: Path, item: str) -> bool:
    return ask(path.settings.web.port, f"/items/{item}").body.get("hidden", False)


def test_the_process_goes_on_until_it_is_close_to_the_worker(
    log: Callable[[str], Path], tmp_path: FilePath
) -> None:
    path = log("followed")
    events = [ordinary(n) for n in range(400)]
    path.send(*events)
    state, position = tmp_path / "state", tmp_path / "position"
    position.write_bytes(msgspec.json.encode(Round({0: 0}, {0: 0}, 390)))
    job = msgspec.json.encode(Job(Round({0: 0}, {0: 0}, 100), str(state), str(position))).decode()
    command = [sys.executable, "-m", "streams.worker.rebuild", job]
    subprocess.run(command, env=os.environ | as_environment(path.settings), check=True)
    settings, input_ = path.settings, Input.of(path.settings)
    made = Rebuild.load(settings, input_, model_of(settings), state)
    assert made.progress.next_offset == 390
    assert [round_.end for round_ in made.told.rounds] == [100, 390]
    told = Recommender.new(settings.engine)
    told.observe_many(events[:390], [False] * 390)
    assert state_digest(made.engine) == state_digest(told)


@pytest.mark.long
def test_a_worker_that_is_killed_first_does_it_when_it_is_back(log: Callable[[str], Path]) -> None:
    path = log("killed")
    events = [ordinary(n) for n in range(BEFORE)]
    with path.worker() as child:
        listed(path)
        path.send(*events, forget(500, GONE[0]))
        path.answers(BEFORE + 1)
        os.kill(child.pid, signal.SIGKILL)
        child.process.wait()
    with path.worker():
        assert until_exact(path)["users"] == 1
        # One who asks later has the first still be forgotten.
        path.send(forget(501, GONE[1]))
        until(lambda: status(path)["users"] == 2, 90.0)
        path.send(*(interaction(600 + n, user="u1", item=f"m{n}") for n in range(5)))
        path.answers(BEFORE + 2 + 5)

        def clean() -> bool:
            try:
                held = [file.read_bytes() for file in files(path)]
            except FileNotFoundError:  # removed meanwhile
                return False
            return bool(held) and not any(name.encode() in state for state in held for name in GONE)

        until(clean, 30.0)
    assert clean()
    report = audit(path.settings, Range())
    assert (report["different"], report["missing"], report["rebuilt"]["different"]) == (0, 0, 0)
    assert report["rebuilt"]["equal"] >= 2


@pytest.mark.long
def test_a_log_that_is_not_whole_is_told(log: Callable[[str], Path]) -> None:
    path = log("cut")
    with path.worker():
        listed(path)
        path.send(*(ordinary(n) for n in range(20)))
        path.answers(20)
        admin = AdminClient({"bootstrap.servers": path.settings.broker.bootstrap})
        cut = TopicPartition(path.names.interactions, 0, 10)
        [done] = admin.delete_records([cut]).values()
        done.result()
        path.send(forget(500, GONE[0]))
        path.answers(21)
        until(lambda: "begins at offset 10" in status(path).get("failure", ""), 60.0)
        found = status(path)
        assert found["pending"]
        assert found["exact"] == 0
        said = millrace("forget", "--status", settings=path.settings)
        assert said.exit_code == 1
        assert "the last attempt failed: the log begins at offset 10" in said.stdout


@pytest.mark.parametrize("wrong", [(), ("--status", "ann"), ("x" * 300,)])
def test_what_is_asked_wrongly_is_refused(wrong: tuple[str, ...], kafka: KafkaServer) -> None:
    said = millrace("forget", *wrong, "--broker", kafka.bootstrap)
    assert said.exit_code == 2
    assert "Traceback" not in said.stderr


def test_several_partitions_are_refused_in_one_line(kafka: KafkaServer, tmp_path: FilePath) -> None:
    settings = settings_on(kafka, tmp_path)
    path = Path(settings(topics={"partitions": 2}, engine={"forget": "exact"}))
    said = subprocess.run(
        [sys.executable, "-m", "streams.cli", "worker"],
        env=os.environ | as_environment(path.settings),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert said.returncode != 0
    assert "engine.forget = exact: topic" in said.stderr
    assert "has 2 partitions" in said.stderr
    assert "Traceback" not in said.stderr
