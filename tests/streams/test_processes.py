"""Children that never outlive us, SIGKILL included."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from streams.processes import Child
from tests.streams.waiting import until

# ignores SIGTERM, and starts a grandchild
STUBBORN = "trap '' TERM; sleep 600 & echo $! > \"$0\"; wait; wait"


def running(pid: int) -> bool:
    """Whether the process is there and no zombie."""
    command = ["ps", "-o", "stat=", "-p", str(pid)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.strip()[:1] not in {"", "Z"}


def test_stop_asks_first():
    with Child(["sleep", "600"]) as child:
        assert child.running
    assert child.stop() == -signal.SIGTERM
    assert not running(child.pid)


def test_stop_ends_a_child_that_does_not_listen_and_its_children(tmp_path: Path):
    note = tmp_path / "grandchild"
    child = Child(["sh", "-c", STUBBORN, str(note)], stop_seconds=0.2)
    until(lambda: note.exists() and note.read_text().endswith("\n"))
    grandchild = int(note.read_text())
    assert running(grandchild)
    assert child.stop() == -signal.SIGKILL
    until(lambda: not running(grandchild))


def test_the_exit_status_of_a_child_that_ended_by_itself():
    child = Child(["sh", "-c", "exit 3"])
    child.process.wait()
    assert child.stop() == 3
    assert child.kill() == 3


def test_one_that_gives_way():
    with Child(["sleep", "600"]) as child:
        child.give_way()
        assert os.getpriority(os.PRIO_PROCESS, child.pid) == 19
        if sys.platform == "linux":
            assert os.sched_getscheduler(child.pid) == os.SCHED_IDLE
    child.give_way()  # it has ended


def test_a_command_that_is_not_there():
    with pytest.raises(FileNotFoundError):
        Child(["there-is-no-such-command"])


def test_no_moment_of_a_start_lets_ctrl_c_leave_a_child_unwatched(monkeypatch):
    """Ctrl-C comes just as the system has made the child, before anybody knows its process id."""
    started: list[int] = []

    class Interrupted(subprocess.Popen):
        def __init__(self, command: list[str], **options: Any) -> None:
            super().__init__(command, **options)
            if command == ["sleep", "600"]:
                started.append(self.pid)
                signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        Child(["sleep", "600"])
    [child] = started
    assert not running(child)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_sigkill_of_the_parent_ends_the_child_and_removes_its_folder(tmp_path: Path):
    folder = tmp_path / "temporary"
    folder.mkdir()
    code = (
        "import sys, time; from pathlib import Path; from streams.processes import Child\n"
        "print(Child(['sleep', '600'], temporary=Path(sys.argv[1])).pid, flush=True)\n"
        "time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert running(child)
        parent.kill()
    until(lambda: not running(child))
    until(lambda: not folder.exists())
