"""Several engines that share their items, in one process and without Kafka: quality and costs.

    python -m benchmarks.shared_items [--data ml-100k] [--engines 2 4] [--limit ROWS] [--json FILE]

Each engine has the users of one partition, by the hash of their ids. After every `EVENTS_A_FLUSH`
events of the stream each engine tells the others what it added to its items (`engine.sharing`), as
bytes, which they add to theirs: four flushes a second at 1,000 events a second in all. Every user
is asked of their owner, before the event (prequentially).

- `ndcg`: NDCG@10 of one engine that has all users, of several that share their items, and of
  several that share nothing. `ndcg_ratio`: of those that share, to one.
- `own_event_us`: CPU time of an event at its owner, by engines; with 1, nothing is shared.
- `delta_bytes_per_event`: of the messages, by engines.
- `flush_us`: CPU time to collect and pack a delta, and to unpack and add one, for a row that it
  changes (a transition is a row); of the latter, fitted to a line, what a delta takes whatever it
  holds (`fixed`) and what a row adds to it (`more_per_row`); rows of a delta, the median; flushes a
  second.
- `distinct_rows`: of the rows that all engines tell in a flush, the share that would be left if
  they were added up before anybody reads them.
- `following_us`: CPU time of an engine for an event of another's; `following_share`: of a core, at
  1,000 events a second in all.
- `large`: the same costs with a catalogue of `LARGE` items without texts, two engines.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from rich.console import Console

from engine import EngineSettings, Interaction, Item, Recommender
from engine.datasets import Dataset, Synthetic, open_dataset
from engine.evaluation.measures import RankingMeasures
from engine.evaluation.provenance import provenance
from engine.evaluation.queries import TAKES, Queries, prequential
from engine.events import item_text
from engine.sharing import ItemDelta
from engine.text.encoder import TextEncoder

EVENTS_A_SECOND, FLUSHES_A_SECOND = 1_000, 10
EVENTS_A_FLUSH = EVENTS_A_SECOND // FLUSHES_A_SECOND
LARGE, LARGE_EVENTS = 100_000, 10_000
console = Console(stderr=True)
Catalogue = Sequence[tuple[Item, Any]]


class Fleet:
    """Engines that have a partition of the users each, and what sharing their items took."""

    def __init__(
        self,
        engines: int,
        settings: EngineSettings,
        catalogue: Catalogue,
        shares: bool,
        limit: int = 1 << 30,
    ) -> None:
        self.engines = [Recommender.new(settings) for _ in range(engines)]
        self._shares, self._limit = shares, limit
        for engine in self.engines:
            if shares:
                engine.share()
            for item, embedding in catalogue:
                engine.upsert_item(item, embedding)
        self._offsets, self._told = [0] * engines, [0] * engines
        self.events = self.bytes = 0
        self.observing = 0.0
        self.rows: list[int] = []
        self.collecting: list[float] = []
        self.adding: list[float] = []
        self._added: list[int] = []  # rows of each delta that was added
        self._distinct = 0

    def owner(self, user: str) -> int:
        """Which engine has a user."""
        return crc32(user.encode()) % len(self.engines)

    def rank(self, user: str) -> list[str]:
        """The user's list, of their owner."""
        return [ranked.item for ranked in self.engines[self.owner(user)].recommend(user, 10).items]

    def observe(self, event: Interaction) -> None:
        """Have the owner take an event in; after enough of them all tell what they added."""
        owner = self.owner(event.user)
        began = time.process_time()
        self.engines[owner].observe(event)
        self.observing += time.process_time() - began
        self._offsets[owner] += 1
        self.events += 1
        if self._shares and self.events % EVENTS_A_FLUSH == 0:
            self._flush()

    def _flush(self) -> None:
        messages = []
        distinct: set[tuple[str, ...]] = set()
        for number, engine in enumerate(self.engines):
            first, end = self._told[number], self._offsets[number]
            if first < end:
                began = time.process_time()
                delta = engine.collect_delta({number: (first, end)}, self._limit)
                message = delta.encode()
                self.collecting.append(time.process_time() - began)
                self.rows.append(delta.rows)
                self.bytes += len(message)
                self._told[number] = end
                messages.append((number, message, delta.rows))
                distinct |= rows_of(delta)
        self._distinct += len(distinct)
        for owner, message, rows in messages:
            for number, engine in enumerate(self.engines):
                if number != owner:
                    began = time.process_time()
                    delta = ItemDelta.decode(message, engine.settings.dimensions)
                    engine.apply_delta(delta)
                    self.adding.append(time.process_time() - began)
                    self._added.append(rows)

    @property
    def own_event_us(self) -> float:
        """CPU time of an event at the engine whose user's it is, answered."""
        return round(self.observing / self.events * 1e6, 1)

    def costs(self) -> dict[str, Any]:
        """What sharing took; see the module."""
        others = len(self.engines) - 1
        following = (
            sum(self.adding) / (self.events * others / len(self.engines)) / len(self.engines)
        )
        more, fixed = np.polyfit(self._added, self.adding, 1) * 1e6
        return {
            "own_event_us": self.own_event_us,
            "delta_bytes_per_event": round(self.bytes / self.events, 1),
            "distinct_rows": round(self._distinct / sum(self.rows), 3),
            "rows_per_event": round(sum(self.rows) / self.events, 1),
            "flush_us": {
                "per_row_told": round(sum(self.collecting) / sum(self.rows) * 1e6, 3),
                "per_row": round(sum(self.adding) / (sum(self.rows) * others) * 1e6, 3),
                "fixed": round(float(fixed), 1),
                "more_per_row": round(float(more), 3),
                "rows": float(np.median(self.rows)),
                "per_second": FLUSHES_A_SECOND,
            },
            "following_us": round(following * 1e6, 1),
            "following_share": round(
                sum(self.adding) / len(self.engines) / (self.events / EVENTS_A_SECOND), 4
            ),
        }


def rows_of(delta: ItemDelta) -> set[tuple[str, ...]]:
    """What a delta changes: the table and the item, or both items of a transition."""
    name = delta.names.__getitem__
    tables = {"counts": delta.counted.items, "bias": delta.biased.items} | {
        table: part.items for table, part in delta.learnt.items()
    }
    rows: set[tuple[str, ...]] = {
        (table, name(item)) for table, items in tables.items() for item in items.tolist()
    }
    followed = delta.followed
    pairs = zip(followed.sources.tolist(), followed.targets.tolist(), strict=True)
    return rows | {("followed", name(source), name(target)) for source, target in pairs}


def evaluated(fleet: Fleet, events: Iterable[Interaction]) -> float:
    """NDCG@10 of the stream, each event being ranked before it is learnt."""
    measures = RankingMeasures()
    for step in prequential(events, fleet.rank, fleet.observe, Queries(), (*TAKES, "dislike")):
        if step.ranked is not None and step.asks == "query":
            measures.add(step.ranked, step.item)
    return measures.ndcg


def large() -> dict[str, Any]:
    """The costs of two engines with a large catalogue."""
    console.print(f"{LARGE:,} items")
    source = Synthetic(LARGE_EVENTS, users=LARGE_EVENTS // 10, items=LARGE, seed=0)
    bare = [(Item(item=item.item), None) for item in source.items()]
    fleet = Fleet(2, EngineSettings(model="gnn"), bare, shares=True)
    for event in source.interactions():
        fleet.observe(event)
    return {"items": LARGE, **fleet.costs()}


def measure(
    dataset: Dataset, most: int | None, engines: Sequence[int], limit: int = 1 << 30
) -> dict[str, Any]:
    """What this module measures of a data set, of so many events at most; `limit` as of
    `collect_delta`."""
    settings, encoder = EngineSettings(), TextEncoder()
    catalogue = [
        (item, encoder.encode([text])[0] if (text := item_text(item)) else None)
        for item in dataset.items()
    ]
    events = list(islice(dataset.interactions(), most))
    ndcg: dict[str, Any] = {}
    costs: dict[str, dict[str, Any]] = {}
    console.print("one engine")
    whole = Fleet(1, settings, catalogue, shares=False)
    ndcg["1"] = one = round(evaluated(whole, events), 5)
    for number in engines:
        console.print(f"{number} engines")
        fleet = Fleet(number, settings, catalogue, True, limit)
        shared = evaluated(fleet, events)
        costs[str(number)] = fleet.costs()
        alone = evaluated(Fleet(number, settings, catalogue, shares=False), events)
        ndcg[str(number)] = {"shared": round(shared, 5), "apart": round(alone, 5)}
    return {
        "ndcg": ndcg,
        "ndcg_ratio": {str(n): round(ndcg[str(n)]["shared"] / one, 4) for n in engines},
        "own_event_us": {
            "1": whole.own_event_us,
            **{number: found["own_event_us"] for number, found in costs.items()},
        },
        **{
            key: {number: found[key] for number, found in costs.items()}
            for key in (
                "delta_bytes_per_event",
                "rows_per_event",
                "distinct_rows",
                "flush_us",
                "following_us",
                "following_share",
            )
        },
    }


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="a data set; else an invented stream")
    parser.add_argument("--events", type=int, help="events at most")
    parser.add_argument("--engines", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--limit", type=int, default=1 << 30, help="rows of a kind in a delta")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    dataset: Dataset = (
        open_dataset(arguments.data, seed=arguments.seed)
        if arguments.data
        else Synthetic(20_000, seed=arguments.seed)
    )
    report = measure(dataset, arguments.events, arguments.engines, arguments.limit)
    report["large"] = large()
    report |= provenance(f"{dataset.name} ({dataset.format})", arguments.seed)
    text = json.dumps(report, indent=2)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
