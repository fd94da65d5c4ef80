"""The HTTP API of two workers on a real Kafka, as their clients meet it."""

from __future__ import annotations

import http.client
import itertools
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
from streams.kafka.partitioner import partition_of
from streams.messages.schemas import encode
from streams.processes import Child
from streams.settings import Settings
from streams.settings_io import as_environment
from streams.web.forwarding import FORWARDED_FOR
from tests.conftest import ROOT, TOPICS
from tests.ports import free_port
from tests.streams.asking import ask, segment
from tests.streams.conftest import Path, interaction
from tests.streams.waiting import until

ODD = "a/b 🎬 {%2F}?#"


class Workers:
    """The event path, and the workers that share it, with their ports."""

    def __init__(self, path: Path, children: dict[int, Child]) -> None:
        self.path = path
        self.children = children
        self.ports = list(children)

    def partitions(self, port: int) -> dict[str, list[int]]:
        """Of each worker by its address, as the worker at this port has it."""
        found = ask(port, "/workers").body["workers"]
        return {worker["address"]: worker["partitions"] for worker in found}

    def user_of(self, port: int) -> str:
        """Somebody whom the worker at this port has, and nobody has heard of."""
        [number] = self.partitions(port)[f"127.0.0.1:{port}"]
        names = (uuid.uuid4().hex for _ in itertools.count())
        return next(name for name in names if partition_of(name, 2) == number)

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
        children = {}
        for port in ports:
            environment = as_environment(Settings(**common, web={"port": port}))
            children[port] = running.enter_context(Child(command, env=os.environ | environment))
        path.send_items(
            Item(item="m42", title="Alien (1979)"),
            Item(item="m7", title="Aliens (1986)"),
            Item(item=ODD, title="The Odd"),
        )
        path.await_workers(2, seconds=150)
        for port in ports:
            until(lambda port=port: _ready(port), 60, "a worker is ready")
        made = Workers(path, children)
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


def test_what_one_worker_answered_is_known_through_every_worker(workers: Workers) -> None:
    """At once: whoever is asked, the worker answers that has learnt from the user's event."""
    partitions, topic = set(), workers.path.names.recommendations
    for number, user in enumerate([ODD, "eve", "adam", "žofie", "u4", "u5"]):
        for port in workers.ports:
            before = ask(port, f"/users/{segment(user)}").body
            assert (before["known"], before["interactions"]) == (False, [])
        event = interaction(number, user=user, item=ODD, event_id=f"posted {number}")
        accepted = post(workers.ports[0], encode(event))
        assert accepted["event_id"] == event.event_id
        assert accepted["topic"] == workers.path.names.interactions
        partitions.add(accepted["partition"])
        answered = [json.loads(m.value() or b"") for m in workers.path.read(topic, number + 1)]
        assert event.event_id in [answer["event_id"] for answer in answered]
        for port in workers.ports:
            found = ask(port, f"/users/{segment(user)}").body
            [taken] = found["interactions"]
            assert (found["known"], taken["item"], taken["title"]) == (True, ODD, "The Odd")
            assert taken["timestamp"] == event.timestamp
            heard = ask(port, f"/users/{segment(user)}/recommendations?k=100")
            assert heard.headers["content-type"] == "application/json"
            assert heard.body["items"]
            assert ODD not in {entry["item"] for entry in heard.body["items"]}
    assert partitions == {0, 1}


def test_what_a_request_has_wrong_is_told_by_whoever_is_asked(workers: Workers) -> None:
    user = workers.user_of(workers.ports[1])
    for port in workers.ports:
        heard = ask(port, f"/users/{user}/recommendations?context=nothing&k=3")
        assert (heard.status, heard.body["error"]["class"]) == (404, "NotFound")
        heard = ask(port, f"/users/{user}/recommendations?k=0")
        assert (heard.status, heard.body["error"]["message"][:2]) == (400, "k:")


def test_every_worker_says_who_has_which_partition(workers: Workers) -> None:
    addresses = sorted(f"127.0.0.1:{port}" for port in workers.ports)
    for port in workers.ports:
        found = ask(port, "/workers").body["workers"]
        assert [worker["address"] for worker in found] == addresses
        assert sorted(number for worker in found for number in worker["partitions"]) == [0, 1]
        assert [w["address"] for w in found if w["asked"]] == [f"127.0.0.1:{port}"]


def test_a_page_hears_of_a_user_whom_another_worker_has(workers: Workers) -> None:
    asked, owner = workers.ports
    user = workers.user_of(owner)
    connection = http.client.HTTPConnection("127.0.0.1", asked, timeout=30)
    connection.request("GET", f"/live?user={user}")
    stream = connection.getresponse()
    assert (stream.status, stream.getheader("Content-Type")) == (
        200, "text/event-stream; charset=utf-8",
    )  # fmt: skip
    assert stream.readline() == b"event: history\n"
    assert json.loads(stream.readline()[len("data: ") :])["worker"] == f"127.0.0.1:{owner}"
    post(asked, encode(interaction(1, user=user, item="m42", event_id="seen")))
    while stream.readline() != b"event: answer\n":
        pass
    answer = json.loads(stream.readline()[len("data: ") :])
    assert (answer["event_id"], answer["title"]) == ("seen", "Alien (1979)")
    connection.close()


def test_a_request_is_passed_on_once(workers: Workers) -> None:
    asked, owner = workers.ports
    path = f"/users/{workers.user_of(owner)}"
    heard = ask(asked, path, headers={FORWARDED_FOR: "127.0.0.1"})
    assert (heard.status, heard.headers["retry-after"]) == (503, "2")
    assert "moves between workers" in heard.body["error"]["message"]
    assert ask(owner, path, headers={FORWARDED_FOR: "127.0.0.1"}).status == 200


# ------------------------------------------------------------------ the OpenAPI document


@pytest.mark.long
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


# ------------------------------------------------------------------ a worker that dies


def test_whose_worker_died_is_asked_for_in_vain_until_another_has_them(workers: Workers) -> None:
    """The last test here: one worker is left."""
    left, dead = workers.ports
    user = workers.user_of(dead)
    event = interaction(1, user=user, item="m42", event_id="before")
    post(left, encode(event))
    until(lambda: ask(left, f"/users/{user}").body["known"], 60, "the event is learnt")
    workers.children[dead].process.kill()
    workers.children[dead].process.wait()
    listed = ask(left, f"/users/{user}/recommendations")
    assert (listed.status, listed.body["known"]) == (200, False)
    assert listed.body["items"]  # what is trending
    heard = ask(left, f"/users/{user}")
    assert heard.status == 503
    assert f"the worker at 127.0.0.1:{dead}" in heard.body["error"]["message"]
    until(lambda: ask(left, f"/users/{user}").status == 200, 60, "its partition has moved")
    until(lambda: ask(left, f"/users/{user}").body.get("known"), 60, "its log is read")
    [taken] = ask(left, f"/users/{user}").body["interactions"]
    assert taken["item"] == "m42"
    alone = {f"127.0.0.1:{left}": [0, 1]}
    until(lambda: workers.partitions(left) == alone, 10, "the group says so")
