"""Three more readings of the transitions: cosine, lift, and what follows the last item alone.

Of the weights that `engine.features.transitions` keeps. Each reading is best on another kind of
stream; the head learns which counts here. With long and short, the two weights of a transition,
and n, the counts of items:

    cosine(j)  = log(1 + 100 sum_q .8^q long(i_q, j) / sqrt((n(i_q) + 1) (n(j) + 1)))
    lift(j)    = log(1 + (events + 1) sum_q .8^q long(i_q, j) / ((n(i_q) + 5) (n(j) + 5)))
    follows(j) = log(1 + 1000 short(i_0 -> j) / (1 + sum_k short(i_0 -> k)))
"""

from __future__ import annotations

import numpy as np

from engine.compiled import kernel
from engine.features.elementwise import log_in_place
from engine.features.user_items import find

_DECAY = np.float32(0.8)
_LIFT_PRIOR = np.float32(5.0)


@kernel
def gather_cooccurrence(t, history, counts, events, candidates, position, scratch, out):  # type: ignore[no-untyped-def]
    """Write the three rows of the candidates, in the order above, to `out`: float32[3, >= n].

    `history` (int32, latest first) and `candidates` hold item numbers, which `position` finds among
    the candidates; `counts` is float32[items], `scratch` float32[2, >= n].
    """
    one = np.float32(1.0)
    n = len(candidates)
    cosine, lift, follows = out[0], out[1], out[2]
    root, rarity = scratch[0], scratch[1]
    scale = np.float32(events + 1.0)
    for c in range(n):
        count = counts[candidates[c]]
        cosine[c] = lift[c] = np.float32(0.0)
        follows[c] = one
        root[c] = one / np.sqrt(count + one)
        rarity[c] = scale / (count + _LIFT_PRIOR)
    fade = one
    for q in range(len(history)):
        source = history[q]
        first = t.start[source]
        row = t.items[first : first + t.degree[source]]
        pairs = t.weights[first : first + t.degree[source]]
        by_root = np.float32(100.0) * fade / np.sqrt(counts[source] + one)
        by_count = fade / (counts[source] + _LIFT_PRIOR)
        for slot in range(len(row)):
            c = position[row[slot]]
            if c >= 0:
                long = pairs[slot, 1]
                cosine[c] += by_root * long * root[c]
                lift[c] += by_count * long * rarity[c]
        fade *= _DECAY
    if len(history) > 0:
        first = t.start[history[0]]
        last = first + t.degree[history[0]]
        total = one
        for slot in range(first, last):
            total += t.weights[slot, 0]
        for slot in range(first, last):
            c = position[t.items[slot]]
            if c >= 0:
                follows[c] += np.float32(1000.0) * t.weights[slot, 0] / total
    for c in range(n):
        cosine[c] += one
        lift[c] += one
    log_in_place(cosine[:n])
    log_in_place(lift[:n])
    log_in_place(follows[:n])


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
