"""Recommenders that answer over HTTP, side by side: freshness, latency, quality, memory.

    make peers DATA=../shared/data/ml-100k
    python -m benchmarks.http_peers ../shared/data/ml-100k --json FILE        # this part of it

Each contender in turn is told the catalogue and a history, has time to take it in, and then meets

1. the stream at `--rate` events/s: asked for each event, then fed it (`quality`);
2. users who take what they are shown (`own feedback`);
3. new items that three users liked (`what others taught`).

One client, one connection that is kept open, one request at a time, for all. `benchmarks.
http_peers.freshness` says what is timed. Millrace runs with one worker, and once more with two, of
which one is fed and the other asked; from Kafka's topics as well, without HTTP (`topic`).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from itertools import islice
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.http_peers import services
from benchmarks.http_peers.freshness import Events, own_feedback, what_others_taught
from benchmarks.http_peers.quality import histories, prequential
from benchmarks.http_peers.services import MissingServiceError, Service
from benchmarks.http_peers.topic import topic_feedback
from engine.datasets import DatasetError, open_dataset
from engine.evaluation.provenance import provenance
from engine.events import Interaction, Item
from streams.brokers import BrokerError, KafkaServer

PATIENCE_SECONDS = 120.0
LATEST = 5_000
"""Events whose users take part in the freshness figures: they are there now."""
METARANK = "not run: its jar is on no package registry; the adapter is tested against its documents"

SHOWN = ("p50", "p99", "max")

Row = dict[str, Any]
console = Console(stderr=True)


def main() -> None:
    """Run the benchmark."""
    arguments = _arguments()
    try:
        dataset = open_dataset(arguments.data, seed=arguments.seed)
    except DatasetError as error:
        raise SystemExit(str(error)) from error
    items = list(dataset.items())
    events = list(islice(dataset.interactions(), arguments.history + arguments.events))
    history, stream = events[: arguments.history], events[arguments.history :]
    if not stream:
        raise SystemExit(f"--history: {len(events):,} events are all there are; none is left")
    runs: list[tuple[str, Callable[[], AbstractContextManager[Service]]]] = []
    with KafkaServer() as kafka:
        runs = [
            ("Millrace", lambda: services.millrace(kafka.bootstrap, "one")),
            ("Millrace", lambda: services.millrace(kafka.bootstrap, "two", workers=2)),
            ("gorse", lambda: services.gorse(services.find_gorse())),
        ]
        rows = []
        for name, start in runs:
            console.print(f"{name}: starting")
            try:
                with start() as service:
                    rows.append(measure(service, items, history, stream, arguments))
            except MissingServiceError as error:
                rows.append({"name": name, "settings": str(error)})
    rows.append({"name": "Metarank", "settings": METARANK})
    report = {
        "rows": rows,
        "history": len(history),
        "events": len(stream),
        "rate": arguments.rate,
        **provenance(f"{dataset.name} ({dataset.format})", arguments.seed),
    }
    print_tables(Console(), report)
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="HTTP recommenders side by side: freshness, latency, quality, memory.",
        epilog="example: python -m benchmarks.http_peers path/to/ml-100k --json http.json",
    )
    parser.add_argument("data", type=Path, metavar="PATH", help="a data set, as `millrace replay`")
    parser.add_argument("--history", type=int, default=50_000, help="events told before")
    parser.add_argument("--events", type=int, default=2_000, help="events of the stream")
    parser.add_argument("--rate", type=float, default=20.0, help="its events a second")
    parser.add_argument("--own", type=int, default=300, help="tries for own feedback")
    parser.add_argument("--others", type=int, default=30, help="tries for what others taught")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report there as well")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def measure(
    service: Service,
    items: list[Item],
    history: list[Interaction],
    stream: list[Interaction],
    arguments: argparse.Namespace,
) -> Row:
    """Everything of one contender."""
    contender, seed = service.contender, arguments.seed
    contender.add_items(items)
    service.feed_many(history)
    console.print(f"{contender.name}: takes in {len(history):,} events")
    service.catch_up()
    console.print(f"{contender.name}: the stream")
    quality = prequential(contender, history, stream, arguments.rate)
    known = histories([*history, *stream])
    users = sorted({event.user for event in [*history, *stream][-LATEST:]})
    invented = Events("peers", stream[-1].timestamp)
    console.print(f"{contender.name}: own feedback")
    own = own_feedback(contender, users, invented, arguments.own, PATIENCE_SECONDS, seed)
    row = {"name": contender.name, "settings": contender.settings, **quality, "own": own}
    if service.settings is not None:
        console.print(f"{contender.name}: own feedback, on the topics")
        names = sorted({item for taken in known.values() for item in taken})
        row["topic"] = topic_feedback(
            service.settings, users, names, Events("topic", invented.now), arguments.own, seed
        )
    console.print(f"{contender.name}: what others taught")
    row["others"] = what_others_taught(
        contender, known, Events("others", invented.now), arguments.others, PATIENCE_SECONDS, seed
    )
    return {**row, "resident_mb": service.resident_mb()}


def print_tables(out: Console, report: dict[str, Any]) -> None:
    """The report as tables, and a line on where it comes from."""
    table = Table(
        box=box.SIMPLE,
        title=f"{report['data']} · {report['history']:,} events of history, then "
        f"{report['events']:,} at {report['rate']:g}/s · ms: p50 / p99 / max",
        title_justify="left",
    )
    table.add_column("")
    for column in (
        "NDCG@10", "HR@10", "query", "own feedback", "a query\nalone", "from the topic",
        "what others\ntaught", "memory\nMB",
    ):  # fmt: skip
        table.add_column(column, justify="right")
    for row in report["rows"]:
        if "queries" not in row:
            table.add_row(row["name"], *["not run"] * 2)
            continue
        table.add_row(
            row["name"], f"{row['ndcg@10']:.4f}", f"{row['hr@10']:.4f}", _spread(row["query_ms"]),
            _spread(row["own"]["accepted_ms"]), _spread(row["own"]["floor_ms"]),
            _spread(row.get("topic", {}).get("accepted_ms", {})),
            _spread(row["others"]["accepted_ms"]), f"{row['resident_mb']:,.0f}",
        )  # fmt: skip
    measured = next(row for row in report["rows"] if "queries" in row)
    baseline = measured["popularity"]
    table.add_row("popularity", f"{baseline['ndcg@10']:.4f}", f"{baseline['hr@10']:.4f}")
    out.print(table)
    notes = Table.grid(padding=(0, 2))
    for row in report["rows"]:
        note = row["settings"]
        if "queries" in row:
            own, others = row["own"], row["others"]
            note += (
                f"; own feedback n = {own['n']}, {own['unchanged']} unchanged, more than the taken "
                f"item moved in {own['moved_share']}; what others taught n = {others['n']}, "
                f"{others['never']} never; stream took {row['seconds']:g} s"
            )
        notes.add_row(row["name"], note, style="dim")
    out.print(notes)
    out.print(
        f"[dim]{measured['queries']:,} queries · seed {report['seed']} · "
        f"millrace {report['version']} · {report['machine']}"
    )


def _spread(milliseconds: dict[str, float]) -> str:
    if not milliseconds:
        return ""
    shown = [milliseconds[key] for key in SHOWN]
    return " / ".join(f"{value:,.{0 if value >= 100 else 1}f}" for value in shown)


if __name__ == "__main__":
    try:
        main()
    except BrokerError as error:
        raise SystemExit(str(error)) from error
