"""Measure streams: every contender on each, in one process, one after the other."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.contenders import MarkovChain, Millrace, Popularity
from benchmarks.line_up import LibraryMake, Make, MissingPackageError
from benchmarks.peers import Row, measure
from benchmarks.streams.contenders import Ease, ItemKnn, RepeatLast, SessionKnn, UserKnn
from engine import EngineSettings, Interaction, Item
from engine.datasets import Dataset, DatasetError, open_dataset
from engine.evaluation.baselines import RECENT_HALF_LIFE
from engine.evaluation.queries import Asks
from engine.settings import ALL_KINDS

OURS = ("Millrace", "Millrace without text")
"""Names of contenders that are no peers."""


def peers(repeats: bool, seed: int = 0, libraries: bool = True) -> list[Make]:
    """Those that Millrace is measured beside; none needs torch, and own ones no other library."""
    own: list[Make] = [
        lambda: Popularity(repeats=repeats),
        lambda: Popularity(RECENT_HALF_LIFE, repeats),
        lambda: ItemKnn(repeats),
        lambda: UserKnn(repeats),
        lambda: SessionKnn(repeats),
        lambda: Ease(repeats),
    ]
    if repeats:
        return [*own, RepeatLast]
    own.append(MarkovChain)
    if not libraries:
        return own
    return [
        *own,
        LibraryMake("implicit TF-IDF kNN", "implicit_peers", lambda m: m.ImplicitKNN()),
        LibraryMake("implicit ALS", "implicit_peers", lambda m: m.ImplicitALS(seed)),
    ]


def ours(settings: EngineSettings, items: Sequence[Item]) -> list[Make]:
    """Millrace as it is set, and without text where there is any to read."""
    makes: list[Make] = [lambda: Millrace(settings, items)]
    if settings.model != "gnn":
        makes.append(lambda: Millrace(settings.model_copy(update={"model": "gnn"}), items))
    return makes


def datasets(paths: Sequence[Path], seed: int) -> Iterator[tuple[Path, Dataset | str]]:
    """The data sets at the paths; of one that cannot be read, the reason.

    A folder that holds folders only is taken for several data sets.
    """
    for path in paths:
        children = sorted(path.iterdir()) if path.is_dir() else []
        several = bool(children) and all(child.is_dir() for child in children)
        for one in children if several else [path]:
            try:
                yield one, open_dataset(one, seed=seed)
            except DatasetError as error:
                yield one, str(error)


def stream_row(
    dataset: Dataset,
    settings: EngineSettings,
    *,
    limit: int | None,
    repeats: bool = False,
    libraries: bool = True,
    on_contender: Callable[[str], object] = lambda _: None,
) -> dict[str, Any]:
    """Measure every contender on one data set.

    Parameters
    ----------
    limit
        The first events only.
    repeats
        Whether an item that its user had is a query, and may be in the lists.
    libraries
        Whether peers of other libraries are measured too.
    on_contender
        Called with the name of each that begins.

    Returns
    -------
    dict
        `data`, `events`, `queries`; `millrace`, `best_peer` (NDCG@10 of the second half),
        `best_peer_name`, `ratio` and `events_per_second`; `contenders`, a row of each.
    """
    items = list(dataset.items())
    events = list(islice(dataset.interactions(), limit))
    return row_of(dataset.name, events, items, settings, repeats, libraries, on_contender)


def row_of(
    data: str,
    events: Sequence[Interaction],
    items: Sequence[Item],
    settings: EngineSettings,
    repeats: bool = False,
    libraries: bool = True,
    on_contender: Callable[[str], object] = lambda _: None,
) -> dict[str, Any]:
    """As :func:`stream_row`, of events that are at hand."""
    on: tuple[Asks, ...] = ("query", "repeat") if repeats else ("query",)
    settings = settings.model_copy(update={"excludes": [] if repeats else [ALL_KINDS]})
    measured: list[Row] = []
    for make in [*ours(settings, items), *peers(repeats, settings.seed, libraries)]:
        try:
            contender = make()
        except MissingPackageError as error:
            measured.append({"name": getattr(make, "name", ""), "settings": str(error)})
            continue
        on_contender(contender.name)
        measured.append(measure(contender, events, on=on, catalogue=items))
    best = max(
        (row for row in measured if row["name"] not in OURS and "queries" in row), key=second_half
    )
    millrace, second = second_half(measured[0]), second_half(best)
    return {
        "data": data,
        "events": len(events),
        "queries": measured[0]["queries"],
        "millrace": millrace,
        "best_peer": second,
        "best_peer_name": best["name"],
        "ratio": round(millrace / second, 4) if second else None,
        "events_per_second": measured[0]["events_per_second"],
        "contenders": measured,
    }


def second_half(row: Row) -> float:
    """A contender's NDCG@10 over the second half of the queries."""
    return float(row["second_half"]["ndcg@10"])


def over_seeds(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One row of a stream that was measured with several seeds, which order ties and begin models.

    The figures are those of the first seed; `ratios` has the ratio of each.
    """
    return {**rows[0], "ratios": [row["ratio"] for row in rows]}


def geometric_mean_ratio(rows: Sequence[dict[str, Any]]) -> float | None:
    """Of the streams on which anything was hit; None without any."""
    logs = [math.log(row["ratio"]) for row in rows if row["ratio"]]
    return round(math.exp(sum(logs) / len(logs)), 4) if logs else None
