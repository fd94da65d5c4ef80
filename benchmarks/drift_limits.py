"""How far apart the distributions that show drift lie by themselves, while nothing is wrong.

    python -m benchmarks.drift_limits DATA [--part N] [--events N] [--rename]

The engine answers a data set as a worker does. The stream is cut into parts of N events, and the
histograms of each (`streams.worker.drift`) are compared with those of the part before, by the
distance that `deploy/alerts.yml` compares weeks by. The first distances are those of an engine that
has learnt little yet. With `--rename`, the items of the last part have other ids than before.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from itertools import accumulate, islice, pairwise

from msgspec.structs import replace

from engine import EngineSettings, Interaction, Item, Recommender
from engine.datasets import open_dataset
from engine.evaluation.provenance import provenance
from streams.worker.drift import Drift

_WHAT = ("scores", "recommended", "taken")


def main() -> None:
    """Measure, and print JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", help="a data set, as of `millrace evaluate`")
    parser.add_argument("--part", type=int, default=5_000, help="events of each part")
    parser.add_argument("--events", type=int, help="only the first N events")
    parser.add_argument("--rename", action="store_true", help="items change ids in the last part")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    dataset = open_dataset(arguments.data, seed=arguments.seed)
    events = list(islice(dataset.interactions(), arguments.events))
    if arguments.rename:
        events = renamed(events, (len(events) // arguments.part - 1) * arguments.part)
    report = provenance(dataset.name, arguments.seed) | {"part": arguments.part}
    settings = EngineSettings(seed=arguments.seed)
    report["distances"] = distances(settings, dataset.items(), events, arguments.part)
    print(json.dumps(report, indent=2))


def renamed(events: Sequence[Interaction], first: int) -> list[Interaction]:
    """The events, with other ids of the items from the event of number `first` on."""
    return [
        replace(event, item=f"renamed {event.item}") if number >= first and event.item else event
        for number, event in enumerate(events)
    ]


def distances(
    settings: EngineSettings, items: Iterable[Item], events: Iterable[Interaction], part: int
) -> dict[str, list[float]]:
    """The distance of each whole part of the stream from the one before, of each histogram."""
    engine = Recommender.new(settings)
    for item in items:
        engine.upsert_item(item)
    stream = iter(events)
    parts = []
    while len(run := list(islice(stream, part))) == part:
        drift = Drift(engine)
        for event in run:
            if event.item is not None:
                drift.count_taken(engine.items.find(event.item))
            drift.count_answer(engine.observe(event).items)
        parts.append(drift)
    return {
        what: [
            round(distance(getattr(one, what), getattr(other, what)), 3)
            for one, other in pairwise(parts)
        ]
        for what in _WHAT
    }


def distance(one: Sequence[int], other: Sequence[int]) -> float:
    """The greatest difference between the cumulative shares of two histograms."""
    shares = [[count / sum(each) for count in accumulate(each)] for each in (one, other)]
    return max(abs(a - b) for a, b in zip(*shares, strict=True))


if __name__ == "__main__":
    main()
