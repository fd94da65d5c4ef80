"""How often items are taken: over all time, lately, and by users as experienced as this one."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from engine.arrays import grown

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
    """

    def __init__(self, items: int = 1024) -> None:
        self.events = 0
        self.counts: NDArray[np.float32] = np.zeros(items, np.float32)
        self.features: NDArray[np.float32] = np.zeros((2, items), np.float32)
        self._recent: NDArray[np.float64] = np.zeros(items, np.float64)
        # What one event weighs now: it grows, so that old counts need no decay pass.
        self._inflation = 1.0
        self._by_stage: NDArray[np.float32] = np.zeros((_STAGES, items), np.float32)
        self._stage_ratio: NDArray[np.float32] = np.zeros((_STAGES, items), np.float32)
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
        self._stage_ratio = grown(self._stage_ratio, items, axis=1)

    def record(self, item: int, history_length: int, items: int, weight: float) -> None:
        """Count an interaction of a user who had `history_length` before it, among `items` items."""
        self.events += 1
        self._inflation *= 2.0 ** (1.0 / HALF_LIFE)
        if self._inflation > 1e12:
            self._recent /= self._inflation
            self._inflation = 1.0
        stage, share = _stage(history_length)
        self.counts[item] += weight
        self._recent[item] += weight * self._inflation
        for s, part in ((stage, 1.0 - share), (stage + 1, share)):
            self._by_stage[s, item] += weight * part
            self._stage_total[s] += weight * part
        refreshed = items // 32 + 1
        _refresh(
            self.counts, self._recent, self._inflation, self.events, self._by_stage,
            self._stage_total, self._stage_ratio, self.features, self._cursor, refreshed, items,
        )  # fmt: skip
        _refresh(
            self.counts, self._recent, self._inflation, self.events, self._by_stage,
            self._stage_total, self._stage_ratio, self.features, item, 1, items,
        )  # fmt: skip
        self._cursor = (self._cursor + refreshed) % items

    def scores(self, history_length: int, out: NDArray[np.float32]) -> None:
        """Write the three features of every item to `out` (float32[3, items])."""
        stage, share = _stage(history_length)
        n = out.shape[1]
        out[:2] = self.features[:, :n]
        np.multiply(self._stage_ratio[stage, :n], np.float32(1.0 - share), out=out[2])
        out[2] += np.float32(share) * self._stage_ratio[stage + 1, :n]

    def forget(self, item: int) -> None:
        """Take back one all-time count of an item."""
        self.counts[item] = max(0.0, self.counts[item] - 1.0)


def _stage(history_length: int) -> tuple[int, float]:
    position = min(float(np.log2(history_length + 1.0)), _STAGES - 1.001)
    return int(position), position - int(position)


@njit(cache=True, fastmath=True)
def _refresh(  # type: ignore[no-untyped-def]
    counts, recent, inflation, events, by_stage, stage_total, stage_ratio, features, start, n, items
):
    window = HALF_LIFE / np.log(2.0)
    for step in range(n):
        j = (start + step) % items
        share = counts[j] / (events + 1.0)
        # The offset puts an item that nobody took at zero.
        features[0, j] = np.log(share + 1e-5) + 11.5
        features[1, j] = np.log(recent[j] / inflation / window + 1e-5) + 11.5
        for s in range(len(stage_total)):
            if stage_total[s] > 0:
                at_stage = (by_stage[s, j] + 5.0 * share) / (stage_total[s] + 5.0)
                stage_ratio[s, j] = np.log((at_stage + 1e-6) / (share + 1e-6))
