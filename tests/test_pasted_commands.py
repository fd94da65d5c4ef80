"""The shell blocks of README and docs, pasted block by block: each command runs, or is left out for
a reason that stands here. (docs/api.md has a test of its own, which looks at the answers.)"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import uuid
from pathlib import Path
from typing import NamedTuple

import pytest

from streams.brokers import KafkaServer
from streams.messages.schemas import encode
from streams.settings import Settings
from streams.settings_io import as_environment
from tests.conftest import TOPICS
from tests.ports import free_port
from tests.streams.asking import ask
from tests.streams.conftest import interaction
from tests.streams.waiting import until
from tests.test_docs import PAGES, blocks

LEFT_OUT = {
    r"make |python -m benchmarks": "sets up or measures the whole project; CI runs make",
    r"docker compose ": "needs Docker; tests/streams/test_deploy.py looks at the files",
    r"sudo |journalctl |openssl ": "changes the machine",
    r"pip install ": "installs; tests/test_distribution.py installs the wheel",
    r"export |acls=|for topic|  \$acls|\$acls|done$": "a cluster with logins: test_security.py",
    r"millrace (train|paper) |millrace \w+( \S+)* --model ": "needs the extra train, 5.6 GB",
    r"millrace (audit|at|explain)\b": "name events of their own; test_past.py runs them",
    r"millrace broker ": "there is a Kafka, that of the tests",
    r"millrace board |millrace worker --set engine.aggregator=pynq": "needs the extra fpga",
}
STAYS = ("millrace worker", "millrace watch")
"""What runs until Ctrl-C."""
SHELL = re.compile(r"(millrace|make|pip|docker|sudo|curl|python|openssl|export|acls=)\b|acls=")


class Paste(NamedTuple):
    """A block of a page, as its reader copies it: its lines."""

    page: Path
    lines: list[str]


def pastes() -> list[Paste]:
    found = []
    for page in PAGES:
        for block in blocks(page):
            shell = block.info in ("", "sh", "bash") and SHELL.match(block.text)
            if shell and page.name != "api.md":
                found.append(Paste(page, block.text.rstrip("\n").split("\n")))
    return found


def reason_to_leave_out(line: str) -> str | None:
    return next((why for what, why in LEFT_OUT.items() if re.match(what, line)), None)


RUN = [
    pytest.param(Paste(page, kept), id=f"{page.name}: {kept[0][:50]}")
    for page, lines in pastes()
    if (kept := [line for line in lines if reason_to_leave_out(line) is None])
]


class Running(NamedTuple):
    """A command that was typed, and the file of what it prints."""

    line: str
    process: subprocess.Popen[bytes]
    output: Path

    def told(self) -> str:
        return f"{self.line}\n{self.output.read_text()}"


class Terminal:
    """Types commands in a folder that has what the pages name."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder = folder
        self.port = settings.web.port
        self._bootstrap = settings.broker.bootstrap
        programs = Path(sys.executable).parent
        self._environment = os.environ | as_environment(settings) | {
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"
        }  # fmt: skip

    def type(self, line: str) -> Running:
        typed = line.replace("kafka:9092", self._bootstrap).replace("6066", str(self.port))
        output = self.folder / f"{uuid.uuid4().hex}.txt"
        with output.open("wb") as file:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {typed}"], cwd=self.folder, env=self._environment,
                stdout=file, stderr=subprocess.STDOUT,
            )  # fmt: skip
        return Running(line, process, output)

    def is_ready(self) -> bool:
        try:
            return ask(self.port, "/health/ready").status == 200
        except ConnectionError:
            return False


@pytest.fixture(scope="module")
def terminal(kafka: KafkaServer, tmp_path_factory: pytest.TempPathFactory) -> Terminal:
    folder = tmp_path_factory.mktemp("pasted")
    rows = [f"u{n % 9},i{n * 7 % 23},{1_600_000_000 + n},view" for n in range(200)]
    for name, header in (("log", "who,what,moment,did"), ("events", "user,item,time,kind")):
        (folder / f"{name}.csv").write_text("\n".join((header, *rows)) + "\n")
    mark = uuid.uuid4().hex[:8]
    settings = Settings(
        broker={"bootstrap": kafka.bootstrap},
        topics={name: f"{name.replace('_', '-')}.{mark}" for name in TOPICS},
        worker={"group": f"group.{mark}", "checkpoints": str(folder / "checkpoints")},
        web={"port": free_port()},
    )
    made = Terminal(folder, settings)
    done = made.type("millrace topics create")
    assert done.process.wait(60) == 0, done.told()
    return made


@pytest.mark.long
@pytest.mark.parametrize("paste", RUN)
def test_a_block_runs_as_it_stands(terminal: Terminal, paste: Paste) -> None:
    staying: list[Running] = []
    try:
        for line in paste.lines:
            if line.startswith("curl ") and not staying:
                staying.append(started(terminal, "millrace worker"))
            if line.startswith(STAYS):
                staying.append(started(terminal, line))
                continue
            done = terminal.type(line)
            assert done.process.wait(240) == 0, done.told()
    finally:
        for each in reversed(staying):
            each.process.send_signal(signal.SIGINT)
            assert each.process.wait(60) in (0, 130), each.told()


def started(terminal: Terminal, line: str) -> Running:
    """A command that stays, once it does what it is for."""
    running = terminal.type(line)

    def serves() -> bool:
        assert running.process.poll() is None, running.told()
        if line.startswith("millrace worker"):
            return terminal.is_ready()
        event = encode(interaction(1, user="ann", event_id=uuid.uuid4().hex))
        headers = {"Content-Type": "application/json"}
        assert ask(terminal.port, "/interactions", "POST", event, headers).status == 202
        return "ann" in running.output.read_text()

    until(serves, 180, line)
    return running


def test_each_command_runs_or_is_left_out_for_a_reason() -> None:
    lines = {line for paste in pastes() for line in paste.lines}
    run = {line for param in RUN for line in param.values[0].lines}
    assert len(run) >= 7
    assert all(reason_to_leave_out(line) for line in lines - run)
    for what in LEFT_OUT:
        assert any(re.match(what, line) for line in lines), f"{what} leaves out nothing"
