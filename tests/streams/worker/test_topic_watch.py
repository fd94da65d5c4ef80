"""The input topic is deleted and made anew, or given partitions, while a worker runs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import msgspec
import pytest
from confluent_kafka.admin import AdminClient, NewPartitions

from engine.events import Interaction
from streams.kafka import topics
from streams.kafka.partitioner import partition_of
from streams.messages.schemas import encode
from streams.settings import Settings
from streams.settings_io import as_environment
from streams.worker.topic_watch import EXIT_STATUS
from tests.ports import free_port
from tests.streams.asking import ask
from tests.streams.conftest import Path, interaction
from tests.streams.waiting import until

pytestmark = pytest.mark.parametrize("broker", ["kafka"], indirect=True)


def send(path: Path, partition: int, *events: Interaction) -> None:
    for event in events:
        path.producer.produce(path.names.interactions, encode(event), event.user, partition)
    path.flush()


def worker(path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "streams.cli", "worker"],
        env=os.environ | as_environment(path.settings), stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def lines(text: str, level: str) -> list[str]:
    found = [msgspec.json.decode(line) for line in text.splitlines() if line.startswith("{")]
    return [line["message"] for line in found if line["level"] == level]


def test_a_topic_made_anew_is_another_topic(settings: Callable[..., Settings]) -> None:
    path = Path(settings(topics={"partitions": 1}, broker={"metadata_seconds": 1.0}))
    admin = AdminClient({"bootstrap.servers": path.settings.broker.bootstrap})
    topic = path.names.interactions
    first = worker(path)
    try:
        send(path, 0, *(interaction(n, user=f"u{n % 3}") for n in range(20)))
        assert len(path.answers(20)) == 20
        admin.delete_topics([topic])[topic].result()
        until(lambda: topics.create(path.settings), 60.0)
        assert first.wait(60) == EXIT_STATUS
        assert first.stderr is not None
        [line] = lines(first.stderr.read(), "CRITICAL")
        assert line.startswith(f"topic {topic} was deleted and made anew (its id was ")
    finally:
        first.kill()
    path = Path(path.settings)  # whose producer knows the new topic
    send(path, 0, *(interaction(100 + n, user=f"v{n % 3}") for n in range(5)))
    second = worker(path)
    try:
        answers = path.answers(25)
    finally:
        second.terminate()
        second.wait(60)
    old, new = answers[:20], answers[20:]
    assert [answer["source"]["offset"] for answer in new] == list(range(5))
    assert len({answer["source"]["topic_id"] for answer in old}) == 1
    assert old[0]["source"]["topic_id"] != new[0]["source"]["topic_id"]
    assert path.counts()[path.names.recommendations] == 25


def test_partitions_that_are_added_are_answered(settings: Callable[..., Settings]) -> None:
    port = free_port()
    path = Path(
        settings(topics={"partitions": 1}, broker={"metadata_seconds": 1.0}, web={"port": port})
    )
    admin = AdminClient({"bootstrap.servers": path.settings.broker.bootstrap})
    topic = path.names.interactions
    running = worker(path)
    try:
        send(path, 0, interaction(0))
        path.answers(1)
        admin.create_partitions([NewPartitions(topic, 3)])[topic].result()
        fresh = Path(path.settings)
        for number in range(3):
            send(fresh, number, *(interaction(10 * number + n, f"u{number}") for n in range(1, 4)))
        until(lambda: path.counts()[path.names.recommendations] == 10, 60.0)
        # What comes over HTTP goes where a producer that has seen them would send it.
        users = [f"w{n}" for n in range(12)]
        for n, user in enumerate(users):
            ask(port, "/interactions", "POST", encode(interaction(100 + n, user)))
        until(lambda: path.counts()[path.names.recommendations] == 22, 60.0)
    finally:
        running.terminate()
        _, text = running.communicate(timeout=60)
        print(text)
    answers = path.answers(22)
    placed = {answer["user"]: answer["source"]["partition"] for answer in answers}
    assert {user: placed[user] for user in ("u0", "u1", "u2")} == {"u0": 0, "u1": 1, "u2": 2}
    assert {user: placed[user] for user in users} == {user: partition_of(user, 3) for user in users}
    assert any(
        line.startswith(f"topic {path.names.recommendations} had 1 partitions and has 3 now")
        for line in lines(text, "WARNING")
    )
