"""Differences of two models over the same users: how large, how certain, by numpy alone.

The user is the unit. Two models answer the same question about each user, so the difference is
taken within users. The test flips the signs of the users' differences at random (Fisher's paired
randomisation test); the interval resamples users (Efron's percentile bootstrap). Smucker et al.
(2007) found that both suit measures of rankings.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

DRAWS = 10_000
"""Random sign flips of the test, and resamples of the interval."""
LEVEL = 0.95
"""Of the interval; a difference is shown where its adjusted p is below 1 - LEVEL."""
_CHUNK = 500
_ROUNDING = 1e-12


class Differences(NamedTuple):
    """Of k comparisons over the same users, float64[k] each: mean, interval, two-sided p."""

    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    p: NDArray[np.float64]


def paired(differences: NDArray[np.float64], seed: int = 0) -> Differences:
    """Mean differences with their intervals and p.

    Parameters
    ----------
    differences : float64[users, k]
        One model's measure less the other's, of each user. At least one user.
    seed
        Of flips and resamples.

    Notes
    -----
    p counts the observed signs among the flips, so it is at least 1 / (DRAWS + 1).
    """
    users = len(differences)
    mean = differences.mean(0)
    rng = np.random.default_rng(seed)
    extreme = np.zeros(differences.shape[1])
    resampled = []
    for start in range(0, DRAWS, _CHUNK):
        count = min(_CHUNK, DRAWS - start)
        signs = rng.integers(0, 2, (count, users)) * 2.0 - 1.0
        flipped = np.abs(signs @ differences) / users
        extreme += (flipped >= np.abs(mean) - _ROUNDING).sum(0)
        times = rng.multinomial(users, np.full(users, 1.0 / users), count)
        resampled.append(times @ differences / users)
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(np.concatenate(resampled), [tail, 100 - tail], axis=0)
    return Differences(mean, low, high, (1.0 + extreme) / (1.0 + DRAWS))


def holm(p: Sequence[float]) -> list[float]:
    """p adjusted for as many comparisons as there are (Holm, 1979)."""
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(p))
    largest = 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(p) - rank) * p[place]))
        adjusted[place] = largest
    return adjusted.tolist()
