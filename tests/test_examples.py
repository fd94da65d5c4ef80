"""The examples, run as their first lines say, against a worker on a real Kafka."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path as FilePath
from typing import Any

import pytest

from streams.brokers import KafkaServer
from streams.processes import Child
from streams.settings import Settings
from streams.settings_io import as_environment
from tests.conftest import TOPICS
from tests.streams.conftest import Path, interaction

ROOT = FilePath(__file__).parents[1]
EXAMPLES = ROOT / "examples"
NODE = ROOT / ".cache/node"
EVENTS = 40


@pytest.fixture(scope="module")
def path(kafka: KafkaServer) -> Path:
    """Topics of one partition with answers in them."""
    path = Path(
        Settings(
            broker={"bootstrap": kafka.bootstrap},
            topics={"partitions": 1} | {name: f"examples.{name}" for name in TOPICS},
            worker={"group": "examples", "checkpoints": ""},
            web={"port": 0},
        )
    )
    with path.worker():
        path.send(*(interaction(n, user=f"u{n % 5}", item=f"m{n % 25}") for n in range(EVENTS)))
        path.answers(EVENTS)
    return path


@pytest.fixture(scope="module")
def answers(path: Path) -> list[dict[str, Any]]:
    return path.answers(EVENTS)


@pytest.fixture(scope="module")
def kafkajs() -> FilePath:
    """The folder of the Node.js packages, installed once; without npm the test is skipped."""
    if not (shutil.which("node") and shutil.which("npm")):
        if os.environ.get("CI"):
            pytest.fail("CI is set, so the Node.js example must run: node or npm is missing")
        pytest.skip("node or npm is missing")
    wanted = json.loads((EXAMPLES / "node/package.json").read_text())["dependencies"]
    for name, version in wanted.items():
        found = NODE / "node_modules" / name / "package.json"
        if not found.exists() or json.loads(found.read_text())["version"] != version:
            subprocess.run(
                ["npm", "install", "--prefix", str(NODE), "--no-package-lock", "--no-audit",
                 "--no-fund", "--silent", "--fetch-retries=5", f"{name}@{version}"],
                check=True, timeout=240,
            )  # fmt: skip
    return NODE / "node_modules"


def lines(command: list[str], path: Path, count: int, **extra: str) -> list[str]:
    """The first lines that a command writes that goes on until stopped."""
    environment = os.environ | as_environment(path.settings) | extra
    with Child(command, stdout=subprocess.PIPE, env=environment) as child:
        assert child.process.stdout is not None
        too_late = threading.Timer(60.0, child.kill)
        too_late.start()
        try:
            written = [child.process.stdout.readline().decode() for _ in range(count)]
        finally:
            too_late.cancel()
    return [line.rstrip("\n") for line in written]


def written(answer: dict[str, Any]) -> str:
    return " ".join([f"{answer['user']}:", *(entry["item"] for entry in answer["items"])])


def test_the_subscriber_has_fifteen_lines_and_prints_every_answer(
    path: Path, answers: list[dict[str, Any]]
) -> None:
    file = EXAMPLES / "subscriber.py"
    code = [line for line in file.read_text().splitlines() if line and not line.startswith('"""')]
    assert len(code) <= 15
    assert lines([sys.executable, str(file)], path, EVENTS) == list(map(written, answers))


def test_node_prints_every_answer(
    path: Path, answers: list[dict[str, Any]], kafkajs: FilePath
) -> None:
    command = ["node", str(EXAMPLES / "node/subscriber.js")]
    found = lines(command, path, EVENTS, NODE_PATH=str(kafkajs))
    assert found == list(map(written, answers))


def test_the_faust_agent_counts_every_answer(path: Path, answers: list[dict[str, Any]]) -> None:
    found = lines([sys.executable, str(EXAMPLES / "faust_agent.py")], path, EVENTS)
    found[0] = re.sub(r"[\b]|\x1b\[\?25.", "", found[0])  # Faust hides the cursor, and shows it
    times: Counter[str] = Counter()
    for line, answer in zip(found, answers, strict=True):
        times.update(entry["item"] for entry in answer["items"])
        assert line == " ".join([f"{answer['user']}:", *map(str, times.most_common(3))])


def test_the_engine_serves_as_a_library(tmp_path: FilePath) -> None:
    # The arguments are those of a notebook's kernel, which the cells must leave alone.
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "library.py"), "-f", "kernel.json"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "600 events" in done.stdout
    ours, popularity = figures(done.stdout)
    assert 0 < popularity < ours < 1


def figures(text: str) -> tuple[float, float]:
    """NDCG@10 of the engine and of popularity."""
    [line] = [line for line in text.splitlines() if line.startswith("NDCG@10")]
    ours, popularity = line.removeprefix("NDCG@10 ").split(", of popularity ")
    return float(ours), float(popularity)


def test_every_example_has_its_line() -> None:
    told = (EXAMPLES / "README.md").read_text()
    for file in [*EXAMPLES.glob("*.py"), *EXAMPLES.glob("node/*.js")]:
        assert f"{file.relative_to(ROOT)}" in told
