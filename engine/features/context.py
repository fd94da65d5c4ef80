"""A user's context: what decides how much each feature counts for them now.

    c_u = [1, log(n_u + 1) / 3 - 1, popularity level, length of the session, quality level]

People browse shelves: what they take next is about as popular, and as well rated by others, as
what they just took. The levels are decayed means over their last items; the session counts the
last items, the q-th of which came no more than q minutes before the last.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.arrays import grown
from engine.compiled import kernel
from engine.state.schema import ROWS, Array, State

CONTEXTS = 5
CONTEXT_NAMES = ("constant", "length", "popularity", "session", "quality")
_KEEP_POPULARITY, _KEEP_QUALITY = 0.7, 0.3
"""What a level keeps of itself at each new item."""
_SESSION_ITEMS = 20
_SESSION_GAP_MS = 60_000


class ContextArrays(NamedTuple):
    """What kernels read and write of `Contexts`."""

    lengths: NDArray[np.int64]
    levels: NDArray[np.float32]


class Contexts:
    """The history lengths and levels of all users.

    Attributes
    ----------
    lengths : int64[users]
        Distinct items that a user has taken.
    levels : float32[users, 2]
        Popularity and quality of what they took last.
    """

    STATE: ClassVar[State] = State(
        {
            "lengths": Array("users/context/lengths", (ROWS,)),
            "levels": Array("users/context/levels", (ROWS, None)),
        },
        check="_fault",
    )

    def __init__(self, users: int = 1024) -> None:
        self.lengths: NDArray[np.int64] = np.zeros(users, np.int64)
        self.levels: NDArray[np.float32] = np.zeros((users, 2), np.float32)

    @property
    def arrays(self) -> ContextArrays:
        """As kernels take them."""
        return ContextArrays(self.lengths, self.levels)

    def _fault(self) -> str:
        return "a user took less than nothing" if (self.lengths < 0).any() else ""

    def reserve(self, users: int) -> None:
        """Make room for `users` users."""
        self.lengths = grown(self.lengths, users)
        self.levels = grown(self.levels, users)

    def forget(self, user: int) -> None:
        """Forget a user's length and levels."""
        self.lengths[user] = 0
        self.levels[user] = 0.0


@kernel
def move_levels(c, user, popularity, quality, later):  # type: ignore[no-untyped-def]
    """Count an item that a user took, and move their levels towards its own.

    One that is told late, when they took `later` others since, moves them as little as if they had
    faded it; that it also moved on what came before it is not made up for.
    """
    if c.lengths[user] > 0:
        keep = 1.0 - (1.0 - _KEEP_POPULARITY) * _KEEP_POPULARITY**later
        popularity += keep * (c.levels[user, 0] - popularity)
        keep = 1.0 - (1.0 - _KEEP_QUALITY) * _KEEP_QUALITY**later
        quality += keep * (c.levels[user, 1] - quality)
    c.levels[user, 0], c.levels[user, 1] = popularity, quality
    c.lengths[user] += 1


@kernel
def context_of(c, rows, user, out):  # type: ignore[no-untyped-def]
    """Write c_u to `out`: float32[5]. `rows` are the users' of the graph."""
    times, degree = rows.times[user], rows.degree[user]
    out[0] = 1.0
    out[1] = np.log(c.lengths[user] + 1.0) / 3.0 - 1.0
    out[2] = (c.levels[user, 0] - 5.0) / 2.0
    held = min(degree, len(times), _SESSION_ITEMS)
    last = times[(degree - 1) % len(times)]
    session = 0
    for q in range(1, held):
        if last - times[(degree - 1 - q) % len(times)] > _SESSION_GAP_MS * q:
            break
        session += 1
    out[3] = np.log(session + 1.0) - 1.0
    out[4] = c.levels[user, 1]
