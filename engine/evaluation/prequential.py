"""Prequential evaluation: every event is first ranked, then learnt (Dawid, 1984).

The ranking is full: all items of the catalogue that the engine may show the user compete. Where
`engine.excludes` lets items come again, a query is judged by the list without items that its user
had, since its own item is new to them; the measures with repeats take the whole list.
`engine.evaluation.queries` defines a query. `recommend` is asked before `observe` sees the event,
so nothing of the event or of later ones is in the ranking.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from time import perf_counter_ns
from typing import Any

from engine import EngineSettings, Interaction, Item, Recommender
from engine.evaluation.baselines import RECENT_HALF_LIFE, PopularityBaseline, RepeatLast
from engine.evaluation.measures import K, RankingMeasures, percentiles
from engine.evaluation.over_time import latency_over_time, quality_over_time
from engine.evaluation.queries import TAKES, Asks, Queries, Step, prequential

COLD = 5
"""Items and users with fewer events than this are cold."""


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
        self._gains: list[tuple[int, float, float, float]] = []
        self._strict = RankingMeasures()
        self._first = RankingMeasures()
        self._cold_items = RankingMeasures()
        self._cold_users = RankingMeasures()
        self._popularity = PopularityBaseline()
        self._recent = PopularityBaseline(RECENT_HALF_LIFE)
        self._last = RepeatLast()
        self._baselines = {
            "popularity": RankingMeasures(),
            "recent_popularity": RankingMeasures(),
        }
        self._repeats = {
            "engine": RankingMeasures(),
            "recent_popularity": RankingMeasures(),
            "repeat_last": RankingMeasures(),
        }
        self._queries = Queries()
        self._with_repeats: list[str] = []
        self._asked: Counter[Asks] = Counter()
        self._users: set[str] = set()
        self._span_ms: tuple[int, int] | None = None
        self._item_events: dict[str, int] = defaultdict(int)
        self._batch: dict[str, tuple[int, list[str]]] = {}
        self._latencies: dict[str, list[int]] = defaultdict(list)

    def run(self, interactions: Iterable[Interaction]) -> Iterator[int]:
        """Test, then train, on each interaction; yields how many events are done.

        A second call continues where the first ended.
        """
        ranked = (*TAKES, "dislike")
        steps = prequential(interactions, self._rank, self._learn, self._queries, ranked)
        for done, step in enumerate(steps, 1):
            self._count(step)
            if step.ranked is not None:
                self._measure(step, step.ranked)
            self._tell_baselines(step)
            yield done

    def _rank(self, user: str) -> list[str]:
        """The ten best items that are new to the user; `_with_repeats` gets the ten best of all."""
        had = self._queries.had(user)
        # As many more as may come again, so that ten of the rest are among them.
        again = len(had) if self.engine.repeats else 0
        started = perf_counter_ns()
        ranked = [entry.item for entry in self.engine.recommend(user, K + again).items]
        self._latencies["recommend"].append(perf_counter_ns() - started)
        self._with_repeats = ranked[:K]
        return [item for item in ranked if item not in had][:K]

    def _learn(self, interaction: Interaction) -> None:
        started = perf_counter_ns()
        answer = self.engine.observe(interaction, self._answers)
        self._latencies["observe"].append(perf_counter_ns() - started)
        for stage, ns in answer.stages_ns.items():
            self._latencies[stage].append(ns)

    def _count(self, step: Step) -> None:
        self._asked[step.asks] += 1
        self._users.add(step.interaction.user)
        at = step.interaction.timestamp
        first, last = self._span_ms or (at, at)
        self._span_ms = min(first, at), max(last, at)

    def _measure(self, step: Step, ranked: list[str]) -> None:
        user, item = step.interaction.user, step.item
        # Batch-strict: all events of a user within one second are judged by the list from before
        # the first of them.
        second = step.interaction.timestamp // 1000
        if user not in self._batch or self._batch[user][0] != second:
            self._batch[user] = (second, ranked)
        if step.asks == "first":
            self._first.add(ranked, item)
        if step.asks in ("query", "repeat"):
            self._repeats["engine"].add(self._with_repeats, item)
            self._repeats["recent_popularity"].add(self._recent.recommend(user, repeats=True), item)
            self._repeats["repeat_last"].add(self._last.recommend(user), item)
        if step.asks != "query":
            return
        gain = self.whole.add(ranked, item)
        self._log.append((ranked, item))
        self._strict.add(self._batch[user][1], item)
        if self._item_events[item] < COLD:
            self._cold_items.add(ranked, item)
        if step.had < COLD:
            self._cold_users.add(ranked, item)
        baselines = self._baselines
        popularity = baselines["popularity"].add(self._popularity.recommend(user), item)
        recent = baselines["recent_popularity"].add(self._recent.recommend(user), item)
        self._gains.append((self._asked.total(), gain, popularity, recent))

    def _tell_baselines(self, step: Step) -> None:
        user, item = step.interaction.user, step.item
        if step.asks == "nothing":
            if step.interaction.kind != "ignore":
                self._batch.pop(user, None)
                for forgetful in (self._popularity, self._recent, self._last):
                    forgetful.forget(user)
            return
        self._item_events[item] += 1
        counts = step.asks in TAKES
        self._popularity.observe(user, item, counts)
        self._recent.observe(user, item, counts)
        if counts:
            self._last.observe(user, item)

    def report(self) -> dict[str, Any]:
        """All measures by name; latencies in microseconds over the second half of the stream."""
        second_half = RankingMeasures()
        for ranked, item in self._log[len(self._log) // 2 :]:
            second_half.add(ranked, item)
        return {
            **self.whole.as_dict(len(self.engine.items)),
            "standard_error": round(self.whole.standard_error, 5),
            **self._stream(),
            "second_half": second_half.as_dict(),
            "batch_strict": self._strict.as_dict(),
            "cold_items": self._cold_items.as_dict(),
            "cold_users": self._cold_users.as_dict(),
            "first_events": self._first.as_dict(),
            "baselines": {name: each.as_dict() for name, each in self._baselines.items()},
            "over_time": quality_over_time(
                self._gains, [ranked for ranked, _ in self._log], self._asked.total()
            ),
            "latency_us_over_time": latency_over_time(self._latencies.get("observe", ())),
            "with_repeats": {name: each.as_dict() for name, each in self._repeats.items()},
            "latency_us": {
                name: percentiles([ns / 1e3 for ns in sample[len(sample) // 2 :]])
                for name, sample in self._latencies.items()
            },
        }

    def _stream(self) -> dict[str, Any]:
        """Counts of the stream, and of its events that are no queries."""
        span = [datetime.fromtimestamp(ms / 1000, UTC).isoformat() for ms in self._span_ms or ()]
        return {
            "events": sum(self._asked.values()),
            "users": len(self._users),
            "items": len(self._item_events),
            "repeats": self._asked["repeat"],
            "dislikes": self._asked["dislike"],
            "span": {"first": span[0], "last": span[1]} if span else None,
        }
