"""The HTTP API of two workers on a real Kafka, as their clients meet it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path as FilePath
from typing import Any

import pytest

from engine.events import Item
from streams.brokers import KafkaServer
from streams.messages.schemas import encode
from streams.processes import Child
from streams.settings import Settings, as_environment
from tests.conftest import ROOT, TOPICS
from tests.streams.asking import ask, free_port, segment
from tests.streams.conftest import Path, interaction
from tests.streams.waiting import until

ODD = "a/b 🎬 {%2F}?#"


class Workers:
    """The event path, and the ports of the workers that share it."""

    def __init__(self, path: Path, ports: list[int]) -> None:
        self.path = path
        self.ports = ports

    def everyone_says(self, path: str, what: str) -> None:
        """Return once each worker's answer to a GET holds this text."""
        for port in self.ports:
            until(lambda port=port: what in _text(port, path), 60, f"{what!r} at {path}")


def _text(port: int, path: str) -> str:
    return json.dumps(ask(port, path).body, ensure_ascii=False)


@pytest.fixture(scope="module")
def workers(kafka: KafkaServer) -> Iterator[Workers]:
    mark = uuid.uuid4().hex[:8]
    ports = [free_port(), free_port()]
    common: dict[str, Any] = {
        "broker": {"bootstrap": kafka.bootstrap},
        "topics": {name: f"{name.replace('_', '-')}.{mark}" for name in TOPICS} | {"partitions": 2},
        "worker": {"group": f"group.{mark}", "checkpoints": "", "session_seconds": 6.0},
    }
    path = Path(Settings(**common, web={"port": 0}))
    command = [sys.executable, "-m", "streams.cli", "worker"]
    with ExitStack() as running:
        for port in ports:
            environment = as_environment(Settings(**common, web={"port": port}))
            running.enter_context(Child(command, env=os.environ | environment))
        path.send_items(
            Item(item="m42", title="Alien (1979)"),
            Item(item="m7", title="Aliens (1986)"),
            Item(item=ODD, title="The Odd"),
        )
        path.await_workers(2, seconds=150)
        for port in ports:
            until(lambda port=port: _ready(port), 60, "a worker is ready")
        made = Workers(path, ports)
        for item, title in (("m42", "Alien"), (ODD, "The Odd")):
            made.everyone_says(f"/items/{segment(item)}/neighbours", title)
        yield made


def _ready(port: int) -> bool:
    try:
        return ask(port, "/health/ready").status == 200
    except ConnectionError:
        return False


def post(port: int, body: bytes) -> dict[str, Any]:
    heard = ask(port, "/interactions", "POST", body, {"Content-Type": "application/json"})
    assert heard.status == 202, heard.body
    answer: dict[str, Any] = heard.body
    return answer


def test_what_is_posted_to_one_worker_is_known_to_every_worker(workers: Workers) -> None:
    """Of two users at least two partitions are written to, and so both workers answer events."""
    partitions = set()
    for number, user in enumerate([ODD, "eve", "adam", "žofie", "u4", "u5"]):
        before = ask(workers.ports[1], f"/users/{segment(user)}").body
        assert (before["known"], before["interactions"]) == (False, [])
        event = interaction(number, user=user, item=ODD, event_id=f"posted {number}")
        accepted = post(workers.ports[0], encode(event))
        assert accepted["event_id"] == event.event_id
        assert accepted["topic"] == workers.path.names.interactions
        partitions.add(accepted["partition"])
        workers.everyone_says(f"/users/{segment(user)}", '"known": true')
        for port in workers.ports:
            [taken] = ask(port, f"/users/{segment(user)}").body["interactions"]
            assert (taken["item"], taken["title"]) == (ODD, "The Odd")
            assert taken["timestamp"] == event.timestamp
            recommended = ask(port, f"/users/{segment(user)}/recommendations?k=100").body["items"]
            assert recommended
            assert ODD not in {entry["item"] for entry in recommended}
    assert partitions == {0, 1}
    topic = workers.path.names.recommendations
    answered = [json.loads(m.value() or b"")["event_id"] for m in workers.path.read(topic, 6)]
    assert sorted(answered) == [f"posted {number}" for number in range(6)]


# ------------------------------------------------------------------ the OpenAPI document


def test_schemathesis_finds_nothing(workers: Workers, tmp_path: FilePath) -> None:
    """All of its checks, over what the document allows and over what it does not."""
    program = FilePath(sys.executable).with_name("st")
    command = [
        str(program), "run", f"http://127.0.0.1:{workers.ports[0]}/openapi.json",
        "--checks", "all", "--max-examples", "15", "--seed", "0", "--no-color",
        "--generation-database", "none", "--no-shrink",
        # What is written is applied some milliseconds later, and a deleted item stays known.
        "--exclude-checks", "use_after_free,ensure_resource_availability",
    ]  # fmt: skip
    hooks = {
        "SCHEMATHESIS_HOOKS": "tests.streams.schemathesis_hooks",
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "200",
    }
    done = subprocess.run(
        command, env=os.environ | hooks, cwd=tmp_path, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout[:4000]} ... {done.stdout[-2000:]}{done.stderr}"
    [tested] = re.findall(r"Tested: (\d+)", done.stdout)
    paths = ask(workers.ports[0], "/openapi.json").body["paths"]
    assert int(tested) == sum(map(len, paths.values()))
    assert ask(workers.ports[0], "/health/ready").status == 200
