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
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from itertools import islice
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.http_peers import services
from benchmarks.http_peers.freshness import Events, own_feedback, what_others_taught
from benchmarks.http_peers.quality import histories, prequential
from benchmarks.http_peers.services import MissingServiceError, Service, ServiceError
from benchmarks.http_peers.topic import topic_feedback
from engine.datasets import DatasetError, open_dataset
from engine.evaluation.provenance import provenance
from engine.events import Interaction, Item
from streams.brokers import BrokerError, KafkaServer

PATIENCE_SECONDS = 180.0
LATEST = 5_000
"""Events whose users take part in the freshness figures: they are there now."""
METARANK = (
    "not run: its jar is on GitHub and Docker Hub, not on Maven Central; the adapter is tested "
    "against its documents"
)

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
    parser.add_argument("--history", type=int, default=20_000, help="events told before")
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
    """The report as two tables, and lines on where it comes from."""
    measured = [row for row in report["rows"] if "queries" in row]
    quality = Table(
        box=box.SIMPLE,
        title=f"{report['data']} · {report['history']:,} events of history, then "
        f"{report['events']:,} at {report['rate']:g}/s",
        title_justify="left",
    )
    quality.add_column("")
    for column in ("NDCG@10", "HR@10", "query, ms\np50", "\np99", "memory\nMB"):
        quality.add_column(column, justify="right", no_wrap=True)
    for row in report["rows"]:
        if row not in measured:
            quality.add_row(row["name"], "not run")
            continue
        quality.add_row(
            row["name"], f"{row['ndcg@10']:.4f}", f"{row['hr@10']:.4f}",
            _shown(row["query_ms"]["p50"]), _shown(row["query_ms"]["p99"]),
            f"{row['resident_mb']:,.0f}",
        )  # fmt: skip
    baseline = measured[0]["popularity"]
    quality.add_row("popularity", f"{baseline['ndcg@10']:.4f}", f"{baseline['hr@10']:.4f}")
    out.print(quality)

    fresh = Table(box=box.SIMPLE, title="freshness, ms from acceptance", title_justify="left")
    fresh.add_column("")
    fresh.add_column("until")
    for column in ("p50", "p99", "max", "n"):
        fresh.add_column(column, justify="right", no_wrap=True)
    for row in measured:
        for until, milliseconds, count in _freshness(row):
            shown = [_shown(milliseconds[key]) if milliseconds else "never" for key in SHOWN]
            fresh.add_row(row["name"], until, *shown, count)
    out.print(fresh)

    notes = Table.grid(padding=(0, 2))
    for row in report["rows"]:
        note = row["settings"]
        if row in measured:
            note += (
                f"; the stream took {row['seconds']:g} s; in {row['own']['moved_share']} of the "
                "changed answers more than the taken item moved"
            )
        notes.add_row(row["name"], Text(note), style="dim")
    out.print(notes)
    out.print(
        f"[dim]{measured[0]['queries']:,} queries · seed {report['seed']} · "
        f"millrace {report['version']} · {report['machine']}"
    )


def _freshness(row: Row) -> Iterator[tuple[str, dict[str, float], str]]:
    """What was waited for, how long it took, and in how many tries of how many it came."""
    own, others = row["own"], row["others"]
    tries = own["n"] + own["unchanged"]
    yield "own feedback changes the answer", own["accepted_ms"], f"{own['n']}/{tries}"
    yield "(a query alone)", own["floor_ms"], f"{tries}"
    if topic := row.get("topic"):
        yield "the answer is on the output topic", topic["accepted_ms"], f"{topic['n']}"
        yield "(Kafka alone)", topic["floor_ms"], f"{topic['n']}"
    tries = others["n"] + others["never"]
    yield "three others' new item is offered", others["accepted_ms"], f"{others['n']}/{tries}"


def _shown(milliseconds: float) -> str:
    return f"{milliseconds:,.{0 if milliseconds >= 100 else 1}f}"


if __name__ == "__main__":
    try:
        main()
    except (BrokerError, ServiceError) as error:
        raise SystemExit(str(error)) from error
