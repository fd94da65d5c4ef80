"""Counts that fade as events go by, and the logarithm of a share, which ranking reads of counts.

What one event weighs grows by a constant factor an event (its inflation), which is as if all
earlier counts shrank: no pass over them is needed, but one when the numbers have grown too large.

A user counts once in the count of an item, with their latest event on it: of what they were counted
with before, a mark tells what is left. So nobody raises an item by taking it again, and `forget`
takes back what is left of each.
"""

from __future__ import annotations

from math import log
from typing import NamedTuple

import numpy as np

from engine.compiled import kernel
from engine.features.elementwise import log_in_place

_LARGEST = 1e12
SHARE_OFFSET = np.float32(11.5)
"""Puts the log share of an item that nobody took at zero."""


class Fading(NamedTuple):
    """How fast counts fade.

    Attributes
    ----------
    half_life
        Events after which a count weighs half.
    growth
        The factor by which the inflation grows an event.
    window
        What the counts add up to in the long run, in weights of the latest event.
    """

    half_life: float
    growth: float
    window: float

    @classmethod
    def of(cls, half_life: int) -> Fading:
        """That of counts which weigh half after so many events."""
        return cls(float(half_life), float(2.0 ** (1.0 / half_life)), half_life / log(2.0))


@kernel
def fade(counts, inflation, fading):  # type: ignore[no-untyped-def]
    """Let one event go by. counts : float64[items]; inflation : float64[1]."""
    inflation[0] *= fading.growth
    if inflation[0] > _LARGEST:
        for j in range(len(counts)):
            counts[j] /= inflation[0]
        inflation[0] = 1.0


@kernel
def mark_of(events, units):  # type: ignore[no-untyped-def]
    """A mark, int64: the number of the event that was counted, and its weight in 1 / 255."""
    return np.int64(events) << 8 | np.int64(units)


@kernel
def left_of(mark, events, fading):  # type: ignore[no-untyped-def]
    """What is left, after so many events, of the weight that a mark tells; 0 of no mark."""
    age = max(events - (mark >> 8), 0)
    return (mark & 255) / 255.0 * 0.5 ** (age / fading.half_life)


@kernel
def exchange(counts, inflation, item, weight, left):  # type: ignore[no-untyped-def]
    """Count a weight in the place of what is left of one that was counted before."""
    counts[item] = max(counts[item] + (weight - left) * inflation[0], 0.0)


@kernel
def smoothed(share):  # type: ignore[no-untyped-def]
    """A share that has a logarithm: float32."""
    return np.float32(share) + np.float32(1e-5)


@kernel
def log_share(share):  # type: ignore[no-untyped-def]
    """11.5 + log(1e-5 + share)."""
    return np.log(smoothed(share)) + SHARE_OFFSET


@kernel
def log_shares(counts, whole, items, n, out):  # type: ignore[no-untyped-def]
    """Write the `log_share` of the first n items to `out`: float32[>= n].

    counts : by item number; whole : the count of an item that has a share of one.
    """
    for i in range(n):
        out[i] = counts[items[i]]
    log_all_shares(out, whole, n, out)


@kernel
def log_all_shares(counts, whole, n, out):  # type: ignore[no-untyped-def]
    """As `log_shares`, of the first n counts."""
    scale = np.float32(1.0 / whole)
    for i in range(n):
        out[i] = smoothed(counts[i] * scale)
    log_in_place(out[:n])
    for i in range(n):
        out[i] += SHARE_OFFSET
