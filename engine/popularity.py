"""How often items are taken: over all time, lately, and by users as experienced as this one."""

from __future__ import annotations

from math import log2

import numpy as np
from numpy.typing import NDArray

from engine.arrays import grown
from engine.compiled import kernel

CHANNELS = 3
HALF_LIFE = 3000
"""Events after which a count weighs half in the recent popularity."""
_STAGES = 16
"""User-history lengths are told apart by their binary logarithm, up to 2^15 interactions."""


class Popularity:
    """Counts of items and the three log-scaled features that ranking reads.

    The two features that change with every event for every item (all-time and recent share) are
    refreshed at the item of the event and, in turn, for 1/32 of the others, so that the cost of an
    event stays bounded.

    Attributes
    ----------
    counts : float32[items]
        Interactions, weighted by kind.
    features : float32[2, items]
        Log share of all interactions; log share of recent interactions.
    stage_ratio : float32[16, items]
        Log ratio of an item's share among users of a stage to its share among all.
    """

    def __init__(self, items: int = 1024) -> None:
        self.events = 0
        self.counts: NDArray[np.float32] = np.zeros(items, np.float32)
        self.features: NDArray[np.float32] = np.zeros((2, items), np.float32)
        self._recent: NDArray[np.float64] = np.zeros(items, np.float64)
        # What one event weighs now: it grows, so that old counts need no decay pass.
        self._inflation = 1.0
        self._by_stage: NDArray[np.float32] = np.zeros((_STAGES, items), np.float32)
        self.stage_ratio: NDArray[np.float32] = np.zeros((_STAGES, items), np.float32)
        self._stage_total: NDArray[np.float64] = np.zeros(_STAGES, np.float64)
        self._cursor = 0

    def reserve(self, items: int) -> None:
        """Make room for `items` items."""
        have = len(self.counts)
        if items <= have:
            return
        self.counts = grown(self.counts, items)
        self.features = grown(self.features, items, axis=1)
        self._recent = grown(self._recent, items)
        self._by_stage = grown(self._by_stage, items, axis=1)
        self.stage_ratio = grown(self.stage_ratio, items, axis=1)

    def record(self, item: int, history_length: int, items: int, weight: float) -> None:
        """Count an interaction of a user who had `history_length` before it; `items` are known."""
        self.events += 1
        self._inflation *= 2.0 ** (1.0 / HALF_LIFE)
        if self._inflation > 1e12:
            self._recent /= self._inflation
            self._inflation = 1.0
        stage, share = stage_of(history_length)
        self._cursor = _record(
            self.counts, self._recent, self._inflation, self.events, self._by_stage,
            self._stage_total, self.stage_ratio, self.features, stage, share, weight,
            item, self._cursor, items,
        )  # fmt: skip

    def forget(self, items: NDArray[np.int32], weights: NDArray[np.float32]) -> None:
        """Take back from the all-time counts what one user added: int32[n], float32[n]."""
        self.counts[items] = np.maximum(self.counts[items] - weights, 0.0)


def stage_of(history_length: int) -> tuple[int, float]:
    """The stage of a user with that many interactions, and the share of the next one in it."""
    position = min(log2(history_length + 1.0), _STAGES - 1.001)
    return int(position), position - int(position)


@kernel
def popularity_features(popular, stage_ratio, stage, share, n, out):  # type: ignore[no-untyped-def]
    """Write the three features of the first n items: out is float32[3, >= n]."""
    rest = np.float32(1.0) - share
    for j in range(n):
        out[0, j] = popular[0, j]
        out[1, j] = popular[1, j]
        out[2, j] = rest * stage_ratio[stage, j] + share * stage_ratio[stage + 1, j]


@kernel
def _record(  # type: ignore[no-untyped-def]
    counts, recent, inflation, events, by_stage, stage_total, stage_ratio, features,
    stage, stage_share, weight, item, cursor, items,
):  # fmt: skip
    """Count, then refresh `item` and the next 1/32 of the items; returns the new cursor."""
    counts[item] += weight
    recent[item] += weight * inflation
    by_stage[stage, item] += weight * (1.0 - stage_share)
    by_stage[stage + 1, item] += weight * stage_share
    stage_total[stage] += weight * (1.0 - stage_share)
    stage_total[stage + 1] += weight * stage_share
    window = HALF_LIFE / np.log(2.0)
    j = item
    for _ in range(items // 32 + 2):
        share = np.float32(counts[j] / (events + 1.0))
        # The offset puts an item that nobody took at zero.
        features[0, j] = np.log(share + np.float32(1e-5)) + np.float32(11.5)
        lately = np.float32(recent[j] / inflation / window)
        features[1, j] = np.log(lately + np.float32(1e-5)) + np.float32(11.5)
        for s in range(len(stage_total)):
            if stage_total[s] > 0:
                at_stage = (by_stage[s, j] + np.float32(5.0) * share) / np.float32(
                    stage_total[s] + 5.0
                )
                stage_ratio[s, j] = np.log(
                    (at_stage + np.float32(1e-6)) / (share + np.float32(1e-6))
                )
        j = cursor
        cursor = (cursor + 1) % items
    return j
