"""Prequential evaluation: every event is first ranked, then learnt (Dawid, 1984).

The ranking is full: all items of the catalogue that the user has not taken compete. A query is an
event of a user who is known by at least one earlier one, with an item new to them. `recommend` is
asked before `observe` sees the event, so nothing of the event or of later ones is in the ranking.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from time import perf_counter_ns
from typing import Any

from engine import EngineSettings, Interaction, Item, Recommender
from engine.evaluation.baselines import PopularityBaseline
from engine.evaluation.measures import RankingMeasures, percentiles

COLD = 5
"""Items and users with fewer events than this are cold."""
RECENT_HALF_LIFE = 2000.0
"""Events after which a count of the recent popularity weighs half."""


def is_query(interaction: Interaction, taken: Collection[str]) -> bool:
    """Whether an interaction is a query; `taken` is what its user has taken before."""
    offers = interaction.item is not None and interaction.kind not in ("forget", "dislike")
    return offers and bool(taken) and interaction.item not in taken


class PrequentialEvaluator:
    """Runs an engine over a stream and measures it before each step.

    Parameters
    ----------
    settings, items
        What the engine is made of, and its catalogue.
    answers
        Whether `observe` answers too, as for a worker. Only its latency depends on it.

    Attributes
    ----------
    engine
        The engine under test.
    whole
        The measures so far, to be shown while it runs.
    """

    def __init__(
        self, settings: EngineSettings, items: Iterable[Item] = (), answers: bool = True
    ) -> None:
        self._answers = answers
        self.engine = Recommender.new(settings)
        for item in items:
            self.engine.upsert_item(item)
        self.whole = RankingMeasures()
        self._log: list[tuple[list[str], str]] = []
        self._strict = RankingMeasures()
        self._first = RankingMeasures()
        self._cold_items = RankingMeasures()
        self._cold_users = RankingMeasures()
        self._baselines = {
            "popularity": (PopularityBaseline(), RankingMeasures()),
            "recent_popularity": (PopularityBaseline(RECENT_HALF_LIFE), RankingMeasures()),
        }
        self._taken: dict[str, set[str]] = defaultdict(set)
        self._item_events: dict[str, int] = defaultdict(int)
        self._batch: dict[str, tuple[int, list[str]]] = {}
        self._latencies: dict[str, list[int]] = defaultdict(list)

    def run(self, interactions: Iterable[Interaction]) -> Iterator[int]:
        """Test, then train, on each interaction; yields how many events are done."""
        for done, interaction in enumerate(interactions, 1):
            if interaction.item is not None and interaction.kind != "forget":
                self._test(interaction, interaction.item)
            self._train(interaction)
            yield done

    def _test(self, interaction: Interaction, item: str) -> None:
        user = interaction.user
        taken = self._taken[user]
        started = perf_counter_ns()
        ranked = [entry.item for entry in self.engine.recommend(user, 10).items]
        self._latencies["recommend"].append(perf_counter_ns() - started)
        # Batch-strict: what shares a second with the user's previous event is judged by the list
        # from before the whole batch, whatever the batch began with.
        second = interaction.timestamp // 1000
        if user not in self._batch or self._batch[user][0] != second:
            self._batch[user] = (second, ranked)
        if not taken and interaction.kind != "dislike":
            self._first.add(ranked, item)
        if not is_query(interaction, taken):
            return
        self.whole.add(ranked, item)
        self._log.append((ranked, item))
        self._strict.add(self._batch[user][1], item)
        if self._item_events[item] < COLD:
            self._cold_items.add(ranked, item)
        if len(taken) < COLD:
            self._cold_users.add(ranked, item)
        for baseline, measures in self._baselines.values():
            measures.add(baseline.recommend(user), item)

    def _train(self, interaction: Interaction) -> None:
        started = perf_counter_ns()
        answer = self.engine.observe(interaction, self._answers)
        self._latencies["observe"].append(perf_counter_ns() - started)
        for stage, ns in answer.stages_ns.items():
            self._latencies[stage].append(ns)
        user, item = interaction.user, interaction.item
        if item is None or interaction.kind == "forget":
            self._taken.pop(user, None)
            self._batch.pop(user, None)
        else:
            self._taken[user].add(item)
            self._item_events[item] += 1
            for baseline, _ in self._baselines.values():
                baseline.observe(user, item)

    def report(self) -> dict[str, Any]:
        """All measures by name; latencies in microseconds over the second half of the stream."""
        second_half = RankingMeasures()
        for ranked, item in self._log[len(self._log) // 2 :]:
            second_half.add(ranked, item)
        return {
            **self.whole.as_dict(len(self.engine.items)),
            "second_half": second_half.as_dict(),
            "batch_strict": self._strict.as_dict(),
            "cold_items": self._cold_items.as_dict(),
            "cold_users": self._cold_users.as_dict(),
            "first_events": self._first.as_dict(),
            "baselines": {
                name: measures.as_dict() for name, (_, measures) in self._baselines.items()
            },
            "latency_us": {
                name: percentiles([ns / 1e3 for ns in sample[len(sample) // 2 :]])
                for name, sample in self._latencies.items()
            },
        }
