"""Millrace beside other recommenders: quality and speed on one data set, in one run.

    make peers DATA=../shared/data/ml-100k
    python -m benchmarks.peers ../shared/data/ml-100k --json FILE     # this part of it

Every contender meets the same events in order of time, each as a fresh process would, one after
the other. An event is first asked for, then learnt; the ranking is full (all items that the user
has not taken), and items never seen before count as misses. What is a query is
told by `engine.evaluation.queries`.

`events_per_second` is all events over the time spent in queries and learning, refits included, on
one thread; `longest_ms` is the longest that one event took, which is a refit where there are any.
The catalogue's text is encoded before the clock starts.

A contender whose package is not installed is named, with what to install. What cannot be run at
all is there with the figures that its authors publish (`benchmarks.published`).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from functools import partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from benchmarks.contenders import Contender
from benchmarks.line_up import Make, MissingPackageError, line_up
from benchmarks.published import PUBLISHED
from engine import Interaction
from engine.datasets import DatasetError, open_dataset
from engine.evaluation.measures import K, RankingMeasures
from engine.evaluation.provenance import provenance
from engine.evaluation.queries import Asks, prequential

QUICK = 10_000
"""Events of `--quick`."""
SHOWN_EVERY = 100
"""Events between two movements of the progress bar."""

PACKAGES = ("implicit", "river", "flurs", "torch", "scipy", "numpy")
"""Whose versions the figures depend on."""

Row = dict[str, Any]


def main() -> None:
    """Run the benchmark."""
    arguments = _arguments()
    use_one_thread()
    err = Console(stderr=True)
    try:
        dataset = open_dataset(arguments.data, seed=arguments.seed)
    except DatasetError as error:
        raise SystemExit(str(error)) from error
    items = list(dataset.items())
    events = list(islice(dataset.interactions(), arguments.limit))
    rows = measure_all(line_up(items, arguments.seed), events, err)
    report = {
        "rows": rows,
        "events": len(events),
        **provenance(f"{dataset.name} ({dataset.format})", arguments.seed),
        "packages": versions(),
        "published": [figure._asdict() for figure in PUBLISHED],
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


def use_one_thread() -> None:
    """Keep BLAS to one thread from now on, so that all contenders have one like the engine."""
    try:
        limits = import_module("threadpoolctl").threadpool_limits
    except ImportError as error:
        raise SystemExit(f"{error}: pip install '.[peers]'") from error
    limits(1)


def versions() -> dict[str, str]:
    """Versions of those of `PACKAGES` that are installed."""
    found = {}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


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
        for number, make in enumerate(makes, 1):
            task = bars.add_task(f"{number} of {len(makes)}", total=len(events), name="starting")
            try:
                contender = make()
            except MissingPackageError as error:
                rows.append({"name": getattr(make, "name", ""), "settings": str(error)})
            else:
                bars.update(task, name=contender.name)
                rows.append(measure(contender, events, partial(bars.advance, task)))
            bars.remove_task(task)
    return rows


def measure(
    contender: Contender,
    events: Sequence[Interaction],
    on_progress: Callable[[int], object] = lambda _: None,
    on: Collection[Asks] = ("query",),
) -> Row:
    """Test, then train, on each event; a list is asked of those in `on`."""
    whole, second_half = RankingMeasures(), RankingMeasures()
    asked: list[tuple[list[str], str]] = []
    clock = _Clock(contender)
    steps = prequential(events, clock.recommend, clock.observe, on=on)
    for number, step in enumerate(steps, 1):
        clock.end_event()
        if step.ranked is not None:
            asked.append((step.ranked[:K], step.item))
        if number % SHOWN_EVERY == 0:
            on_progress(SHOWN_EVERY)
    for place, (ranked, item) in enumerate(asked):
        whole.add(ranked, item)
        if place >= len(asked) // 2:
            second_half.add(ranked, item)
    return {
        "name": contender.name,
        "settings": contender.settings,
        **_quality(whole),
        "coverage@10": whole.as_dict(len({event.item for event in events}))["coverage@10"],
        "second_half": _quality(second_half),
        "events_per_second": round(len(events) / clock.seconds) if clock.seconds else 0,
        "longest_ms": round(clock.longest * 1e3, 1),
        **_refits(contender),
    }


class _Clock:
    """A contender's two calls, timed.

    Attributes
    ----------
    seconds, longest
        All its events took, and the longest of them.
    """

    def __init__(self, contender: Contender) -> None:
        self.seconds = self.longest = 0.0
        self._contender = contender
        self._event = 0.0

    def recommend(self, user: str) -> list[str]:
        started = perf_counter()
        ranked = self._contender.recommend(user)
        self._event += perf_counter() - started
        return ranked

    def observe(self, interaction: Interaction) -> None:
        started = perf_counter()
        self._contender.observe(interaction)
        self._event += perf_counter() - started

    def end_event(self) -> None:
        self.seconds += self._event
        self.longest = max(self.longest, self._event)
        self._event = 0.0


def _refits(contender: Contender) -> dict[str, Any]:
    """What a batch model's refits cost, in seconds; nothing of one that has none."""
    took: list[float] = getattr(contender, "refits", [])
    if not took:
        return {}
    mean, longest = sum(took) / len(took), max(took)
    return {"refits": {"count": len(took), "mean_s": round(mean, 3), "max_s": round(longest, 3)}}


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
    columns = (
        "NDCG@10",
        "HR@10",
        "2nd half\nNDCG@10",
        "2nd half\nHR@10",
        "events/s",
        "longest, ms",
    )
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    for row in report["rows"]:
        if "queries" not in row:
            table.add_row(row["name"], *["not run"] * len(columns))
            continue
        half = row["second_half"]
        table.add_row(
            row["name"], f"{row['ndcg@10']:.4f}", f"{row['hr@10']:.4f}",
            f"{half['ndcg@10']:.4f}", f"{half['hr@10']:.4f}", f"{row['events_per_second']:,}",
            f"{row['longest_ms']:,.1f}",
        )  # fmt: skip
    console.print(table)
    settings = Table.grid(padding=(0, 2))
    for row in report["rows"]:
        cost = ""
        if found := row.get("refits"):
            cost = (
                f"; {found['count']} refits of {found['mean_s']:g} s, {found['max_s']:g} s at most"
            )
        settings.add_row(row["name"], Text(row["settings"] + cost), style="dim")
    console.print(settings)
    console.print("\npublished by their authors, of other data and machines; not run here")
    published = Table.grid(padding=(0, 2))
    for figure in report["published"]:
        published.add_row(figure["system"], f"{figure['figure']} ({figure['source']})")
    console.print(published)
    packages = " · ".join(f"{name} {number}" for name, number in report["packages"].items())
    console.print(
        f"[dim]seed {report['seed']} · millrace {report['version']} · {packages} · "
        f"{report['machine']}"
    )


if __name__ == "__main__":
    main()
