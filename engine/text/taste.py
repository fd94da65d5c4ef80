"""A user's taste in texts: decayed profiles of what they read or wrote, and a learnt match.

    score_j = (M_s s_u + M_l l_u) . x_j

with s_u and l_u the short and long exponential mean of the vectors x of the user's texts, and the
bilinear maps M learnt online (Eq. 2; a plain cosine gains nothing over the graph).
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from engine.arrays import grown
from engine.compiled import kernel
from engine.state.schema import ROWS, Array, State

_KEEP = np.array([0.6, 0.95], np.float32)
"""What a profile keeps of itself at each new text: short, long."""
_LEARNING_RATE = 0.05


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
        }
    )

    def __init__(self, width: int, users: int = 1024) -> None:
        self.profiles: NDArray[np.float32] = np.zeros((users, 2, width), np.float32)
        self.maps: NDArray[np.float32] = np.stack([np.eye(width, dtype=np.float32)] * 2)
        self.accumulated: NDArray[np.float32] = np.ones_like(self.maps)

    def reserve(self, users: int) -> None:
        """Make room for `users` users."""
        self.profiles = grown(self.profiles, users)

    def record(self, user: int, vector: NDArray[np.float32], later: int = 0) -> None:
        """Fade a user's profiles and add a text's vector (float32[width]).

        One that is told late, when they read `later` others since, is added as those left it.
        """
        keep = 1 - (1 - _KEEP) * _KEEP**later if later else _KEEP
        _record(self.profiles[user], vector, keep)

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
def direction(maps, profile):  # type: ignore[no-untyped-def]
    """What a user's items are scored against: M_s s_u + M_l l_u, float32[width]."""
    width = profile.shape[1]
    out = np.zeros(width, np.float32)
    for m in range(2):
        for d in range(width):
            total = np.float32(0.0)
            for f in range(width):
                total += maps[m, d, f] * profile[m, f]
            out[d] += total
    return out


@kernel
def _record(profile, vector, keep):  # type: ignore[no-untyped-def]
    for m in range(2):
        for d in range(profile.shape[1]):
            profile[m, d] = keep[m] * profile[m, d] + (np.float32(1.0) - keep[m]) * vector[d]


@kernel
def learn_maps(maps, accumulated, profile, gradient):  # type: ignore[no-untyped-def]
    """One Adagrad step; `gradient` (float32[width]) is the loss's by `direction`."""
    rate = np.float32(_LEARNING_RATE)
    width = profile.shape[1]
    for m in range(2):
        for d in range(width):
            for f in range(width):
                g = gradient[d] * profile[m, f]
                a = accumulated[m, d, f] + g * g
                accumulated[m, d, f] = a
                maps[m, d, f] -= rate * g / np.sqrt(a)
