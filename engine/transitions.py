"""Item-to-item transitions: what users take after, and around, an item.

Three weights a transition, all decayed by how many of the user's items lie between the two
(q = 0 for the most recent): a directed short one (.8^q), a symmetric long one (.95^q) and a
symmetric one (.9^q) that is read through a saturating function. A row is bounded; a full one
evicts its weakest transition.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.arrays import grown
from engine.compiled import kernel

CHANNELS = 3
_DECAY = np.array([0.8, 0.95, 0.9], np.float32)


class Transitions:
    """Bounded rows of weighted transitions.

    Attributes
    ----------
    items : int32[items, length]
        The other item of each transition.
    weights : float32[items, length, 3]
    degree : int32[items]
        Slots in use.
    """

    def __init__(self, length: int, items: int = 1024) -> None:
        self.items: NDArray[np.int32] = np.zeros((items, length), np.int32)
        self.weights: NDArray[np.float32] = np.zeros((items, length, CHANNELS), np.float32)
        self.degree: NDArray[np.int32] = np.zeros(items, np.int32)

    def reserve(self, items: int) -> None:
        """Make room for `items` items."""
        self.items = grown(self.items, items)
        self.weights = grown(self.weights, items)
        self.degree = grown(self.degree, items)

    def record(self, history: NDArray[np.int32], item: int, weight: float) -> None:
        """Count that `item` followed `history` (int32[n], most recent first)."""
        _record(self.items, self.weights, self.degree, history, item, np.float32(weight), _DECAY)

    def scores(
        self,
        history: NDArray[np.int32],
        counts: NDArray[np.float32],
        events: int,
        items: int,
        out: NDArray[np.float32],
    ) -> None:
        """Write each channel's score of the first `items` items to `out` (float32[>=3, >=items]).

        A source is normalised by the root of its count; the saturating channel also discounts
        popular targets.
        """
        _scores(self.items, self.weights, self.degree, history, counts, events, items, out, _DECAY)
        np.log(out[:2, :items], out=out[:2, :items])

    def strongest(
        self, history: NDArray[np.int32], targets: NDArray[np.int32]
    ) -> NDArray[np.int32]:
        """For each target, the item of `history` it is taken around most, or -1: int32[targets].

        Read from the targets' own rows, which hold the symmetric weights.
        """
        return _strongest(self.items, self.weights, self.degree, history, targets)


@kernel
def _slot(items, weights, degree, source, target):  # type: ignore[no-untyped-def]
    """The slot of a transition, made if it is new."""
    row = items[source]
    used = degree[source]
    for slot in range(used):
        if row[slot] == target:
            return slot
    if used < len(row):
        degree[source] = used + 1
        slot = used
    else:
        slot = 0
        weakest = weights[source, 0, 0] + weights[source, 0, 1]
        for other in range(1, used):
            strength = weights[source, other, 0] + weights[source, other, 1]
            if strength < weakest:
                weakest = strength
                slot = other
    row[slot] = target
    weights[source, slot] = np.float32(0.0)
    return slot


@kernel
def _record(items, weights, degree, history, item, weight, decay):  # type: ignore[no-untyped-def]
    short = long = middle = weight
    for q in range(len(history)):
        source = history[q]
        if source != item:
            forward = weights[source, _slot(items, weights, degree, source, item)]
            forward[0] += short
            forward[1] += long
            forward[2] += middle
            backward = weights[item, _slot(items, weights, degree, item, source)]
            backward[1] += long
            backward[2] += middle
        short *= decay[0]
        long *= decay[1]
        middle *= decay[2]


@kernel
def _scores(items, weights, degree, history, counts, events, n, out, decay):  # type: ignore[no-untyped-def]
    one = np.float32(1.0)
    directed, symmetric, saturating = out[0], out[1], out[2]
    for j in range(n):
        directed[j] = symmetric[j] = saturating[j] = np.float32(0.0)
    # A target's discount is the root of how rare it is, smoothed while the stream is young.
    rarity = np.empty(n, np.float32)
    scale = np.float32((events + 1000.0) / 1000.0)
    for j in range(n):
        rarity[j] = np.sqrt(scale / (counts[j] + one))
    short = long = middle = one
    short_total = long_total = np.float32(0.0)
    for q in range(len(history)):
        source = history[q]
        norm = one / np.sqrt(counts[source] + np.float32(0.5))
        short_total += short
        long_total += long
        a, b = short * norm, long * norm
        for slot in range(degree[source]):
            j = items[source, slot]
            w = weights[source, slot]
            directed[j] += a * w[0]
            symmetric[j] += b * w[1]
            v = norm * w[2] * rarity[j]
            saturating[j] += middle * v / (one + v)
        short *= decay[0]
        long *= decay[1]
        middle *= decay[2]
    short_scale = np.float32(1e4) / short_total
    long_scale = np.float32(1e4) / long_total
    for j in range(n):
        directed[j] = one + directed[j] * short_scale
        symmetric[j] = one + symmetric[j] * long_scale
        saturating[j] *= np.float32(0.3)


@kernel
def _strongest(items, weights, degree, history, targets):  # type: ignore[no-untyped-def]
    best = np.full(len(targets), -1, np.int32)
    for t in range(len(targets)):
        target = targets[t]
        strongest = np.float32(0.0)
        for slot in range(degree[target]):
            strength = weights[target, slot, 2]
            if strength > strongest:
                source = items[target, slot]
                for q in range(len(history)):
                    if history[q] == source:
                        strongest = strength
                        best[t] = source
                        break
    return best
