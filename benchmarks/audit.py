"""How fast past answers are computed again, and how many are equal, on a real Kafka.

    python -m benchmarks.audit ../shared/data/ml-100k --json FILE

A worker takes the catalogue and stops; one answers all events; then `millrace audit` computes them
again in a process of its own, and this is its report, with `worker_events_per_second`, what the
worker itself had answered a second.

What may keep answers from being equal is done on purpose: with `--items 100` so many items are
described anew while events come; with `--kill` the worker is killed half-way, and the next one
learns again what is behind the last checkpoint.
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

from benchmarks.end_to_end import Bench, publish_catalogue
from engine.datasets import open_dataset
from engine.evaluation.provenance import provenance
from engine.events import Interaction, Item
from streams.brokers import KafkaServer
from streams.messages.schemas import encode


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, nargs="?", default=Path("../shared/data/ml-100k"))
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--items", type=int, default=0, help="that change while events come")
    parser.add_argument("--kill", action="store_true", help="kill the worker half-way")
    parser.add_argument("--partitions", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1, help="at most one a partition")
    parser.add_argument("--checkpoint-seconds", type=float, default=86_400.0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    dataset = open_dataset(arguments.data, seed=arguments.seed)
    with KafkaServer() as kafka:
        bench = Bench(kafka.bootstrap, "audit", partitions=arguments.partitions)
        # The checkpoint of the catalogue is the one to begin with.
        kept = bench.settings.worker.model_copy(
            update={
                "checkpoint_seconds": arguments.checkpoint_seconds,
                "checkpoints_kept": 10_000,
            }
        )
        bench.settings = bench.settings.model_copy(update={"worker": kept})
        with bench.worker():
            publish_catalogue(bench, dataset)
        events = list(islice(dataset.interactions(), arguments.events))
        changed = [
            Item(item=item.item, title=f"{item.title}, anew", categories=item.categories)
            for item in islice(dataset.items(), arguments.items)
        ]
        per_second = answer_all(bench, events, changed, arguments.kill, arguments.workers)
        report = audited(bench)
    asked = ("events", "items", "kill", "checkpoint_seconds", "partitions", "workers")
    report |= {name: getattr(arguments, name) for name in asked}
    report["worker_events_per_second"] = per_second
    report |= provenance(dataset.name, arguments.seed)
    text = json.dumps(report, indent=2)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n")


def answer_all(
    bench: Bench, events: list[Interaction], changed: list[Item], kill: bool, workers: int
) -> int:
    """Have the events answered while these items change; returns how many a second."""
    names = bench.settings.topics
    every = len(events) // (len(changed) + 1) or 1

    def send(first: int, end: int) -> None:
        for number, event in enumerate(events[first:end], first):
            bench.send(names.interactions, event)
            if number % every == every - 1 and changed:
                bench.producer.flush()
                bench.await_answered(number, 600)  # or all items would come before the events
                item = changed.pop()
                bench.producer.produce(names.items, encode(item), item.item)
        bench.producer.flush()

    with ExitStack() as stack:
        worker, *_ = (stack.enter_context(bench.worker()) for _ in range(workers))
        bench.await_workers(workers)
        send(0, 1)
        bench.await_answered(1)
        started = time.monotonic()  # that of starting is nobody's
        if kill:
            send(1, len(events) // 2)
            bench.await_answered(len(events) // 3, 600)  # and not yet all that were sent
            worker.kill()
            stack.enter_context(bench.worker())
        send(len(events) // 2 if kill else 1, len(events))
        bench.await_answered(len(events), 600)
        return round(len(events) / (time.monotonic() - started))


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
