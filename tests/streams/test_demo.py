"""The demo: everything in is accounted for, and nothing is left running."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from streams.demo import accounted
from streams.tally import STAGES

MARK = "MILLRACE_DEMO_TEST"


def start_demo(mark: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "streams.cli", "demo", *arguments],
        env=os.environ | {MARK: mark},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


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


def wait_until(condition: object, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize("arguments", [[], ["--kafka"]], ids=["embedded", "kafka"])
def test_the_demo_accounts_for_every_event(
    arguments: list[str], tmp_path: Path, kafka_jars: Path
) -> None:
    file, mark = tmp_path / "report.json", uuid.uuid4().hex
    demo = start_demo(mark, "--events", "500", "--rate", "400", "--json", str(file), *arguments)
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


def test_the_demo_runs_on_a_simulated_board(tmp_path: Path, verilator: None) -> None:
    file, mark = tmp_path / "report.json", uuid.uuid4().hex
    options = ["--aggregator", "pynq", "--events", "60", "--rate", "30", "--json", str(file)]
    demo = start_demo(mark, *options)
    out, err = demo.communicate(timeout=200)
    assert demo.returncode == 0, out + err
    assert running(mark) == []
    overlay = json.loads(file.read_text())["overlay"]
    # Three aggregates an event: the user's two, and the item's.
    assert (overlay["targets"], overlay["faults"]) == (180, 0)
    assert overlay["simulated"] is True
    assert 0 < overlay["device_seconds"] < overlay["host_seconds"]
    assert "simulated board: 180 nodes" in out


def test_a_lost_event_does_not_add_up() -> None:
    report = {"events_in": 10, "recommendations": 7, "dead_letters": 1, "duplicates": 1}
    assert not accounted(report)
    assert accounted(report | {"duplicates": 2})


@pytest.mark.parametrize("moment", [1.0, 4.0, 9.0])
def test_ctrl_c_at_any_moment_leaves_nothing_running(moment: float) -> None:
    mark = uuid.uuid4().hex
    demo = start_demo(mark, "--rate", "50")
    time.sleep(moment)
    demo.send_signal(signal.SIGINT)
    _, err = demo.communicate(timeout=40)
    assert demo.returncode == 130
    assert "Traceback" not in err
    assert running(mark) == []


def test_a_killed_demo_leaves_nothing_running() -> None:
    mark = uuid.uuid4().hex
    demo = start_demo(mark, "--rate", "50")
    wait_until(lambda: any("replay" in command for command in running(mark)), 40)
    demo.kill()
    demo.communicate(timeout=20)
    wait_until(lambda: running(mark) == [], 30)
