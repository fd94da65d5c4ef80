"""What initial weights of the head are worth that were learnt on other streams.

    python -m benchmarks.streams.leave_one_out ../shared/data --json leave_one_out.json

A stream is measured twice: with the head's own initial weights (`engine.features.table`), and with
the mean of what was learnt on all the *other* streams. What is learnt for that mean starts from
the head's own with twice their deviation.
"""

from __future__ import annotations

import argparse
import json
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.streams.measuring import datasets
from engine import EngineSettings, Interaction, Item, Recommender
from engine.evaluation.measures import K, RankingMeasures
from engine.evaluation.queries import prequential
from engine.features.table import FEATURE_NAMES, FEATURES, INITIAL_WEIGHTS
from engine.settings import ALL_KINDS

LIMIT = 10_000
Weights = NDArray[np.float64]


def measure(
    events: list[Interaction], items: list[Item], seed: int, weights: Weights, wider: float = 1.0
) -> tuple[RankingMeasures, RankingMeasures, Weights]:
    """An engine without text that begins with these weights in the constant context.

    Parameters
    ----------
    wider
        Factor of the weights' deviation.

    Returns
    -------
    whole, second_half, learnt
        Measures of the queries, and the weights in the end: float64[features].
    """
    engine = Recommender(EngineSettings(seed=seed, model="gnn", excludes=[ALL_KINDS]))
    for item in items:
        engine.upsert_item(item)
    engine.head.weights[:, 0] = weights * engine.head.active
    engine.head.covariance *= wider**2

    def rank(user: str) -> list[str]:
        return [ranked.item for ranked in engine.recommend(user, K).items]

    asked = [
        (step.ranked, step.item)
        for step in prequential(events, rank, engine.observe)
        if step.ranked is not None
    ]
    whole, second = RankingMeasures(), RankingMeasures()
    for place, (ranked, taken) in enumerate(asked):
        whole.add(ranked, taken)
        if place >= len(asked) // 2:
            second.add(ranked, taken)
    return whole, second, engine.head.weights[:, 0].copy()


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; returns the exit status."""
    given = _arguments(arguments)
    err = Console(stderr=True)
    streams: dict[str, tuple[list[Interaction], list[Item]]] = {}
    for path, dataset in datasets(given.data, given.seed):
        if isinstance(dataset, str):
            err.print(f"{path.name}: {dataset}", highlight=False, markup=False, soft_wrap=True)
            continue
        items = list(dataset.items())
        streams[path.name] = list(islice(dataset.interactions(), given.limit)), items
    if len(streams) < 2:
        err.print("of one stream none can be left out: give several", highlight=False)
        return 2
    own = np.array(INITIAL_WEIGHTS)
    learnt: dict[str, Weights] = {}
    for name, (events, items) in streams.items():
        err.print(f"{name}: learning its weights", style="dim")
        learnt[name] = measure(events, items, given.seed, own, wider=2.0)[2]
    rows: list[dict[str, Any]] = []
    for name, (events, items) in streams.items():
        err.print(f"{name}: measuring", style="dim")
        others = np.mean([learnt[other] for other in learnt if other != name], axis=0)
        row: dict[str, Any] = {"data": name, "events": len(events)}
        for way, weights in (("own", own), ("others", others)):
            whole, second, _ = measure(events, items, given.seed, weights)
            row |= {"queries": whole.queries, way: {"whole": whole.ndcg, "second": second.ndcg}}
        rows.append(row)
    mean = np.mean(list(learnt.values()), axis=0)
    report = {
        "rows": rows,
        "mean_learnt": {FEATURE_NAMES[k]: round(float(mean[k]), 3) for k in range(FEATURES)},
        "seed": given.seed,
        "limit": given.limit,
    }
    _print(Console(), rows)
    if given.json:
        given.json.write_text(json.dumps(report, indent=2) + "\n")
    return 0


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.streams.leave_one_out",
        description="Initial weights of the head that were learnt on all streams but the measured.",
        epilog="example: python -m benchmarks.streams.leave_one_out ../shared/data",
    )
    parser.add_argument(
        "data", type=Path, nargs="+", metavar="FOLDER", help="data sets, or folders of data sets"
    )
    parser.add_argument("--limit", type=int, default=LIMIT, metavar="N",
                        help="the first N events of each (default %(default)s)")  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report there as well")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


def _print(console: Console, rows: list[dict[str, Any]]) -> None:
    table = Table(box=box.SIMPLE, title="NDCG@10, whole and second half", title_justify="left")
    columns = ("", "queries", "own", "of the others", "ratios")
    for column in columns:
        table.add_column(column, justify="right" if column else "left")
    for row in rows:
        own, others = row["own"], row["others"]
        ratios = [others[part] / own[part] for part in ("whole", "second") if own[part]]
        table.add_row(
            row["data"], f"{row['queries']:,}",
            *(f"{way['whole']:.4f} {way['second']:.4f}" for way in (own, others)),
            " ".join(f"{ratio:.3f}" for ratio in ratios),
        )  # fmt: skip
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
