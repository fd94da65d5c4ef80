"""Changes of the items' counts since others were last told."""

from __future__ import annotations

from math import log2

import numpy as np
from numpy.typing import NDArray

from engine.arrays import grown
from engine.features.popularity import EVENTS, Popularity, merge_popularity
from engine.features.surge import Surge, merge_surge
from engine.sharing.delta import Counted, Totals

_ROUNDING = 1e-3
"""Differences of counts below this come of adding in another order: the least weight is 1 / 255."""


class SharedCounts:
    """What others know of this engine's counts, and it of theirs.

    Holds the counts as of the last `collect`, with what others have counted since: the difference
    is what this engine has counted itself.
    """

    def __init__(self, popularity: Popularity, surge: Surge) -> None:
        self._popularity, self._surge = popularity, surge
        p, s = popularity.arrays, surge.arrays
        self._counts = p.counts.copy()
        self._values = p.value_sums.copy()
        self._by_stage = p.by_stage.copy()
        self._stage_total, self._moments = p.stage_total.copy(), p.moments.copy()
        self._events = int(p.clock[EVENTS])
        self._recent, self._surging = p.recent.copy(), s.counts.copy()
        # The logarithm of what an event weighs, when the faded counts were last compared.
        self._inflation = [log2(p.inflation[0]), log2(s.inflation[0])]
        self._faded_at = self._events

    def reserve(self) -> None:
        """Follow the engine's arrays, which were made longer."""
        items = len(self._popularity.counts)
        self._counts = grown(self._counts, items)
        self._values = grown(self._values, items, axis=1)
        self._by_stage = grown(self._by_stage, items, axis=1)
        self._recent = grown(self._recent, items)
        self._surging = grown(self._surging, len(self._surge.counts))

    def renew(self, item: int) -> None:
        """A number is another item's."""
        self._counts[item] = self._recent[item] = self._surging[item] = 0.0
        self._values[:, item] = self._by_stage[:, item] = 0.0

    def collect(self, items: int) -> tuple[int, Counted, Totals]:
        """The events counted since the last time, and what they changed of the first n items."""
        self._follow_fading()
        p, s = self._popularity.arrays, self._surge.arrays
        changed = np.abs(p.counts[:items] - self._counts[:items]) > _ROUNDING
        changed |= p.value_sums[1, :items] != self._values[1, :items]
        rows = np.flatnonzero(changed).astype(np.int32)
        counted = Counted(
            rows,
            p.counts[rows] - self._counts[rows],
            ((p.recent[rows] - self._recent[rows]) / p.inflation[0]).astype(np.float32),
            ((s.counts[rows] - self._surging[rows]) / s.inflation[0]).astype(np.float32),
            np.ascontiguousarray((p.value_sums[:, rows] - self._values[:, rows]).T),
            np.ascontiguousarray((p.by_stage[:, rows] - self._by_stage[:, rows]).T),
        )
        totals = Totals(p.stage_total - self._stage_total, _apart(p.moments, self._moments))
        events = int(p.clock[EVENTS]) - self._events
        self._counts[rows], self._recent[rows] = p.counts[rows], p.recent[rows]
        self._surging[rows] = s.counts[rows]
        self._values[:, rows], self._by_stage[:, rows] = p.value_sums[:, rows], p.by_stage[:, rows]
        self._stage_total, self._moments = p.stage_total.copy(), p.moments.copy()
        self._events += events
        return events, counted, totals

    def merge(self, known: int, events: int, counted: Counted, totals: Totals) -> None:
        """Count what others counted; `counted.items` are numbers of the `known` items here."""
        p, s = self._popularity.arrays, self._surge.arrays
        rows = counted.items
        before = p.counts[rows]
        merge_popularity(
            p, rows, known, events, counted.counts, counted.recent, counted.values,
            counted.by_stage, totals.stages,
        )  # fmt: skip
        merge_surge(s, rows, events, counted.surge)
        p.moments[:] = _together(p.moments, totals.moments)
        self._follow_fading()
        self._events += events
        self._counts[rows] += p.counts[rows] - before
        self._recent[rows] += counted.recent * p.inflation[0]
        self._surging[rows] += counted.surge * s.inflation[0]
        self._values[:, rows] += counted.values.T
        self._by_stage[:, rows] += counted.by_stage.T
        self._stage_total += totals.stages
        self._moments = _together(self._moments, totals.moments)

    def _follow_fading(self) -> None:
        """Divide by what the engine divided its faded counts by (`engine.features.faded`)."""
        p, s = self._popularity.arrays, self._surge.arrays
        passed = int(p.clock[EVENTS]) - self._faded_at
        self._faded_at += passed
        faded = (
            (self._recent, p.inflation[0], p.fading.half_life),
            (self._surging, s.inflation[0], s.fading.half_life),
        )
        for n, (held, inflation, half_life) in enumerate(faded):
            now = log2(inflation)
            divided = self._inflation[n] + passed / half_life - now
            self._inflation[n] = now
            if divided > 1.0:  # else it is a rounding error: counts are divided by 10^12
                np.multiply(held, 2.0**-divided, out=held)


def _together(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Number, mean and sum of squared deviations of two samples together (Chan et al., 1979)."""
    count = one[0] + other[0]
    if count <= 0:
        return np.zeros(3)
    apart = other[1] - one[1]
    mean = one[1] + apart * other[0] / count
    return np.array([count, mean, one[2] + other[2] + apart**2 * one[0] * other[0] / count])


def _apart(both: NDArray[np.float64], one: NDArray[np.float64]) -> NDArray[np.float64]:
    """Those of the other sample."""
    count = both[0] - one[0]
    if count <= 0:
        return np.zeros(3)
    mean = (both[0] * both[1] - one[0] * one[1]) / count
    squares = both[2] - one[2] - (mean - one[1]) ** 2 * one[0] * count / both[0]
    return np.array([count, mean, max(squares, 0.0)])
