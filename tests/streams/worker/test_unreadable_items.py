"""Items that cannot be read: counted, and told once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path as FilePath

import pytest
from prometheus_client.parser import text_string_to_metric_families

from streams.settings import WebSettings
from streams.settings_io import as_environment
from tests.ports import free_port
from tests.streams.conftest import Path, interaction

ITEMS = 20


@pytest.mark.parametrize("broker", ["kafka"], indirect=True)
def test_unreadable_items_are_counted_and_the_first_is_logged(
    path: Path, tmp_path: FilePath
) -> None:
    port = free_port()
    settings = path.settings.model_copy(update={"web": WebSettings(port=port)})
    for number in range(ITEMS):
        value = json.dumps({"item": f"m{number}", "title": number}).encode()
        path.producer.produce(path.names.items, value, f"m{number}")
    path.flush()
    said = tmp_path / "worker.log"
    with said.open("wb") as file:
        worker = subprocess.Popen(
            [sys.executable, "-m", "streams.cli", "worker"],
            env=os.environ | as_environment(settings),
            stderr=file,
        )
    try:
        assert len(path.read(path.names.dead_letters, ITEMS)) == ITEMS
        path.send(interaction(0))
        path.answers(1)  # the event loop has been through what it did for the items
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            families = text_string_to_metric_families(answer.read().decode())
        counts = {
            (sample.labels["message"], sample.labels["error"]): sample.value
            for family in families
            for sample in family.samples
            if sample.name == "millrace_worker_dead_letters_total"
        }
        assert counts["item", "WrongType"] == ITEMS
        assert sum(counts.values()) == ITEMS
    finally:
        worker.send_signal(signal.SIGTERM)
        worker.wait(60)
    [line] = [line for line in said.read_text().splitlines() if "is a dead letter" in line]
    told = json.loads(line)
    assert (told["topic"], told["partition"], told["offset"]) == (path.names.items, 0, 0)
    assert "title: 0" in told["message"]
