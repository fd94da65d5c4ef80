"""A user's taste in texts: decayed profiles of what they read or wrote, and a learnt match.

    score_j = (M_s s_u + M_l l_u) . x_j

with s_u and l_u the short and long exponential mean of the vectors x of the user's texts, and the
bilinear maps M learnt online (Eq. 2; a plain cosine gains nothing over the graph).
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.arrays import grown
from engine.compiled import kernel
from engine.state.schema import ROWS, Array, State

_KEEP = np.array([0.6, 0.95], np.float32)
"""What a profile keeps of itself at each new text: short, long."""


class TasteArrays(NamedTuple):
    """What kernels read and write of a `Taste`."""

    profiles: NDArray[np.float32]
    maps: NDArray[np.float32]
    accumulated: NDArray[np.float32]
    rate: np.float32


class Taste:
    """Profiles of all users and the maps that match them to items.

    Attributes
    ----------
    profiles : float32[users, 2, width]
    maps, accumulated : float32[2, width, width]
        M_s and M_l, and their sums of squared gradients.
    """

    STATE: ClassVar[State] = State(
        {
            "profiles": Array("users/taste/profiles", (ROWS, None, None)),
            "maps": Array("model/taste/maps", (None, None, None)),
            "accumulated": Array("model/taste/accumulated", (None, None, None), fill=1),
        },
        unsaved=("_rate",),
    )

    def __init__(self, width: int, rate: float = 0.05, users: int = 1024) -> None:
        """`rate` is the learning rate of the maps."""
        self._rate = np.float32(rate)
        self.profiles: NDArray[np.float32] = np.zeros((users, 2, width), np.float32)
        self.maps: NDArray[np.float32] = np.stack([np.eye(width, dtype=np.float32)] * 2)
        self.accumulated: NDArray[np.float32] = np.ones_like(self.maps)

    @property
    def arrays(self) -> TasteArrays:
        """As kernels take them."""
        return TasteArrays(self.profiles, self.maps, self.accumulated, self._rate)

    def reserve(self, users: int) -> None:
        """Make room for `users` users."""
        self.profiles = grown(self.profiles, users)

    def record(self, user: int, vector: NDArray[np.float32], later: int = 0) -> None:
        """Fade a user's profiles and add a text's vector (float32[width]).

        One that is told late, when they read `later` others since, is added as those left it.
        """
        read(self.arrays, user, vector, later)

    def rotate(self, rotation: NDArray[np.float32]) -> None:
        """Carry profiles and maps over to a new basis of the item vectors."""
        self.profiles = self.profiles @ rotation.T
        # Only what was learnt: a direction that is new starts as every one did, at the identity.
        start = np.eye(len(rotation), dtype=np.float32)
        self.maps = start + rotation @ (self.maps - start) @ rotation.T

    def forget(self, user: int) -> None:
        """Forget a user's profiles."""
        self.profiles[user] = 0.0


@kernel
def direction(taste, user, out):  # type: ignore[no-untyped-def]
    """Write what a user's items are scored against, M_s s_u + M_l l_u, to `out`: float32[width]."""
    width = taste.profiles.shape[2]
    for d in range(width):
        total = np.float32(0.0)
        for m in range(2):
            for f in range(width):
                total += taste.maps[m, d, f] * taste.profiles[user, m, f]
        out[d] = total


@kernel
def read(taste, user, vector, later):  # type: ignore[no-untyped-def]
    """See `Taste.record`."""
    one = np.float32(1.0)
    for m in range(2):
        added = (one - _KEEP[m]) * _KEEP[m] ** np.float32(later)
        for d in range(len(vector)):
            p = taste.profiles[user, m, d]
            taste.profiles[user, m, d] = (one - added) * p + added * vector[d]


@kernel
def learn_maps(taste, user, gradient):  # type: ignore[no-untyped-def]
    """One Adagrad step; `gradient` (float32[width]) is the loss's by `direction`."""
    rate = taste.rate
    width = taste.profiles.shape[2]
    for m in range(2):
        for d in range(width):
            for f in range(width):
                g = gradient[d] * taste.profiles[user, m, f]
                a = taste.accumulated[m, d, f] + g * g
                taste.accumulated[m, d, f] = a
                taste.maps[m, d, f] -= rate * g / np.sqrt(a)
