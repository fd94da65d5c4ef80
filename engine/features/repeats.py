"""What a user took before and may be shown again: how lately and how often they took it.

Read from the user's row in the graph, which holds every time they took something.

    again(j)        = 1
    again_often(j)  = log(times that the row holds j)
    again_rank(j)   = log(1 + q), q the place of its latest time in the row, 0 the last
    again_time(j)   = log(1 + time since then / mean time between two entries of the row)

Time ends at the user's last event: what was in the same basket is 0. All four are 0 for an item
that the row does not hold.
"""

from __future__ import annotations

import numpy as np

from engine.compiled import kernel
from engine.features.user_items import any_repeatable
from engine.graph import NODES

_NUMBER = np.uint32(NODES - 1)


@kernel
def gather_repeats(rows, taken, user, position, n, out):  # type: ignore[no-untyped-def]
    """Write the four rows of the candidates to `out`: float32[4, >= n].

    rows : the users' of the graph; taken : the users' items, of which those that may not be shown
    again need no features; `position` (int32[items]) finds an item among the candidates, or is -1.
    """
    edges, times, degree = rows.edges[user], rows.times[user], rows.degree[user]
    for k in range(4):
        for c in range(n):
            out[k, c] = np.float32(0.0)
    held = min(degree, len(edges))
    if held == 0 or not any_repeatable(taken, user):
        return
    last = times[(degree - 1) % len(edges)]
    gap = (last - times[(degree - held) % len(edges)]) / max(held - 1, 1) + 1.0
    for q in range(held):
        slot = (degree - 1 - q) % len(edges)
        c = position[edges[slot] & _NUMBER]
        if c < 0 or c >= n:
            continue
        if out[0, c] == 0:
            out[0, c] = np.float32(1.0)
            out[2, c] = np.log(np.float32(q + 1.0))
            out[3, c] = np.log(np.float32(1.0 + (last - times[slot]) / gap))
        out[1, c] += np.float32(1.0)
    for c in range(n):
        if out[1, c] > 0:
            out[1, c] = np.log(out[1, c])
