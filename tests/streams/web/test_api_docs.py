"""docs/api.md, pasted into a shell in order: the answers are those that the page shows."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from streams.brokers import KafkaServer
from streams.processes import Child
from streams.settings import Settings
from streams.settings_io import as_environment
from tests.conftest import ROOT, TOPICS
from tests.ports import free_port
from tests.streams.asking import ask
from tests.streams.conftest import Path
from tests.streams.waiting import until

DOCS = (ROOT / "docs" / "api.md").read_text()
EXAMPLES = re.findall(r"```sh\n(.*?)```\n+```json\n(.*?)```", DOCS, re.DOTALL)
TOKEN = "open-sesame"


class Shell:
    """Runs the page's commands against a worker that knows nothing yet."""

    def __init__(self, port: int, mark: str) -> None:
        self.port = port
        self._mark = mark

    def answer(self, command: str) -> Any:
        """What a command prints, as the page would show it."""
        command = command.replace("6066", str(self.port))
        # The page's reader has a token or not; the server has one, for what is forgotten needs it.
        if "Authorization" not in command:
            header = '-H "Authorization: Bearer $MILLRACE_WEB__TOKEN"'
            command = command.replace("curl -s", f"curl -s {header}")
        done = subprocess.run(
            ["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False,
            env=os.environ | {"MILLRACE_WEB__TOKEN": TOKEN},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        text = done.stdout.replace(f"127.0.0.1:{self.port}", "127.0.0.1:6066")
        text = re.sub(rf'"(interactions|items)\.{self._mark}"', r'"millrace.\1"', text)
        text = re.sub(r'"digest":"[0-9a-f]{12}"', '"digest":"..."', text)
        return json.loads(re.sub(r"forget:[0-9a-f]{32}", "forget:...", text))


@pytest.fixture(scope="module")
def shell(kafka: KafkaServer) -> Iterator[Shell]:
    mark, port = uuid.uuid4().hex[:8], free_port()
    settings = Settings(
        broker={"bootstrap": kafka.bootstrap},
        topics={name: f"{name.replace('_', '-')}.{mark}" for name in TOPICS},
        worker={"group": f"group.{mark}", "checkpoints": ""},
        web={"port": port, "token": TOKEN},
    )
    Path(settings)  # makes the topics
    command = [sys.executable, "-m", "streams.cli", "worker"]
    with Child(command, env=os.environ | as_environment(settings)):
        until(lambda: ready(port), 180, "the worker is ready")
        yield Shell(port, mark)


def ready(port: int) -> bool:
    try:
        return ask(port, "/health/ready").status == 200
    except ConnectionError:
        return False


def same(found: Any, expected: Any) -> bool:
    """Whether two answers are the same, their scores to a hundredth."""
    if isinstance(expected, dict):
        return (
            isinstance(found, dict)
            and found.keys() == expected.keys()
            and all(same(found[name], value) for name, value in expected.items())
        )
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(same, found, expected))
    if isinstance(expected, float):
        return bool(found == pytest.approx(expected, abs=0.01))
    return bool(found == expected)


def test_the_examples_answer_as_the_page_says(shell: Shell) -> None:
    for command, block in EXAMPLES:
        expected, asks = json.loads(block), "-X" not in command and "/interactions" not in command
        found = shell.answer(command)
        deadline = time.monotonic() + 20
        # What was written is applied some milliseconds later.
        while asks and not same(found, expected) and time.monotonic() < deadline:
            found = shell.answer(command)
        assert same(found, expected), (command, found)


def test_the_page_has_an_example_of_each_operation(shell: Shell) -> None:
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    document = ask(shell.port, "/openapi.json", headers=bearer).body
    for path, methods in document["paths"].items():
        pattern = re.sub(r"\\\{\w+\\\}", "[^/ ?]+", re.escape(path))
        commands = [c for c, _ in EXAMPLES if re.search(rf":6066{pattern}(\?[^ ]*)?['\s]", c)]
        for method in methods:
            flag = "-X" if method in ("get", "post") else f"-X {method.upper()}"
            assert any((flag in c) == (flag != "-X") for c in commands), f"{method} {path}"
