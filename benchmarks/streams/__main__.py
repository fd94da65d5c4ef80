"""Millrace beside its peers on every data set of some folders, in one run.

    python -m benchmarks.streams ../shared/data --json streams.json

Every contender meets the first events of a stream in order of time; each is asked for a list before
an event is learnt (`engine.evaluation.queries`). What counts is NDCG@10 over the second half of the
queries, and Millrace's ratio to the best peer of the same run. Peers need no torch; implicit's are
measured where it is installed (`pip install '.[peers]'`), and are a row that says so where not.

With `--repeats` an item that its user had is a query as well, and may be in all lists. With several
`--seeds` a stream is measured again in another order of events of equal time.
"""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.peers import versions
from benchmarks.streams.measuring import datasets, geometric_mean_ratio, over_seeds, stream_row
from engine import EngineSettings
from engine.evaluation.provenance import provenance

LIMIT = 40_000
"""Events of a stream by default."""


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; returns the exit status."""
    given = _arguments(arguments)
    with suppress(ImportError):  # an extra's; BLAS on one thread, like the engine
        import_module("benchmarks.implicit_peers")  # brings a BLAS of its own, to be limited too
        import_module("threadpoolctl").threadpool_limits(1)
    err = Console(stderr=True)
    rows: dict[Path, list[dict[str, Any]]] = {}
    left_out = {}
    for seed in range(given.seed, given.seed + given.seeds):
        settings = EngineSettings(seed=seed, model="gnn" if given.without_text else "hybrid")
        for path, dataset in datasets(given.data, seed):
            if isinstance(dataset, str):
                left_out[str(path.name)] = dataset
                continue
            row = stream_row(
                dataset, settings, limit=given.limit, repeats=given.repeats,
                on_contender=lambda name, path=path: err.print(f"{path.name}: {name}", style="dim"),  # type: ignore[misc]
            )  # fmt: skip
            rows.setdefault(path, []).append(row)
    if not rows:
        for name, why in left_out.items():
            err.print(f"{name}: {why}", highlight=False, markup=False, soft_wrap=True)
        return 2
    merged = [over_seeds(each) for each in rows.values()]
    report = {
        "rows": merged,
        "geometric_mean_ratio": geometric_mean_ratio(merged),
        "repeats": given.repeats,
        "limit": given.limit,
        "left_out": left_out,
        **provenance(", ".join(row["data"] for row in merged), given.seed),
        "packages": versions(),
    }
    print_report(Console(), report)
    if given.json:
        given.json.write_text(json.dumps(report, indent=2) + "\n")
    return 0


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.streams",
        description="Millrace beside its peers on many streams, prequentially.",
        epilog="example: python -m benchmarks.streams ../shared/data --json streams.json",
    )
    parser.add_argument(
        "data", type=Path, nargs="+", metavar="FOLDER", help="data sets, or folders of data sets"
    )
    parser.add_argument("--limit", type=int, default=LIMIT, metavar="N",
                        help="the first N events of each (default %(default)s)")  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report there as well")
    parser.add_argument("--repeats", action="store_true", help="what a user had may come again")
    parser.add_argument("--without-text", action="store_true", help="Millrace reads no texts")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=1, metavar="N",
                        help="measure with N seeds from --seed on")  # fmt: skip
    return parser.parse_args(arguments)


def print_report(console: Console, report: dict[str, Any]) -> None:
    """A table of the streams, and one of the contenders of each."""
    streams = Table(box=box.SIMPLE)
    for column in ("", "events", "queries", "Millrace", "best peer", "", "ratio", "events/s"):
        streams.add_column(column, justify="right" if column else "left")
    for row in report["rows"]:
        ratios = [ratio for ratio in row["ratios"] if ratio]
        ratio = f"{row['ratio']:.3f}" if row["ratio"] else "-"
        if len(ratios) > 1:
            ratio += f" ({min(ratios):.3f} to {max(ratios):.3f})"
        streams.add_row(
            row["data"], f"{row['events']:,}", f"{row['queries']:,}", f"{row['millrace']:.4f}",
            f"{row['best_peer']:.4f}", row["best_peer_name"], ratio,
            f"{row['events_per_second']:,}",
        )  # fmt: skip
    console.print(streams)
    for row in report["rows"]:
        table = Table(box=box.SIMPLE, title=row["data"], title_justify="left")
        for column in ("", "2nd half NDCG@10", "NDCG@10", "HR@10", "coverage@10", "µs/event"):
            table.add_column(column, justify="right" if column else "left")
        for one in row["contenders"]:
            if "queries" not in one:
                table.add_row(one["name"], *["not run"] * 5)
                continue
            cost = 1e6 / one["events_per_second"] if one["events_per_second"] else 0.0
            table.add_row(
                one["name"], f"{one['second_half']['ndcg@10']:.4f}", f"{one['ndcg@10']:.4f}",
                f"{one['hr@10']:.4f}", f"{one['coverage@10']:.3f}", f"{cost:,.0f}",
            )  # fmt: skip
        console.print(table)
    mean = report["geometric_mean_ratio"]
    console.print(f"geometric mean of the ratios: {mean}", highlight=False)
    for name, why in report["left_out"].items():
        console.print(f"left out: {name}: {why}", highlight=False, markup=False, soft_wrap=True)
    console.print(
        f"[dim]seed {report['seed']} · millrace {report['version']} · {report['machine']}"
    )


if __name__ == "__main__":
    sys.exit(main())
