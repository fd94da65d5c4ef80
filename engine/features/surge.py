"""Popularity of the last few hundred events, for streams whose tastes change within an hour."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.arrays import grown
from engine.compiled import kernel
from engine.features.faded import Fading, exchange, fade, left_of, log_all_shares
from engine.state.schema import ROWS, Array, State


class SurgeArrays(NamedTuple):
    """What kernels read and write of a `Surge`."""

    counts: NDArray[np.float64]
    inflation: NDArray[np.float64]
    fading: Fading


class Surge:
    """Faded counts of items, in which each user counts once (`engine.features.faded`).

    Attributes
    ----------
    counts : float64[items]
    inflation : float64[1]
        What an event weighs now.
    fading
        How fast they fade: 300 events if nothing else is set (`engine.surging_half_life`).
    """

    STATE: ClassVar[State] = State(
        {
            "counts": Array("items/surge/counts", (ROWS,)),
            "inflation": Array("items/surge/inflation", (None,)),
        },
        unsaved=("fading",),
    )

    def __init__(self, half_life: int = 300, items: int = 1024) -> None:
        self.fading = Fading.of(half_life)
        self.counts: NDArray[np.float64] = np.zeros(items, np.float64)
        self.inflation: NDArray[np.float64] = np.ones(1)

    @property
    def arrays(self) -> SurgeArrays:
        """As kernels take them."""
        return SurgeArrays(self.counts, self.inflation, self.fading)

    def reserve(self, items: int) -> None:
        """Make room for `items` items."""
        self.counts = grown(self.counts, items)

    def clear(self, item: int) -> None:
        """Forget an item."""
        self.counts[item] = 0.0

    def forget(self, items: NDArray[np.int32], marks: NDArray[np.int64], events: int) -> None:
        """Take back what is left after `events` of what marks tell: int32[n], int64[n]."""
        _take_back(self.arrays, items, marks, events)


@kernel
def record_surge(s, item, weight, mark, events):  # type: ignore[no-untyped-def]
    """Count an interaction, the `events`-th, weighted by kind.

    mark : of what its user was counted with at the item before, which it takes the place of.
    """
    fade(s.counts, s.inflation, s.fading)
    exchange(s.counts, s.inflation, item, weight, left_of(mark, events, s.fading))


@kernel
def _take_back(s, items, marks, events):  # type: ignore[no-untyped-def]
    for i in range(len(items)):
        left = left_of(marks[i], events, s.fading)
        exchange(s.counts, s.inflation, items[i], 0.0, left)


@kernel
def merge_surge(s, items, events, counts):  # type: ignore[no-untyped-def]
    """Count what others counted in so many events.

    items : int32[n]; counts : float32[n], in weights of the latest event.
    """
    for _ in range(events):
        fade(s.counts, s.inflation, s.fading)
    for i in range(len(items)):
        exchange(s.counts, s.inflation, items[i], counts[i], 0.0)


@kernel
def surge_feature(s, candidates, exact, out):  # type: ignore[no-untyped-def]
    """Write 11.5 + log(1e-5 + share) of the candidates (int32[n]) to `out`: float32[>= n].

    With `exact` they are the first n items.
    """
    n = len(candidates)
    for c in range(n):
        out[c] = s.counts[c if exact else candidates[c]]
    log_all_shares(out, s.inflation[0] * s.fading.window, n, out)
