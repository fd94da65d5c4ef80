"""Millrace beside other recommenders: quality and speed on one data set, in one run.

    pip install '.[peers]'
    python -m benchmarks.peers ../shared/data/ml-100k --json FILE

Every contender meets the same events in order of time, each as a fresh process would, one after
the other. An event is first asked for, then learnt; the ranking is full (all items that the user
has not taken), and items never seen before count as misses. What is a query is
`engine.evaluation.prequential.is_query`.

`events_per_second` is all events over the time spent in queries and learning, refits included, on
one thread. The catalogue's text is encoded before the clock starts.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from importlib import import_module
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from time import perf_counter
from types import ModuleType
from typing import Any

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from benchmarks.contenders import Contender, MarkovChain, Millrace, Popularity
from engine import EngineSettings, Interaction, Item
from engine.datasets import DatasetError, open_dataset
from engine.evaluation.measures import RankingMeasures
from engine.evaluation.prequential import RECENT_HALF_LIFE, is_query
from engine.evaluation.provenance import provenance

QUICK = 10_000
"""Events of `--quick`."""
SHOWN_EVERY = 100
"""Events between two movements of the progress bar."""

Make = Callable[[], Contender]
Row = dict[str, Any]


def main() -> None:
    """Run the benchmark."""
    arguments = _arguments()
    library = _library_peers()
    library.use_one_thread()
    err = Console(stderr=True)
    try:
        dataset = open_dataset(arguments.data, seed=arguments.seed)
    except DatasetError as error:
        raise SystemExit(str(error)) from error
    items = list(dataset.items())
    events = list(islice(dataset.interactions(), arguments.limit))
    rows = measure_all(contenders(library, items, arguments.seed), events, err)
    report = {
        "rows": rows,
        "events": len(events),
        **provenance(f"{dataset.name} ({dataset.format})", arguments.seed),
        "packages": {name: version(name) for name in library.PACKAGES},
    }
    print_table(Console(), report)
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Millrace beside other recommenders: quality and speed, prequentially.",
        epilog="example: python -m benchmarks.peers path/to/ml-100k --quick --json peers.json",
    )
    parser.add_argument("data", type=Path, metavar="PATH", help="a data set, as `millrace replay`")
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        "--quick", dest="limit", action="store_const", const=QUICK, help=f"{QUICK:,} events"
    )
    length.add_argument("--limit", type=int, metavar="N", help="the first N events only")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report there as well")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def _library_peers() -> ModuleType:
    """The module of the peers that come from the extra."""
    try:
        return import_module("benchmarks.library_peers")
    except ImportError as error:
        raise SystemExit(
            f"a contender cannot be imported ({error}): pip install '.[peers]'"
        ) from error


def contenders(library: Any, items: Sequence[Item], seed: int) -> list[Make]:
    """All contenders, each to be made when its turn comes."""
    return [
        lambda: Millrace(EngineSettings(seed=seed), items),
        # The peers know of no catalogue either.
        lambda: Millrace(EngineSettings(seed=seed, model="gnn")),
        Popularity,
        lambda: Popularity(RECENT_HALF_LIFE),
        MarkovChain,
        library.ImplicitKNN,
        lambda: library.ImplicitALS(seed),
        lambda: library.RiverMF(seed),
        lambda: library.FlursMF(seed),
        lambda: library.FlursBPR(seed),
    ]


def measure_all(makes: Sequence[Make], events: list[Interaction], err: Console) -> list[Row]:
    """A row for each contender, with a progress bar."""
    rows = []
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[name]}"),
        TimeRemainingColumn(),
        console=err,
        transient=True,
    ) as bars:
        queries = list(mark_queries(events))
        for number, make in enumerate(makes, 1):
            task = bars.add_task(f"{number} of {len(makes)}", total=len(events), name="starting")
            contender = make()
            bars.update(task, name=contender.name)
            rows.append(measure(contender, events, queries, partial(bars.advance, task)))
            bars.remove_task(task)
    return rows


def mark_queries(events: Iterable[Interaction]) -> Iterator[bool]:
    """For each event in order, whether it is a query."""
    taken: defaultdict[str, set[str]] = defaultdict(set)
    for event in events:
        yield is_query(event, taken[event.user])
        if event.item is not None:
            taken[event.user].add(event.item)


def measure(
    contender: Contender,
    events: Sequence[Interaction],
    queries: Sequence[bool],
    on_progress: Callable[[int], object] = lambda _: None,
) -> Row:
    """Test, then train, on each event; `queries` says which are tested."""
    whole, second_half = RankingMeasures(), RankingMeasures()
    first_half = sum(queries) // 2
    seconds = 0.0
    for number, (event, query) in enumerate(zip(events, queries, strict=True), 1):
        started = perf_counter()
        ranked = contender.recommend(event.user) if query else []
        contender.observe(event)
        seconds += perf_counter() - started
        if query and event.item is not None:
            whole.add(ranked, event.item)
            if whole.queries > first_half:
                second_half.add(ranked, event.item)
        if number % SHOWN_EVERY == 0:
            on_progress(SHOWN_EVERY)
    return {
        "name": contender.name,
        "settings": contender.settings,
        **_quality(whole),
        "second_half": _quality(second_half),
        "events_per_second": round(len(events) / seconds) if seconds else 0,
    }


def _quality(measures: RankingMeasures) -> dict[str, float | int]:
    return {key: measures.as_dict()[key] for key in ("ndcg@10", "hr@10", "queries")}


def print_table(console: Console, report: dict[str, Any]) -> None:
    """The report as a table, and a line on where it comes from."""
    queries = report["rows"][0]["queries"]
    table = Table(
        box=box.SIMPLE,
        title=f"{report['data']} · {report['events']:,} events · {queries:,} queries",
        title_justify="left",
    )
    table.add_column("")
    for column in ("NDCG@10", "HR@10", "2nd half\nNDCG@10", "2nd half\nHR@10", "events/s"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in report["rows"]:
        half = row["second_half"]
        table.add_row(
            row["name"], f"{row['ndcg@10']:.4f}", f"{row['hr@10']:.4f}",
            f"{half['ndcg@10']:.4f}", f"{half['hr@10']:.4f}", f"{row['events_per_second']:,}",
        )  # fmt: skip
    console.print(table)
    settings = Table.grid(padding=(0, 2))
    for row in report["rows"]:
        settings.add_row(row["name"], row["settings"], style="dim")
    console.print(settings)
    packages = " · ".join(f"{name} {number}" for name, number in report["packages"].items())
    console.print(
        f"[dim]seed {report['seed']} · millrace {report['version']} · {packages} · "
        f"{report['machine']}"
    )


if __name__ == "__main__":
    main()
