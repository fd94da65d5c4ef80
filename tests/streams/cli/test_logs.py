"""What workers write to standard error: JSON lines, or text at a terminal."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path as FilePath
from typing import Any

import pytest

from streams.processes import Child
from streams.settings_io import as_environment
from tests.streams.conftest import Path, interaction

SAYS = """
import logging
from streams.cli.logs import log_to_stderr
log_to_stderr({form!r})
place = {{"topic": "t", "partition": 2, "offset": 7}}
logging.getLogger("millrace.worker").warning('%s "stands" still\\n', "ö", extra=place)
logging.getLogger("other").info("nobody wants this")
1 / 0
"""
TOKEN = "open-sesame"


def said(form: str) -> str:
    command = [sys.executable, "-c", SAYS.format(form=form)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stderr


def objects(text: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in text.splitlines()]
    for line in found:
        assert {"time", "level", "logger", "message"} <= line.keys()
        age = datetime.now(UTC) - datetime.fromisoformat(line["time"])
        assert timedelta() <= age < timedelta(minutes=10)
    return found


@pytest.mark.parametrize("form", ["auto", "json"])
def test_each_line_is_an_object_with_what_it_is_about(form: str) -> None:
    place, end = objects(said(form))
    assert (place["level"], place["logger"]) == ("WARNING", "millrace.worker")
    assert place["message"] == 'ö "stands" still\n'
    assert (place["topic"], place["partition"], place["offset"]) == ("t", 2, 7)
    assert (end["level"], end["message"]) == ("CRITICAL", "ZeroDivisionError: division by zero")
    assert end["exc_info"].startswith("Traceback")


def test_people_get_text() -> None:
    text = said("text")
    assert 'WARNING millrace.worker: ö "stands" still' in text
    assert "{" not in text
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", SAYS.format(form="auto")]
    done = subprocess.run(command, stderr=theirs, check=False)
    os.close(theirs)
    seen = os.read(ours, 65_536).decode()
    os.close(ours)
    assert done.returncode == 1
    assert 'WARNING millrace.worker: ö "stands" still' in seen
    assert "Traceback" in seen
    assert "{" not in seen


@pytest.mark.parametrize("broker", ["embedded"], indirect=True)
def test_a_worker_logs_objects_none_for_an_event_and_no_secret(
    path: Path, tmp_path: FilePath
) -> None:
    events = 50
    file = tmp_path / "log"
    with file.open("wb") as log:
        environment = as_environment(path.settings) | {"MILLRACE_WEB__TOKEN": TOKEN}
        command = [sys.executable, "-m", "streams.cli", "worker"]
        with Child(command, output=log, env=os.environ | environment):
            path.send(*(interaction(n) for n in range(events)))
            path.send_bytes(b"rubbish")
            path.flush()
            path.answers(events)
    lines = objects(file.read_text())
    assert "0 events read again" in {line["message"] for line in lines}
    assert 0 < len(lines) < events / 2
    assert TOKEN not in file.read_text()


def test_a_mistake_of_its_user_is_an_object_too() -> None:
    environment = {"MILLRACE_BROKER__BOOTSTRAP": "127.0.0.1:1", "MILLRACE_LOG__FORMAT": "json"}
    command = [sys.executable, "-m", "streams.cli", "worker", "--model", "no/such/folder"]
    environment |= {"MILLRACE_SECURITY__PROTOCOL": "ssl", "MILLRACE_SECURITY__CA": "no/such/file"}
    done = subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, check=False,
        timeout=60,
    )  # fmt: skip
    [line] = objects(done.stderr)
    assert (done.returncode, line["level"]) == (2, "CRITICAL")
    assert "no/such/file" in line["message"]
