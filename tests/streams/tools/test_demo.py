"""The demo: everything in is accounted for, and nothing is left running."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from streams.tools.answer_stats import STAGES
from streams.tools.demo import accounted
from tests.ports import free_port
from tests.streams.waiting import until

MARK = "MILLRACE_DEMO_TEST"


@contextmanager
def started_demo(mark: str, *arguments: str, **env: str) -> Iterator[subprocess.Popen[str]]:
    """A demo whose processes are gone after the test, also when that fails."""
    with subprocess.Popen(
        [sys.executable, "-m", "streams.cli", "demo", *arguments],
        # Another demo on this machine may take the default port at the same moment.
        env=os.environ | {MARK: mark, "MILLRACE_WEB__PORT": str(free_port())} | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as demo:
        try:
            yield demo
        finally:
            demo.kill()  # its children end with it, see `streams.processes`
            demo.communicate(timeout=20)


def running(mark: str) -> list[str]:
    """Command lines of the live processes that a demo of this mark has started."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={mark}".encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:  # another's, or gone meanwhile
            continue
    return found


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param([], id="embedded", marks=pytest.mark.long),
        pytest.param(["--kafka"], id="kafka"),
    ],
)
def test_the_demo_accounts_for_every_event(
    arguments: list[str], tmp_path: Path, kafka_jars: Path
) -> None:
    file, mark = tmp_path / "report.json", uuid.uuid4().hex
    options = ["--events", "500", "--rate", "400", "--json", str(file), *arguments]
    with started_demo(mark, *options) as demo:
        out, err = demo.communicate(timeout=120)
    assert demo.returncode == 0, out + err
    assert running(mark) == []
    assert "500 events in = 500 recommendations + 0 dead letters + 0 duplicates" in out
    report = json.loads(file.read_text())
    assert accounted(report)
    assert report["events_in"] == 500
    assert report["stages_us"].keys() == set(STAGES)
    for sample in (report["end_to_end_ms"], *report["stages_us"].values()):
        assert sample.keys() == {"p50", "p99", "p99_9"}
    assert 0 < report["ndcg@10"] <= report["hr@10"] < 1
    assert report["popularity"].keys() == {"ndcg@10", "hr@10"}
    assert "synthetic" in report["data"]
    assert {"seed", "version", "machine"} <= report.keys()


@pytest.mark.long
def test_the_demo_runs_on_a_simulated_board(tmp_path: Path, verilator: None) -> None:
    file, mark = tmp_path / "report.json", uuid.uuid4().hex
    options = ["--aggregator", "pynq", "--events", "60", "--rate", "30", "--json", str(file)]
    with started_demo(mark, *options) as demo:
        out, err = demo.communicate(timeout=200)
    assert demo.returncode == 0, out + err
    assert running(mark) == []
    overlay = json.loads(file.read_text())["overlay"]
    # Three aggregates an event: the user's two, and the item's.
    assert (overlay["targets"], overlay["faults"]) == (180, 0)
    assert overlay["simulated"] is True
    assert 0 < overlay["device_seconds"] < overlay["host_seconds"]
    assert "simulated board: 180 nodes" in out


@pytest.mark.long
def test_opened_it_stays_for_the_page_until_ctrl_c(tmp_path: Path) -> None:
    browser, opened, file = tmp_path / "browser", tmp_path / "opened", tmp_path / "report.json"
    browser.write_text(f'#!/bin/sh\necho "$1" > {opened}.new && mv {opened}.new {opened}\n')
    browser.chmod(0o700)
    mark = uuid.uuid4().hex
    options = ["--open", "--events", "300", "--rate", "100", "--json", str(file)]
    with started_demo(mark, *options, BROWSER=f"{browser} %s") as demo:
        until(opened.exists, 60)
        address = opened.read_text().strip()
        with urllib.request.urlopen(address, timeout=10) as page:
            assert "<title>Millrace</title>" in page.read().decode()
        until(lambda: answers(address) > 0, 60)
        # What the page sends while the replay runs is accounted for, too.
        click = {"event_id": "page-1", "user": "u1", "item": "i1", "kind": "click"}
        body = json.dumps(click | {"timestamp": int(time.time() * 1000)}).encode()
        urllib.request.urlopen(f"{address}interactions", body, timeout=10).close()
        until(lambda: answers(address) == 301, 60)
        assert demo.stderr is not None
        assert any("stays until Ctrl-C" in line for line in demo.stderr)
        until(lambda: not any("replay" in command for command in running(mark)))
        assert answers(address) == 301
        assert demo.poll() is None
        demo.send_signal(signal.SIGINT)
        out, err = demo.communicate(timeout=90)
    assert demo.returncode == 0, out + err
    assert "301 events in = 301 recommendations + 0 dead letters + 0 duplicates" in out
    assert accounted(json.loads(file.read_text()))
    assert running(mark) == []


def answers(address: str) -> int:
    with urllib.request.urlopen(f"{address}metrics", timeout=10) as metrics:
        text = metrics.read().decode()
    return int(float(text.split("\nmillrace_worker_recommendations_total ")[1].split()[0]))


def test_a_lost_event_does_not_add_up() -> None:
    report = {"events_in": 10, "recommendations": 7, "dead_letters": 1, "duplicates": 1}
    assert not accounted(report)
    assert accounted(report | {"duplicates": 2})


@pytest.mark.parametrize(
    "moment", ["worker", *(pytest.param(m, marks=pytest.mark.long) for m in ("broker", "replay"))]
)
def test_ctrl_c_at_any_moment_leaves_nothing_running(moment: str) -> None:
    """The moments are those at which the demo has begun to run this command."""
    mark = uuid.uuid4().hex
    with started_demo(mark, "--rate", "50") as demo:
        until(lambda: any(f"streams.cli {moment} " in command for command in running(mark)), 60)
        demo.send_signal(signal.SIGINT)
        _, err = demo.communicate(timeout=90)
    assert demo.returncode == 130
    assert "Traceback" not in err
    # A child that was just being started is ended by the shell that watches for the demo's end.
    with suppress(AssertionError):
        until(lambda: not running(mark))
    assert running(mark) == []


@pytest.mark.long
def test_a_killed_demo_leaves_nothing_running() -> None:
    mark = uuid.uuid4().hex
    with started_demo(mark, "--rate", "50") as demo:
        until(lambda: any("replay" in command for command in running(mark)), 60)
        demo.kill()
        until(lambda: running(mark) == [])
