"""The whole path in one command: broker, worker, replay and subscriber, each its own process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from engine.evaluation.provenance import provenance
from streams.kafka import clients, topics
from streams.processes import Child
from streams.settings import LogSettings, SecuritySettings, Settings, WebSettings
from streams.settings_io import as_environment
from streams.tools.answer_stats import Tally

_START_SECONDS = 480.0
_STALL_SECONDS = 60.0
_STOP_SECONDS = 40.0
"""A broker gives Kafka 20 s to end in order."""


class DemoError(RuntimeError):
    """A part of the demo that did not do its work; the text holds the end of its log."""


@dataclass
class Demo:
    """What runs, and what came out of it so far.

    Attributes
    ----------
    show_page
        Called with the address of the worker's page once that is served; the demo then goes on
        until Ctrl-C when all is answered.
    on_notice
        Called with each notice, for where nothing is drawn while it runs.
    phase
        What is going on, in words.
    notice
        Where the page is, once it is.
    replay
        The last line that the replay reported.
    """

    settings: Settings
    source: list[str]
    data: str
    seed: int
    rate: float | None
    limit: int | None
    kafka: bool = False
    show_page: Callable[[str], object] | None = None
    on_notice: Callable[[str], object] = lambda notice: None
    phase: str = "starting"
    notice: str = ""
    replay: dict[str, Any] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)

    def run(self) -> dict[str, Any]:
        """Run to the end; returns the report.

        Raises
        ------
        DemoError
            If a process fails or nothing moves for a minute.
        """
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="millrace-demo-")))
            processes = _Processes(stack, folder)
            self.phase = "starting the broker"
            kind = ["--kafka", "--port", "0"] if self.kafka else []
            lines = processes.start("broker", *kind, settings=self.settings)
            line = processes.wait_for(lambda: lines and lines[0], "broker")
            settings = _on_broker(self.settings, line.removeprefix("bootstrap="), not self.kafka)
            if settings.engine.aggregator == "pynq" and not settings.engine.board:
                self.phase = "building the simulated board (compiled once, a minute)"
                lines = processes.start("board", "--port", "0", settings=settings)
                line = processes.wait_for(lambda: lines and lines[0], "board")
                settings = _on_board(settings, line)
            topics.create(settings)
            self.phase = (
                "starting the worker (the first start compiles its kernels, one to three minutes)"
            )
            metrics = f"{self.page}metrics"
            processes.start("worker", settings=settings)
            answers = processes.start(
                "watch", "--json", "--from-beginning", "--dead-letters", settings=settings
            )
            processes.wait_for(lambda: _metric(metrics, "millrace_worker_partitions"), "worker")
            self._tell(f"page: {self.page}")
            if self.show_page is not None:
                self.show_page(self.page)
            self.phase = "replaying"
            progress = processes.start("replay", *self._replay_arguments(), settings=settings)
            sent, duplicates = self._collect(processes, answers, progress, settings)
            overlay = _overlay(metrics)
            counted = self.tally.report()
            if self.show_page is not None:
                self._stay(processes, answers)
        return {
            "events_in": sent,
            "recommendations": counted.pop("recommendations"),
            "dead_letters": counted.pop("dead_letters"),
            "duplicates": duplicates,
            **counted,
            **({"overlay": overlay} if overlay else {}),
            **provenance(self.data, self.seed),
        }

    def _collect(
        self,
        processes: _Processes,
        answers: _Lines,
        progress: _Lines,
        settings: Settings,
    ) -> tuple[int, int]:
        """Take lines until every event is accounted for.

        Returns
        -------
        tuple of int
            Events in, those that the page sent among them, and how many were duplicates.
        """
        metrics = f"{self.page}metrics"
        reader = clients.reader(settings)
        moved = time.monotonic()
        sent = duplicates = 0
        while True:
            fresh = [*answers.take(), *progress.take()]
            for line in fresh:
                parsed = msgspec.json.decode(line)
                if "phase" in parsed:
                    self.replay = parsed
                else:
                    self.tally.add(parsed)
            if fresh:
                moved = time.monotonic()
            processes.check()
            done = self.tally.recommendations + sum(self.tally.dead_letters.values())
            finished = self.replay.get("phase") == "done"
            if finished and not fresh:
                duplicates = int(_metric(metrics, "millrace_worker_duplicates_total") or 0)
                there = sum(clients.ends(reader, settings.topics.interactions).values())
                sent = max(int(self.replay["interactions"]), there)
                if done + duplicates >= sent:
                    reader.close()
                    return sent, duplicates
            if time.monotonic() - moved > _STALL_SECONDS:
                if finished:  # the report shows what is missing
                    return sent, duplicates
                raise DemoError(f"nothing moved for {_STALL_SECONDS:.0f} s\n{processes.logs()}")
            time.sleep(0.05)

    def _stay(self, processes: _Processes, answers: _Lines) -> None:
        """Leave the page to whoever looks at it."""
        try:
            self._tell(f"All is answered; {self.page} stays until Ctrl-C.")
            while True:
                for line in answers.take():
                    self.tally.add(msgspec.json.decode(line))
                processes.check()
                time.sleep(0.1)
        except KeyboardInterrupt:
            return

    def _tell(self, notice: str) -> None:
        self.notice = notice
        self.on_notice(notice)

    @property
    def page(self) -> str:
        """Where the worker serves its page."""
        return f"http://127.0.0.1:{self.settings.web.port}/"

    def _replay_arguments(self) -> list[str]:
        pace = ["--rate", str(self.rate)] if self.rate else ["--max"]
        limit = ["--limit", str(self.limit)] if self.limit is not None else []
        return [*self.source, *pace, *limit, "--seed", str(self.seed), "--json"]


def accounted(report: dict[str, Any]) -> bool:
    """Whether every event in is an answer, a dead letter or a duplicate."""
    return bool(
        report["events_in"]
        == report["recommendations"] + report["dead_letters"] + report["duplicates"]
    )


def demo_settings(settings: Settings) -> Settings:
    """Settings of a demo: its own broker, in plaintext; the page's port or a free one; a partition.

    With one worker more partitions bring nothing, and with one the order of events is the data's.
    """
    return settings.model_copy(
        update={
            "topics": settings.topics.model_copy(update={"partitions": 1}),
            "security": SecuritySettings(),
            "web": WebSettings(port=_free_port(settings.web.port)),
            "log": LogSettings(format="text"),  # people read it, when something fails
        }
    )


def _on_broker(settings: Settings, bootstrap: str, embedded: bool) -> Settings:
    broker = settings.broker.model_copy(update={"bootstrap": bootstrap, "embedded": embedded})
    return settings.model_copy(update={"broker": broker})


def _on_board(settings: Settings, line: str) -> Settings:
    """`line` is what `millrace board` says of itself: board=... bitstream=..."""
    board, bitstream = line.removeprefix("board=").split(" bitstream=", 1)
    engine = settings.engine.model_copy(update={"board": board, "bitstream": bitstream})
    return settings.model_copy(update={"engine": engine})


class _Lines:
    """Lines of a process's standard output, read by a thread."""

    def __init__(self, child: Child) -> None:
        self._lines: list[str] = []
        self._child = child
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._child.process.stdout is not None
        for line in self._child.process.stdout:
            self._lines.append(line.decode().rstrip("\n"))

    def take(self) -> list[str]:
        """The lines since the last call."""
        count = len(self._lines)
        taken, self._lines[:count] = self._lines[:count], []
        return taken

    def __getitem__(self, index: int) -> str:
        return self._lines[index]

    def __len__(self) -> int:
        return len(self._lines)


class _Processes:
    """The demo's children: each a `millrace` command with a log, all ended with the demo."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self._stack = stack
        self._folder = folder
        self._children: dict[str, Child] = {}

    def start(self, command: str, *arguments: str, settings: Settings) -> _Lines:
        """Start `millrace COMMAND`; its standard error goes to a log."""
        log = self._stack.enter_context((self._folder / f"{command}.log").open("wb"))
        child = Child(
            [sys.executable, "-m", "streams.cli", command, *arguments],
            output=log,
            stdout=subprocess.PIPE,
            env=os.environ | as_environment(settings),
            stop_seconds=_STOP_SECONDS,
        )
        self._children[command] = self._stack.enter_context(child)
        return _Lines(child)

    def wait_for(self, ready: Callable[[], Any], command: str) -> Any:
        """What `ready` gives once that is something."""
        deadline = time.monotonic() + _START_SECONDS
        while not (answer := ready()):
            self.check()
            if time.monotonic() > deadline:
                raise DemoError(f"the {command} was not ready in time\n{self.logs()}")
            time.sleep(0.05)
        return answer

    def check(self) -> None:
        """Raise DemoError if a child ended that should not have."""
        for command, child in self._children.items():
            if not child.running and (command != "replay" or child.process.returncode):
                raise DemoError(f"the {command} stopped\n{self.logs()}")

    def logs(self) -> str:
        """The end of each child's log."""
        ends = []
        for command in self._children:
            text = (self._folder / f"{command}.log").read_text(errors="replace").strip()
            if text:
                ends.append(f"--- {command} ---\n" + "\n".join(text.splitlines()[-15:]))
        return "\n".join(ends)


def _metric(address: str, name: str) -> float | None:
    """A sample of /metrics, or None while nobody serves it."""
    return next((sample.value for sample in _samples(address) if sample.name == name), None)


def _overlay(address: str) -> dict[str, Any]:
    """What a board did, by the worker's metrics; empty without one."""
    prefix = "millrace_overlay_"
    found = [sample for sample in _samples(address) if sample.name.startswith(prefix)]
    figures: dict[str, Any] = {
        sample.name.removeprefix(prefix).removesuffix("_total"): sample.value for sample in found
    }
    if found:
        figures["simulated"] = found[0].labels["simulated"] == "true"
    return figures


def _samples(address: str) -> list[Sample]:
    """All samples of /metrics; none while nobody serves it."""
    try:
        with urllib.request.urlopen(address, timeout=5) as response:
            text = response.read().decode()
    except OSError:
        return []
    return [s for family in text_string_to_metric_families(text) for s in family.samples]


def _free_port(wanted: int) -> int:
    """That port if nobody has it, else one that is free."""
    try:
        socket.create_server(("127.0.0.1", wanted)).close()
        return wanted
    except OSError:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            return int(probe.getsockname()[1])
