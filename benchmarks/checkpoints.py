"""What a checkpoint costs the events, the disk and a restart.

    python -m benchmarks.checkpoints [--size N] [--json FILE]

An engine is filled as `benchmarks.scale` does it, with N users and N items. Then it goes on
observing while checkpoints are cut from it, one after another; the wall time of every event is
taken, with that of a fork added to the event it comes before. Last, a real worker on a real Kafka
starts from such a checkpoint, until its /health/ready says so.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks.scale import filled, interactions, resident_bytes
from engine import EngineSettings, Interaction, Recommender
from engine.evaluation.measures import percentiles
from engine.evaluation.provenance import provenance
from engine.state import huge_pages
from engine.warm_up import warm_up
from streams.brokers import KafkaServer
from streams.kafka import topics
from streams.processes import Child
from streams.settings import Settings, WebSettings
from streams.settings_io import as_environment
from streams.worker.checkpoints import Checkpoints, Notes
from streams.worker.input_log import Input
from streams.worker.partition import Partition
from streams.worker.stores import Folder

CHECKPOINTS = 10
BETWEEN = 100
EVENTS = 500_000
PORT = 6069


def main() -> None:
    """Measure, print, and write JSON where it is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", type=int, default=100_000, help="users, and items")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    console = Console()
    settings = EngineSettings(seed=arguments.seed)
    warm_up(settings)
    report = provenance("synthetic, of real-like degrees", arguments.seed)
    before = resident_bytes()
    engine, *_ = filled(arguments.size, settings, console)
    stream = interactions(np.random.default_rng(arguments.seed + 1), arguments.size, EVENTS)
    report |= {"size": arguments.size, "state_bytes": resident_bytes() - before}
    huge_pages.collapse()  # as a worker does when it starts
    with tempfile.TemporaryDirectory() as folder:
        report |= measure_events(engine, stream, Path(folder))
        report["disk_to_state"] = round(report["file_bytes"] / report["state_bytes"], 2)
        report["ready_seconds"] = measure_recovery(engine, Path(folder))
    console.print_json(json.dumps(report))
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")


def measure_events(
    engine: Recommender, stream: Iterator[Interaction], folder: Path
) -> dict[str, Any]:
    """Milliseconds of events, with and without a checkpoint being written."""
    checkpoints = Checkpoints(Folder(folder / "events"), 1)
    pauses, quiet, busy, writes = [], [], [], []
    for number in range(CHECKPOINTS):
        quiet += [_timed(engine, next(stream)) for _ in range(BETWEEN)]
        started = time.perf_counter()
        writing = checkpoints.begin(engine, {0: number}, lambda: Notes("", {}, {}))
        pauses.append(writing.pause_seconds * 1e3)
        child = threading.Thread(target=writing.wait)
        child.start()
        busy.append(pauses[-1] + _timed(engine, next(stream)))
        while child.is_alive():
            busy.append(_timed(engine, next(stream)))
        writes.append(time.perf_counter() - started)
        size = writing.temporary.stat().st_size
        writing.discard()
    return {
        "pause_ms": {
            "p50": round(sorted(pauses)[CHECKPOINTS // 2], 2),
            "max": round(max(pauses), 2),
        },
        "event_ms": percentiles(quiet) | {"max": round(max(quiet), 2)},
        "event_while_writing_ms": percentiles(busy) | {"max": round(max(busy), 2)},
        "events_while_writing": len(busy),
        "write_seconds": round(sorted(writes)[CHECKPOINTS // 2], 2),
        "file_bytes": size,
    }


def _timed(engine: Recommender, event: Interaction) -> float:
    started = time.perf_counter()
    engine.observe(event)
    return (time.perf_counter() - started) * 1e3


def measure_recovery(engine: Recommender, folder: Path) -> float:
    """Seconds from the start of a worker's process until it says that it is ready."""
    with KafkaServer() as kafka:
        defaults = Settings()
        settings = defaults.model_copy(
            update={
                "broker": defaults.broker.model_copy(update={"bootstrap": kafka.bootstrap}),
                "worker": defaults.worker.model_copy(update={"checkpoints": str(folder)}),
                "web": WebSettings(port=PORT),
            }
        )
        topics.create(settings)
        source = Input.of(settings)
        partitions = {n: Partition(1).notes() for n in source.lows}
        kept = folder / settings.worker.group / source.name
        Checkpoints(Folder(kept), 1).write(engine, Notes(source.name, partitions, {}))
        started = time.monotonic()
        with Child(
            [sys.executable, "-m", "streams.cli", "worker"],
            env=os.environ | as_environment(settings),
        ):
            while not _is_ready():
                time.sleep(0.02)
            return round(time.monotonic() - started, 2)


def _is_ready() -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/health/ready") as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError):
        return False


if __name__ == "__main__":
    main()
