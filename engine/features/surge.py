"""Popularity of the last few hundred events, for streams whose tastes change within an hour."""

from __future__ import annotations

from math import log
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.arrays import grown
from engine.compiled import kernel
from engine.features.elementwise import log_in_place
from engine.state.schema import ROWS, Array, State

HALF_LIFE = 300
"""Events after which a count weighs half."""
_WINDOW = HALF_LIFE / log(2.0)
_INFLATION = 2.0 ** (1.0 / HALF_LIFE)
_SHARE_OFFSET = np.float32(11.5)


class SurgeArrays(NamedTuple):
    """What kernels read and write of a `Surge`."""

    counts: NDArray[np.float64]
    inflation: NDArray[np.float64]


class Surge:
    """Faded counts of items.

    Attributes
    ----------
    counts : float64[items]
    inflation : float64[1]
        What an event weighs: it grows, so that old counts need no pass that fades them.
    """

    STATE: ClassVar[State] = State(
        {
            "counts": Array("items/surge/counts", (ROWS,)),
            "inflation": Array("items/surge/inflation", (None,)),
        }
    )

    def __init__(self, items: int = 1024) -> None:
        self.counts: NDArray[np.float64] = np.zeros(items, np.float64)
        self.inflation: NDArray[np.float64] = np.ones(1)

    @property
    def arrays(self) -> SurgeArrays:
        """As kernels take them."""
        return SurgeArrays(self.counts, self.inflation)

    def reserve(self, items: int) -> None:
        """Make room for `items` items."""
        self.counts = grown(self.counts, items)

    def clear(self, item: int) -> None:
        """Forget an item."""
        self.counts[item] = 0.0


@kernel
def record_surge(s, item, weight):  # type: ignore[no-untyped-def]
    """Count an interaction, weighted by kind."""
    s.inflation[0] *= _INFLATION
    if s.inflation[0] > 1e12:
        for j in range(len(s.counts)):
            s.counts[j] /= s.inflation[0]
        s.inflation[0] = 1.0
    s.counts[item] += weight * s.inflation[0]


@kernel
def surge_feature(s, candidates, out):  # type: ignore[no-untyped-def]
    """Write 11.5 + log(1e-5 + share) of the candidates (int32[n]) to `out`: float32[n]."""
    scale = 1.0 / (s.inflation[0] * _WINDOW)
    for c in range(len(candidates)):
        out[c] = np.float32(s.counts[candidates[c]] * scale) + np.float32(1e-5)
    log_in_place(out)
    for c in range(len(candidates)):
        out[c] += _SHARE_OFFSET
