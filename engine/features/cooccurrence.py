"""What is taken after, and around, an item: six readings of the transitions in one pass.

Each is best on another kind of stream; the head learns which counts here. `engine.features.table`
has their formulas. Weights that fade by .8 an item are read of the last 16 items only: what lies
further back weighs less than 3 %.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.compiled import kernel
from engine.features.elementwise import log_in_place
from engine.features.transitions import LONG, SHORT
from engine.features.user_items import find
from engine.graph import NODES

NEAR = 16
"""How many of the latest items are read with a weight that fades by .8 an item."""
_FADE, _SATURATING = np.float32(0.8), np.float32(0.9)
_SCALE = np.float32(1e4)
_LIFT_PRIOR = np.float32(5.0)
_LOGARITHMS = 5
"""Features that are logarithms: all but the saturating one."""
_DIRECTED, _SYMMETRIC, _COSINE, _LIFT, _SATURATED, _FOLLOWS = range(6)
_SUMS = 8
"""Numbers of a candidate's sums, of which two are not used: a power of two is found faster."""


class CooccurrenceScratch(NamedTuple):
    """Memory of `gather_cooccurrence`.

    Attributes
    ----------
    rarity : float32[n]
        The root of how rare each candidate is.
    sums : float32[n, 8]
        Of each candidate, the sums that its features are made of, next to each other: a transition
        adds to all of them at once.
    places : int32[n + 1]
        The candidates that transitions name, in order; one more is written before it is known
        whether it counts.
    values : float32[5, n]
        Theirs.
    """

    rarity: NDArray[np.float32]
    sums: NDArray[np.float32]
    places: NDArray[np.int32]
    values: NDArray[np.float32]

    @classmethod
    def of(cls, candidates: int) -> CooccurrenceScratch:
        """New memory for so many candidates."""
        return cls(
            np.zeros(candidates, np.float32),
            np.zeros((candidates, _SUMS), np.float32),
            np.zeros(candidates + 1, np.int32),
            np.zeros((_LOGARITHMS, candidates), np.float32),
        )


@kernel
def gather_cooccurrence(  # type: ignore[no-untyped-def]
    t, history, liked, counts, events, taken, position, memory, following, around
):
    """Write six features of the candidates: three to `following`, three to `around`.

    Of a large catalogue most candidates are named by no transition, and have zeros.

    Parameters
    ----------
    t : TransitionArrays
    history : int32[n], most recent first
    liked : int32[<= n]
        Those of the history that the user does not dislike, in its order.
    counts : float32[items]
    taken : float32[m]
        The counts of the candidates.
    position : int32[items]
        Where among the candidates an item is, or -1.
    memory : CooccurrenceScratch
        Of m candidates or more.
    following : float32[3, >= m]
        Directed, symmetric, saturating, of the whole history.
    around : float32[3, >= m]
        Cosine, lift, and what follows the last item, of those liked.
    """
    zero, one = np.float32(0.0), np.float32(1.0)
    n, rarity, sums = len(taken), memory.rarity, memory.sums
    # A target's discount is the root of how rare it is, smoothed while the stream is young.
    scale = np.float32((events + 1000.0) / 1000.0)
    for c in range(n):
        rarity[c] = np.sqrt(scale / (taken[c] + one))
    flat = sums.reshape(sums.size)
    flat[: n * _SUMS] = zero
    short = long = middle = fade = one
    short_total = long_total = zero
    next_liked = 0
    for q in range(len(history)):
        source = history[q]
        first = t.start[source]
        row = t.items[first : first + t.degree[source]]
        pairs = t.weights[first : first + t.degree[source]]
        count = counts[source]
        norm = one / np.sqrt(count + np.float32(0.5))
        long_total += long
        by_long = long * norm
        if q < NEAR:
            short_total += short
            by_short = short * norm
            by_root = by_count = zero
            if next_liked < len(liked) and liked[next_liked] == source:
                if next_liked == 0:
                    _read_follows(row, pairs, position, sums)
                by_root = fade / np.sqrt(count + one)
                by_count = fade / (count + _LIFT_PRIOR)
                next_liked += 1
                fade *= _FADE
            _read_near(
                row, pairs, position, rarity, by_short, by_long, by_root, by_count, norm, middle,
                sums,
            )  # fmt: skip
        else:
            _read_far(row, pairs, position, rarity, by_long, norm, middle, sums)
        short *= SHORT
        long *= LONG
        middle *= _SATURATING
    for feature in (following[0], following[1], following[2], around[0], around[1], around[2]):
        feature[:n] = zero
    many = 0
    for c in range(n):
        memory.places[many] = c
        many += sums[c, _SYMMETRIC] + sums[c, _DIRECTED] > 0
    if many > 0:
        _finish(
            memory, many, taken, _SCALE / short_total, _SCALE / long_total,
            np.float32(100.0) / np.sqrt(scale), np.float32(events + 1.0), following, around,
        )  # fmt: skip


@kernel
def _finish(  # type: ignore[no-untyped-def]
    memory, many, taken, by_short, by_long, by_root, by_count, following, around
):
    """Make the features of those named of their sums."""
    one = np.float32(1.0)
    values, sums = memory.values, memory.sums
    for i in range(many):
        c = memory.places[i]
        values[0, i] = one + sums[c, _DIRECTED] * by_short
        values[1, i] = one + sums[c, _SYMMETRIC] * by_long
        values[2, i] = one + sums[c, _COSINE] * memory.rarity[c] * by_root
        values[3, i] = one + sums[c, _LIFT] * by_count / (taken[c] + _LIFT_PRIOR)
        values[4, i] = one + sums[c, _FOLLOWS]
        following[2, c] = np.float32(0.3) * sums[c, _SATURATED]
    for k in range(_LOGARITHMS):
        log_in_place(values[k, :many])
    for i in range(many):
        c = memory.places[i]
        following[0, c], following[1, c] = values[0, i], values[1, i]
        around[0, c], around[1, c], around[2, c] = values[2, i], values[3, i], values[4, i]


@kernel
def _read_near(  # type: ignore[no-untyped-def]
    row, pairs, position, rarity, by_short, by_long, by_root, by_count, norm, middle, sums
):
    """Add a row to the sums, its weights multiplied by what its item and its place say."""
    one = np.float32(1.0)
    for slot in range(len(row)):
        # Unsigned, an index is not looked at for whether it counts from the end.
        c = position[np.uint32(row[slot])]
        if c >= 0:
            own, weight = sums[np.uint32(c)], pairs[slot, 1]
            v = norm * weight * rarity[np.uint32(c)]
            own[_DIRECTED] += by_short * pairs[slot, 0]
            own[_SYMMETRIC] += by_long * weight
            own[_COSINE] += by_root * weight
            own[_LIFT] += by_count * weight
            own[_SATURATED] += middle * v / (one + v)


@kernel
def _read_far(row, pairs, position, rarity, by_long, norm, middle, sums):  # type: ignore[no-untyped-def]
    """As `_read_near`, of an item that lies further back."""
    one = np.float32(1.0)
    for slot in range(len(row)):
        c = position[np.uint32(row[slot])]
        if c >= 0:
            own, weight = sums[np.uint32(c)], pairs[slot, 1]
            v = norm * weight * rarity[np.uint32(c)]
            own[_SYMMETRIC] += by_long * weight
            own[_SATURATED] += middle * v / (one + v)


@kernel
def _read_follows(row, pairs, position, sums):  # type: ignore[no-untyped-def]
    """Add 1000 times the share of what followed an item, of its row: int32[n], float32[n, 2]."""
    total = np.float32(1.0)
    for slot in range(len(row)):
        total += pairs[slot, 0]
    scale = np.float32(1000.0) / total
    for slot in range(len(row)):
        c = position[row[slot]]
        if c >= 0:
            sums[c, _FOLLOWS] += scale * pairs[slot, 0]


@kernel
def gather_disliked(t, lists, user, position, out):  # type: ignore[no-untyped-def]
    """Write how near each candidate is to any of a user's items in `lists`: out is float32[m].

    The nearest to an item get 1, by the symmetric weights. `position` finds an item among the
    candidates, or is -1. What left has been purged from the rows.
    """
    out[:] = np.float32(0.0)
    for at in range(lists.start[user], lists.start[user] + lists.length[user]):
        source = lists.entries[at] & (NODES - 1)
        first = t.start[source]
        row = t.items[first : first + t.degree[source]]
        pairs = t.weights[first : first + t.degree[source]]
        strongest = np.float32(1e-9)
        for slot in range(len(row)):
            strongest = max(strongest, pairs[slot, 1])
        scale = np.float32(1.0) / strongest
        for slot in range(len(row)):
            c = position[row[slot]]
            if c >= 0:
                out[c] = max(out[c], pairs[slot, 1] * scale)


@kernel
def without(history, lists, user, out):  # type: ignore[no-untyped-def]
    """Write the items of the history (int32[n], in its order) that are not in a user's list.

    Returns how many; out is int32[>= n].
    """
    kept = 0
    for q in range(len(history)):
        if find(lists, user, history[q]) < 0:
            out[kept] = history[q]
            kept += 1
    return kept
