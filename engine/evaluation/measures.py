"""Ranking measures at 10, accumulated over queries with one relevant item each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import log2

import numpy as np
from numpy.typing import ArrayLike

K = 10


@dataclass
class RankingMeasures:
    """NDCG, hit rate, MRR and coverage at 10.

    With one relevant item at position p (from 0) a query's NDCG is 1 / log2(p + 2), its
    reciprocal rank 1 / (p + 1) and its hit 1; a miss is 0 in all three (Järvelin and
    Kekäläinen, 2002). Without `coverage`, the items that were ever shown are not remembered.
    """

    queries: int = 0
    _ndcg: float = 0.0
    _squares: float = 0.0
    _hits: int = 0
    _reciprocal: float = 0.0
    _shown: set[str] = field(default_factory=set)
    coverage: bool = True

    def add(self, ranked: Sequence[str], taken: str) -> float:
        """Count a query: the items shown, best first, and the one that was taken.

        Returns its NDCG@10: 0 for a miss.
        """
        top = ranked[:K]
        self.queries += 1
        if self.coverage:
            self._shown.update(top)
        if taken in top:
            position = top.index(taken)
            gain = 1.0 / log2(position + 2)
            self._ndcg += gain
            self._squares += gain * gain
            self._reciprocal += 1.0 / (position + 1)
            self._hits += 1
            return gain
        return 0.0

    @property
    def ndcg(self) -> float:
        """Mean NDCG@10; 0 without queries."""
        return self._ndcg / self.queries if self.queries else 0.0

    @property
    def standard_error(self) -> float:
        """The standard error of the mean NDCG@10, as if queries were independent; 0 with fewer than
        two."""
        if self.queries < 2:
            return 0.0
        variance = max(0.0, self._squares / self.queries - self.ndcg**2)
        return float((variance / (self.queries - 1)) ** 0.5)

    @property
    def hit_rate(self) -> float:
        """Share of queries whose item was among the ten."""
        return self._hits / self.queries if self.queries else 0.0

    def as_dict(self, items: int | None = None) -> dict[str, float | int]:
        """The measures by name; with `items`, the share of that many items ever shown as well."""
        out: dict[str, float | int] = {
            "ndcg@10": round(self.ndcg, 5),
            "hr@10": round(self.hit_rate, 5),
            "mrr@10": round(self._reciprocal / self.queries if self.queries else 0.0, 5),
        }
        if items is not None:
            out["coverage@10"] = round(len(self._shown) / items if items else 0.0, 5)
        return out | {"queries": self.queries}


def percentiles(values: ArrayLike) -> dict[str, float]:
    """p50, p99 and p99.9 of a sample, in its own unit; empty for no values."""
    sample = np.asarray(values, np.float64)
    if sample.size == 0:
        return {}
    p50, p99, p99_9 = np.percentile(sample, [50, 99, 99.9])
    return {"p50": round(p50, 3), "p99": round(p99, 3), "p99_9": round(p99_9, 3)}
