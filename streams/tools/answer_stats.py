"""What a subscriber learns from the answers it receives: latencies and prequential quality."""

from __future__ import annotations

from array import array
from collections import defaultdict
from typing import Any

from engine.evaluation.measures import percentiles
from engine.evaluation.served_lists import Prequential

STAGES = ("queue", "decode", "learn", "graph", "propagate", "text", "rank", "emit", "total")


class Tally:
    """Counts and samples over the answers received so far.

    Attributes
    ----------
    stages_us, end_to_end_ms
        Samples of every answer.
    quality
        Measures of the users' last lists, and of the popular items beside them.
    """

    def __init__(self) -> None:
        self.recommendations = 0
        self.dead_letters: dict[str, int] = defaultdict(int)
        self.stages_us: dict[str, array[float]] = {stage: array("d") for stage in STAGES}
        self.end_to_end_ms = array("d")
        self.quality = Prequential()
        self.newest: dict[str, Any] | None = None

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
        ranked = [entry["item"] for entry in line["items"]]
        self.quality.take(line["user"], line.get("item"), ranked, line["kind"])

    def report(self) -> dict[str, Any]:
        """The measures, as the report of `millrace demo --json` names them."""
        model, popularity = self.quality.model, self.quality.popularity
        return {
            "recommendations": self.recommendations,
            "dead_letters": sum(self.dead_letters.values()),
            "end_to_end_ms": percentiles(self.end_to_end_ms),
            "stages_us": {stage: percentiles(sample) for stage, sample in self.stages_us.items()},
            "ndcg@10": round(model.ndcg, 5),
            "hr@10": round(model.hit_rate, 5),
            "queries": model.queries,
            "popularity": {
                "ndcg@10": round(popularity.ndcg, 5),
                "hr@10": round(popularity.hit_rate, 5),
            },
        }
