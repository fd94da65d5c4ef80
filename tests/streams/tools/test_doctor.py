"""`millrace doctor`: what it finds where all is well, and where something lacks."""

from __future__ import annotations

import json
import socket
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path as FilePath
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)
from typer.testing import CliRunner

from engine import Recommender
from streams.cli.app import app
from streams.kafka import topics
from streams.settings import Settings
from streams.settings_io import as_environment
from streams.tools.doctor import clock, cluster, machine
from streams.tools.doctor.examine import examine
from streams.tools.doctor.finding import Finding
from streams.worker.checkpoints import Notes
from streams.worker.input_log import Input
from streams.worker.partition import PartitionNotes
from tests.ports import free_port
from tests.streams.conftest import Path, interaction
from tests.streams.waiting import until

real_kafka = pytest.mark.parametrize("broker", ["kafka"], indirect=True)
SUBJECTS = [
    "broker", "listeners", "topics", "codecs", "rights", "log", "clock", "checkpoints", "disk",
    "kernels", "web",
]  # fmt: skip


def found(settings: Settings) -> dict[str, Finding]:
    """The findings, by subject; of those with several, the worst."""
    order = ("ok", "warn", "fail")
    worst: dict[str, Finding] = {}
    for finding in examine(settings):
        before = worst.get(finding.subject)
        if before is None or order.index(finding.state) > order.index(before.state):
            worst[finding.subject] = finding
        assert "\n" not in finding.text
    return worst


@real_kafka
def test_all_is_well_on_a_new_cluster_with_its_topics(settings: Callable[..., Settings]) -> None:
    chosen = settings(web={"port": free_port()})
    topics.create(chosen)
    findings = found(chosen)
    assert list(findings) == SUBJECTS
    assert {f.subject for f in findings.values() if f.state != "ok"} == set(), findings
    # What it made to read the clock is gone again.
    names = AdminClient({"bootstrap.servers": chosen.broker.bootstrap}).list_topics().topics
    made = f"{chosen.topics.interactions}.doctor"
    assert not [name for name in names if name.startswith(made)]


def test_the_embedded_broker_is_well_too(settings: Callable[..., Settings], embedded: Any) -> None:
    chosen = settings(broker={"bootstrap": embedded.bootstrap, "embedded": True})
    topics.create(chosen)
    assert {f.state for f in found(chosen).values()} == {"ok"}


def invoke(settings: Settings, *arguments: str) -> tuple[int, list[dict[str, str]]]:
    result = CliRunner().invoke(app, ["doctor", "--json", *arguments], env=as_environment(settings))
    return result.exit_code, [json.loads(line) for line in result.stdout.splitlines()]


@real_kafka
def test_missing_topics_stop_a_worker_and_the_command_says_so(
    settings: Callable[..., Settings],
) -> None:
    chosen = settings()
    status, lines = invoke(chosen)
    assert status == 1
    failed = [line for line in lines if line["state"] == "fail"]
    assert {line["subject"] for line in failed} == {"topics", "log"}
    assert "run `millrace topics create`" in failed[0]["text"]
    topics.create(chosen)
    assert invoke(chosen)[0] == 0


def test_without_a_broker_this_machine_is_looked_at_all_the_same(tmp_path: FilePath) -> None:
    chosen = Settings(
        broker={"bootstrap": f"127.0.0.1:{free_port()}"},
        worker={"checkpoints": str(tmp_path)},
        web={"port": 0},
    )
    findings = found(chosen)
    assert list(findings) == ["broker", "checkpoints", "disk", "kernels", "web"]
    assert findings["broker"].state == "fail"
    assert "start one with" in findings["broker"].text


# ------------------------------------------------------------------ what lacks


@real_kafka
def test_a_listener_that_is_not_reached_is_named(
    settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        cluster, "unreached_brokers", lambda *_, **__: {"k1:9092": "", "k2:9092": "timed out"}
    )
    finding = cluster.listeners(settings())
    assert finding.state == "fail"
    assert "k2:9092 (timed out)" in finding.text
    assert "k1" not in finding.text
    assert "advertised.listeners" in finding.text


@real_kafka
def test_a_codec_that_a_topic_needs_stops_a_worker(
    settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = settings()
    topics.create(chosen)
    monkeypatch.setattr(cluster, "_is_known", lambda codec: codec != "zstd")
    assert cluster.codecs(chosen).state == "warn"
    admin = AdminClient({"bootstrap.servers": chosen.broker.bootstrap})
    name = chosen.topics.interactions
    to_zstd = ConfigEntry("compression.type", "zstd", incremental_operation=AlterConfigOpType.SET)
    change = ConfigResource(ResourceType.TOPIC, name, incremental_configs=[to_zstd])
    for done in admin.incremental_alter_configs([change]).values():
        done.result(10)
    # The broker hears of its own setting a moment later.
    until(lambda: cluster.codecs(chosen).state == "fail", 20, "the topic's codec is told")
    finding = cluster.codecs(chosen)
    assert f"topic {name} is compressed with zstd" in finding.text


@pytest.mark.parametrize(
    ("ahead", "state", "told"),
    [(0.3, "ok", "0.3 s"), (-1.9, "ok", "1.9 s"), (90.0, "warn", "90.0 s ahead of"),
     (-3.0, "warn", "3.0 s behind"), (None, "warn", "not compared")],
)  # fmt: skip
def test_a_clock_that_is_off_is_told(ahead: float | None, state: str, told: str) -> None:
    finding = clock._finding(ahead)
    assert finding.state == state
    assert told in finding.text


@real_kafka
def test_events_that_are_gone_and_in_no_checkpoint_are_counted(
    settings: Callable[..., Settings],
) -> None:
    chosen = settings(topics={"partitions": 1})
    path = Path(chosen)
    path.send(*(interaction(number) for number in range(9)))
    [finding] = machine.retention(chosen)
    assert (finding.state, "9 to read at start" in finding.text) == ("ok", True)
    admin = AdminClient({"bootstrap.servers": chosen.broker.bootstrap})
    name = chosen.topics.interactions
    for done in admin.delete_records([TopicPartition(name, 0, 5)]).values():
        done.result(10)
    [finding] = machine.retention(chosen)
    assert finding.state == "warn"
    assert "5 events since the beginning are gone" in finding.text
    log = Input.of(chosen)
    folder = FilePath(chosen.worker.checkpoints) / chosen.worker.group / log.name
    folder.mkdir(parents=True)
    notes = Notes(log.name, {0: PartitionNotes(7, 0, 7, 0, [])}, {})
    Recommender().save(folder / f"{7:016d}.millrace", notes)
    [finding] = machine.retention(chosen)
    assert (finding.state, "2 to read at start" in finding.text) == ("ok", True)


@real_kafka
def test_of_several_workers_checkpoints_each_says_where_its_own_partitions_stand(
    settings: Callable[..., Settings],
) -> None:
    chosen = settings(topics={"partitions": 2})
    path = Path(chosen)
    path.send(*(interaction(number, user=f"u{number}") for number in range(20)))
    log = Input.of(chosen)
    assert sum(log.highs.values()) == 20
    folder = FilePath(chosen.worker.checkpoints) / chosen.worker.group / log.name
    folder.mkdir(parents=True)
    for number, high in log.highs.items():
        notes = Notes(log.name, {number: PartitionNotes(high, 0, high, 0, [])}, {})
        Recommender().save(folder / f"{high:016d}-{number}.millrace", notes)
    admin = AdminClient({"bootstrap.servers": chosen.broker.bootstrap})
    ends = [TopicPartition(chosen.topics.interactions, *place) for place in log.highs.items()]
    for done in admin.delete_records(ends).values():
        done.result(10)
    [finding] = machine.retention(chosen)
    assert (finding.state, "0 to read at start" in finding.text) == ("ok", True)


def of_machine(settings: Settings) -> dict[str, Finding]:
    return {finding.subject: finding for finding in machine.checkpoint_folder(settings)}


def test_a_folder_that_cannot_be_written_stops_a_worker(tmp_path: FilePath) -> None:
    file = tmp_path / "file"
    file.write_text("")
    chosen = Settings(worker={"checkpoints": str(file / "checkpoints")})
    finding = of_machine(chosen)["checkpoints"]
    assert finding.state == "fail"
    assert str(file) in finding.text
    assert "install -d" in finding.text
    assert of_machine(Settings(worker={"checkpoints": ""}))["checkpoints"].state == "ok"


def test_a_disk_with_little_room_is_told(
    tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: usage(0, 0, 100 * 2**20))
    chosen = Settings(worker={"checkpoints": str(tmp_path)})
    assert of_machine(chosen)["disk"].state == "warn"
    (tmp_path / "1.millrace").write_bytes(b"x" * 2**20)
    assert of_machine(chosen)["disk"].state == "ok"


def test_a_port_that_is_taken_by_a_stranger_stops_a_worker() -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        stranger.settimeout(0)
        number = stranger.getsockname()[1]
        finding = machine.port(Settings(web={"port": number}).web)
    assert finding.state == "fail"
    assert f"--set web.port={number + 1}" in finding.text
