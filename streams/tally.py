"""What a subscriber learns from the answers it receives: latencies and prequential quality.

A user's answer was written before their next event was sent, so judging it by that event uses
nothing of the event or of later ones. (`millrace evaluate` asks for a fresh ranking right before
each event; here the list is the one that the user had at hand, which others' events since then
did not refresh.)
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from typing import Any

from engine.evaluation.baselines import PopularityBaseline
from engine.evaluation.measures import RankingMeasures, percentiles

STAGES = ("queue", "decode", "learn", "graph", "propagate", "text", "rank", "emit", "total")


class Tally:
    """Counts and samples over the answers received so far.

    Attributes
    ----------
    stages_us, end_to_end_ms
        Samples of every answer.
    model, popularity
        Measures of the users' last lists, and of the popular items beside them.
    """

    def __init__(self) -> None:
        self.recommendations = 0
        self.dead_letters: dict[str, int] = defaultdict(int)
        self.stages_us: dict[str, array[float]] = {stage: array("d") for stage in STAGES}
        self.end_to_end_ms = array("d")
        self.model = RankingMeasures()
        self.popularity = RankingMeasures()
        self.newest: dict[str, Any] | None = None
        self._lists: dict[str, list[str]] = {}
        self._taken: dict[str, set[str]] = defaultdict(set)
        self._popular = PopularityBaseline()

    def add(self, line: dict[str, Any]) -> None:
        """Count one line of `millrace watch --json`."""
        if "dead_letter" in line:
            self.dead_letters[line["dead_letter"].get("error.class", "unknown")] += 1
            return
        self.recommendations += 1
        self.newest = line
        for stage, sample in self.stages_us.items():
            sample.append(line["latency_us"].get(stage, 0.0))
        if line.get("end_to_end_ms") is not None:
            self.end_to_end_ms.append(line["end_to_end_ms"])
        self._judge(line["user"], line.get("item"), [entry["item"] for entry in line["items"]])

    def _judge(self, user: str, item: str | None, ranked: list[str]) -> None:
        if item is not None and item not in self._taken[user]:
            if user in self._lists:
                self.model.add(self._lists[user], item)
                self.popularity.add(self._popular.recommend(user), item)
            self._popular.observe(user, item)
            self._taken[user].add(item)
        self._lists[user] = ranked

    def report(self) -> dict[str, Any]:
        """The measures, as the report of `millrace demo --json` names them."""
        return {
            "recommendations": self.recommendations,
            "dead_letters": sum(self.dead_letters.values()),
            "end_to_end_ms": percentiles(self.end_to_end_ms),
            "stages_us": {stage: percentiles(sample) for stage, sample in self.stages_us.items()},
            "ndcg@10": round(self.model.ndcg, 5),
            "hr@10": round(self.model.hit_rate, 5),
            "queries": self.model.queries,
            "popularity": {
                "ndcg@10": round(self.popularity.ndcg, 5),
                "hr@10": round(self.popularity.hit_rate, 5),
            },
        }
