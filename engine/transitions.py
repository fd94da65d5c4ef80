"""Item-to-item transitions: what users take after, and around, an item.

Two weights a transition, both decayed by how many of the user's items lie between the two (q = 0
for the most recent): a directed short one (.8^q) and a symmetric long one (.95^q). The long one is
read twice, as it is and through a saturating function. A row is bounded; a full one evicts its
weakest transition.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from engine.arrays import grown
from engine.compiled import kernel
from engine.saving import State

_SHORT, _LONG = np.float32(0.8), np.float32(0.95)
_SATURATING = np.float32(0.9)
"""Decay over the history with which the saturating channel is read."""


class Transitions:
    """Bounded rows of weighted transitions.

    Attributes
    ----------
    items : int32[items, length]
        The other item of each transition.
    weights : float32[items, length, 2]
        Directed, symmetric.
    degree : int32[items]
        Slots in use.
    """

    STATE: ClassVar[State] = State(arrays=("items", "weights", "degree", "_marks"))

    def __init__(self, length: int, items: int = 1024) -> None:
        self.items: NDArray[np.int32] = np.zeros((items, length), np.int32)
        self.weights: NDArray[np.float32] = np.zeros((items, length, 2), np.float32)
        self.degree: NDArray[np.int32] = np.zeros(items, np.int32)
        # Scratch, zero between two calls: marks a few items by number.
        self._marks: NDArray[np.uint8] = np.zeros(items, np.uint8)

    def reserve(self, items: int) -> None:
        """Make room for `items` items."""
        self.items = grown(self.items, items)
        self.weights = grown(self.weights, items)
        self.degree = grown(self.degree, items)
        self._marks = grown(self._marks, items)

    def record(self, history: NDArray[np.int32], item: int, weight: float) -> None:
        """Count that `item` followed `history` (int32[n], most recent first)."""
        _record(self.items, self.weights, self.degree, history, item, np.float32(weight))

    def take_back(self, history: NDArray[np.int32], item: int, weight: float) -> None:
        """Undo a `record`, as far as the transitions are still held."""
        _take_back(self.items, self.weights, self.degree, history, item, np.float32(weight))

    def scores(
        self,
        history: NDArray[np.int32],
        counts: NDArray[np.float32],
        events: int,
        candidates: NDArray[np.int32],
        position: NDArray[np.int32],
        out: NDArray[np.float32],
    ) -> None:
        """Write the three scores (directed, symmetric, saturating) of the candidates to `out`.

        A source is normalised by the root of its count; the saturating channel also discounts
        popular targets.

        Parameters
        ----------
        history : int32[n], most recent first
        counts : float32[items]
        candidates, position : int32[m], int32[items]
            Item numbers, and where among them an item is (or -1).
        out : float32[>= 3, >= m]
        """
        _gather(
            self.items, self.weights, self.degree, history, counts, events, candidates, position,
            out,
        )  # fmt: skip
        logarithmic = out[:2, : len(candidates)]
        np.log(logarithmic, out=logarithmic)

    def around(
        self, items: NDArray[np.int32], position: NDArray[np.int32], out: NDArray[np.float32]
    ) -> None:
        """Write to `out` (float32[m]) how near each candidate is to any of `items` (int32[n]).

        The nearest to an item get 1, by the symmetric weights.
        """
        _around(self.items, self.weights, self.degree, items, position, out)

    def strongest(
        self, history: NDArray[np.int32], targets: NDArray[np.int32]
    ) -> NDArray[np.int32]:
        """For each target, the item of `history` it is taken around most, or -1: int32[targets].

        Read from the targets' own rows, which hold the symmetric weights.
        """
        return _strongest(self.items, self.weights, self.degree, history, targets, self._marks)  # type: ignore[no-any-return]


@kernel
def _find(items, degree, source, target):  # type: ignore[no-untyped-def]
    """The slot of a transition, or -1."""
    row = items[source]
    found = -1
    # To the end of the row, found or not: a loop without an exit is vectorised.
    for slot in range(degree[source]):
        if row[slot] == target:
            found = slot
    return found


@kernel
def _slot(items, weights, degree, source, target):  # type: ignore[no-untyped-def]
    """The slot of a transition, made if it is new."""
    slot = _find(items, degree, source, target)
    if slot >= 0:
        return slot
    used = degree[source]
    if used < items.shape[1]:
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
    items[source, slot] = target
    weights[source, slot] = np.float32(0.0)
    return slot


@kernel
def _record(items, weights, degree, history, item, weight):  # type: ignore[no-untyped-def]
    short = long = weight
    for q in range(len(history)):
        source = history[q]
        if source != item:
            forward = weights[source, _slot(items, weights, degree, source, item)]
            forward[0] += short
            forward[1] += long
            backward = weights[item, _slot(items, weights, degree, item, source)]
            backward[1] += long
        short *= _SHORT
        long *= _LONG


@kernel
def _take_back(items, weights, degree, history, item, weight):  # type: ignore[no-untyped-def]
    zero = np.float32(0.0)
    short = long = weight
    for q in range(len(history)):
        source = history[q]
        slot = _find(items, degree, source, item)
        if slot >= 0:
            forward = weights[source, slot]
            forward[0] = max(forward[0] - short, zero)
            forward[1] = max(forward[1] - long, zero)
        slot = _find(items, degree, item, source)
        if slot >= 0:
            backward = weights[item, slot]
            backward[1] = max(backward[1] - long, zero)
        short *= _SHORT
        long *= _LONG


@kernel
def _gather(items, weights, degree, history, counts, events, candidates, position, out):  # type: ignore[no-untyped-def]
    one = np.float32(1.0)
    n = len(candidates)
    directed, symmetric, saturating = out[0], out[1], out[2]
    # A target's discount is the root of how rare it is, smoothed while the stream is young.
    rarity = np.empty(n, np.float32)
    scale = np.float32((events + 1000.0) / 1000.0)
    for c in range(n):
        directed[c] = symmetric[c] = saturating[c] = np.float32(0.0)
        rarity[c] = np.sqrt(scale / (counts[candidates[c]] + one))
    short = long = middle = one
    short_total = long_total = np.float32(0.0)
    for q in range(len(history)):
        source = history[q]
        norm = one / np.sqrt(counts[source] + np.float32(0.5))
        short_total += short
        long_total += long
        a, b = short * norm, long * norm
        for slot in range(degree[source]):
            c = position[items[source, slot]]
            if c >= 0:
                weight = weights[source, slot, 1]
                directed[c] += a * weights[source, slot, 0]
                symmetric[c] += b * weight
                v = norm * weight * rarity[c]
                saturating[c] += middle * v / (one + v)
        short *= _SHORT
        long *= _LONG
        middle *= _SATURATING
    short_scale = np.float32(1e4) / short_total
    long_scale = np.float32(1e4) / long_total
    for c in range(n):
        directed[c] = one + directed[c] * short_scale
        symmetric[c] = one + symmetric[c] * long_scale
        saturating[c] *= np.float32(0.3)


@kernel
def _around(items, weights, degree, sources, position, out):  # type: ignore[no-untyped-def]
    out[:] = np.float32(0.0)
    for s in range(len(sources)):
        source = sources[s]
        strongest = np.float32(1e-9)
        for slot in range(degree[source]):
            strongest = max(strongest, weights[source, slot, 1])
        for slot in range(degree[source]):
            c = position[items[source, slot]]
            if c >= 0:
                out[c] = max(out[c], weights[source, slot, 1] / strongest)


@kernel
def _strongest(items, weights, degree, history, targets, marks):  # type: ignore[no-untyped-def]
    best = np.full(len(targets), -1, np.int32)
    for q in range(len(history)):
        marks[history[q]] = 1
    for t in range(len(targets)):
        target = targets[t]
        strongest = np.float32(0.0)
        for slot in range(degree[target]):
            if marks[items[target, slot]] and weights[target, slot, 1] > strongest:
                strongest = weights[target, slot, 1]
                best[t] = items[target, slot]
    for q in range(len(history)):
        marks[history[q]] = 0
    return best
