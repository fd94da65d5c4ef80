"""Slow, obvious versions of what the engine computes, from the formulas of the docstrings."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from math import log, log2, sqrt

import numpy as np

from engine import EngineSettings, Interaction, Recommender

SHORT, LONG, SATURATING = 0.8, 0.95, 0.9
NEAR = 16


class TransitionsReference:
    """Two weights for each pair of items, in dicts without a bound."""

    def __init__(self) -> None:
        self.weights: dict[tuple[int, int], list[float]] = defaultdict(lambda: [0.0, 0.0])

    def record(self, history: list[int], item: int, weight: float) -> None:
        for q, source in enumerate(history):
            if source == item:
                continue
            self.weights[source, item][0] += weight * SHORT**q
            for pair in ((source, item), (item, source)):
                self.weights[pair][1] += weight * LONG**q

    def scores(
        self, history: list[int], counts: list[float], events: int, items: int
    ) -> list[list[float]]:
        out: list[list[float]] = [[], [], []]
        for j in range(items):
            sums = [0.0, 0.0, 0.0]
            for q, source in enumerate(history):
                weights = self.weights.get((source, j), [0.0, 0.0])
                norm = 1 / sqrt(counts[source] + 0.5)
                if q < NEAR:
                    sums[0] += SHORT**q * norm * weights[0]
                sums[1] += LONG**q * norm * weights[1]
                v = norm * weights[1] * sqrt((events + 1000) / 1000 / (counts[j] + 1))
                sums[2] += SATURATING**q * v / (1 + v)
            for channel, (decay, read) in enumerate(((SHORT, NEAR), (LONG, len(history)))):
                total = sum(decay**q for q in range(min(read, len(history))))
                out[channel].append(log(1 + 1e4 * sums[channel] / total))
            out[2].append(0.3 * sums[2])
        return out

    def strongest(self, history: list[int], target: int) -> int:
        around = {item: self.weights[target, item][1] for item in history if item != target}
        best = max(around, key=around.__getitem__, default=-1)
        return best if best >= 0 and around[best] > 0 else -1


class PopularityReference:
    """Every feature from the list of all events."""

    def __init__(self) -> None:
        self.events: list[tuple[int, int, float]] = []

    def record(self, item: int, history_length: int, weight: float) -> None:
        self.events.append((item, history_length, weight))

    def all_time(self, item: int) -> float:
        return log(self._share(item) + 1e-5) + 11.5

    def recent(self, item: int) -> float:
        ages = range(len(self.events) - 1, -1, -1)
        weighed = [
            weight * 0.5 ** (age / 3000)
            for age, (taken, _, weight) in zip(ages, self.events, strict=True)
            if taken == item
        ]
        return log(sum(weighed) * log(2) / 3000 + 1e-5) + 11.5

    def stage_ratio(self, stage: int, item: int) -> float:
        def part(length: int) -> float:
            """How much of a user with that many interactions is in the stage."""
            return max(0.0, 1.0 - abs(log2(length + 1) - stage))

        everyone = sum(weight * part(length) for _, length, weight in self.events)
        own = sum(weight * part(length) for taken, length, weight in self.events if taken == item)
        share = self._share(item)
        return log(((own + 5 * share) / (everyone + 5) + 1e-6) / (share + 1e-6))

    def age(self, item: int) -> float:
        first = next(at for at, (taken, _, _) in enumerate(self.events, 1) if taken == item)
        return log((len(self.events) - first) / 100 + 1)

    def _share(self, item: int) -> float:
        return sum(weight for taken, _, weight in self.events if taken == item) / (
            len(self.events) + 1
        )


def popularity_counts(
    events: Iterable[tuple[str, str]], half_life: float | None
) -> dict[str, float]:
    """Each item's count, an event of `half_life` events ago weighing half."""
    seen = list(events)
    counts: dict[str, float] = defaultdict(float)
    for age, (_, item) in enumerate(reversed(seen)):
        counts[item] += 0.5 ** (age / half_life) if half_life else 1.0
    return counts


Query = tuple[list[str], str]


def prequential_queries(
    settings: EngineSettings, interactions: list[Interaction]
) -> dict[str, list[Query]]:
    """Lists and taken items of each slice; every rule is looked up in the events before."""
    engine = Recommender(settings)
    found: dict[str, list[Query]] = defaultdict(list)
    before: list[tuple[Interaction, list[str]]] = []
    for event in interactions:
        ranked = [entry.item for entry in engine.recommend(event.user, 10).items]
        own = [entry for entry in before if entry[0].user == event.user]
        kinds = [earlier.kind for earlier, _ in own]
        if "forget" in kinds:
            own = own[len(kinds) - kinds[::-1].index("forget") :]
        taken = {earlier.item for earlier, _ in own}
        if event.kind not in ("forget", "dislike") and event.item not in taken:
            query = (ranked, event.item or "")
            if not taken:
                found["first_events"].append(query)
            else:
                found["whole"].append(query)
                batch = [ranked]
                for earlier, shown in reversed(own):
                    if earlier.timestamp // 1000 != event.timestamp // 1000:
                        break
                    batch.append(shown)
                found["batch_strict"].append((batch[-1], event.item or ""))
                others = [e for e, _ in before if e.item == event.item and e.kind != "forget"]
                if len(others) < 5:
                    found["cold_items"].append(query)
                if len(taken) < 5:
                    found["cold_users"].append(query)
        before.append((event, ranked))
        engine.observe(event)
    return found


def mean_ndcg(queries: list[Query]) -> float:
    gains = [
        1 / log2(ranked.index(item) + 2) if item in ranked else 0.0 for ranked, item in queries
    ]
    return float(np.mean(gains)) if gains else 0.0


def quality(values: list[tuple[int, float]], item: int) -> float:
    """An item's mean rating, each in standard deviations from the mean of all until then."""
    known: list[float] = []
    own: list[float] = []
    for taken, value in values:
        known.append(value)
        deviation = float(np.std(known, ddof=1)) if len(known) > 1 else 0.0
        if taken == item:
            z = (value - float(np.mean(known))) / deviation if deviation > 0 else 0.0
            own.append(max(-3.0, min(3.0, z)))
    return sum(own) / (len(own) + 5.0)
