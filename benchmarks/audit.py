"""How fast past answers are computed again, and how many are equal, on a real Kafka.

    python -m benchmarks.audit ../shared/data/ml-100k --partitions 1 --json FILE

A worker takes the catalogue and stops; one goes on from its checkpoint and answers all events;
then `millrace audit` computes them again in a process of its own, and this is its report, with
`worker_events_per_second`, what the worker itself had answered a second. With `--workers 2` two
share the partitions: each learns what the other answers in an order of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.end_to_end import Bench, publish_catalogue
from engine.datasets import open_dataset
from engine.evaluation.provenance import provenance
from streams.brokers import KafkaServer

console = Console(stderr=True)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, nargs="?", default=Path("../shared/data/ml-100k"))
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--partitions", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    dataset = open_dataset(arguments.data, seed=arguments.seed)
    with KafkaServer() as kafka:
        bench = Bench(kafka.bootstrap, "audit", partitions=arguments.partitions)
        # The checkpoint of the catalogue is the one to begin with.
        kept = bench.settings.worker.model_copy(
            update={"checkpoint_seconds": 86_400.0, "checkpoints_kept": 100}
        )
        bench.settings = bench.settings.model_copy(update={"worker": kept})
        per_second = answer_all(bench, dataset, arguments.events, arguments.workers)
        report = audited(bench)
    report |= {
        "events": arguments.events,
        "partitions": arguments.partitions,
        "workers": arguments.workers,
        "worker_events_per_second": per_second,
    }
    report |= provenance(dataset.name, arguments.seed)
    text = json.dumps(report, indent=2)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n")


def answer_all(bench: Bench, dataset: Any, count: int, workers: int) -> int:
    """Have the events answered; returns how many a second."""
    with bench.worker():
        publish_catalogue(bench, dataset)
    with ExitStack() as stack:
        for _ in range(workers):
            stack.enter_context(bench.worker())
        sent = 0
        for interaction in islice(dataset.interactions(), count):
            bench.send(bench.settings.topics.interactions, interaction)
            sent += 1
            if sent == 1:  # the time of starting is nobody's
                bench.producer.flush()
                bench.await_answered(1)
                started = time.monotonic()
        bench.producer.flush()
        console.print(f"{sent:,} events sent")
        bench.await_answered(sent, 600)
        return round((sent - 1) / (time.monotonic() - started))


def audited(bench: Bench) -> dict[str, Any]:
    """What the command reports."""
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder:
        file = Path(folder) / "report.json"
        command = [sys.executable, "-m", "streams.cli", "audit", "--json", str(file)]
        subprocess.run(command, env=bench.environment, check=False)
        report: dict[str, Any] = json.loads(file.read_text())
    return report


if __name__ == "__main__":
    main()
