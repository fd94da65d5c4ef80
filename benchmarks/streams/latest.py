"""Who took which items of late, and three neighbourhood models on that, compiled.

Two tables of rings hold it all: the latest items of each user and the latest users of each item,
oldest first, none twice. A model's scores are float64[items]; what it does not know has 0.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

from engine.arrays import grown

Ints = NDArray[np.int32]
Scores = NDArray[np.float64]

_kernel = numba.njit(cache=True, nogil=True, error_model="numpy")


class Rings:
    """Rows of at most `width` numbers each, oldest first, none twice in a row.

    Attributes
    ----------
    values
        int32[rows, width].
    lengths
        int32[rows]: how many of a row hold something.
    """

    def __init__(self, width: int) -> None:
        self.values: Ints = np.zeros((64, width), np.int32)
        self.lengths: Ints = np.zeros(64, np.int32)

    def push(self, row: int, value: int) -> None:
        """Make a number the latest of its row; the oldest leaves a row that is full."""
        self.values = grown(self.values, row + 1)
        self.lengths = grown(self.lengths, row + 1)
        _push(self.values, self.lengths, row, value)

    def clear(self, row: int) -> None:
        """Empty a row."""
        if row < len(self.lengths):
            self.lengths[row] = 0

    def row(self, row: int) -> Ints:
        """The numbers of a row, oldest first."""
        if row >= len(self.lengths):
            return np.zeros(0, np.int32)
        return self.values[row, : self.lengths[row]]


@_kernel
def _push(values: Ints, lengths: Ints, row: int, value: int) -> None:
    length, width = lengths[row], values.shape[1]
    gone = length
    for at in range(length):
        if values[row, at] == value:
            gone = at
            break
    if gone == length and length < width:
        values[row, length] = value
        lengths[row] = length + 1
        return
    if gone == length:
        gone = 0
    for at in range(gone, length - 1):
        values[row, at] = values[row, at + 1]
    values[row, length - 1] = value


@_kernel
def item_knn(
    own: Ints, items: Ints, lengths: Ints, users: Ints, counts: Ints,
    takes: NDArray[np.float64], decay: float,
) -> Scores:  # fmt: skip
    """Item kNN: cosines of an item to the user's latest, each weighing `decay` of the one after.

    ``score[j] = sum over p of decay**p * c(i_p, j) / sqrt(n(i_p) * n(j))`` with the user's p-th
    latest item i_p, the latest users c of i_p who have j among their latest, and takes n.

    Parameters
    ----------
    own
        The user's latest items, oldest first.
    items, lengths
        The rings of the users' items; `users` and `counts` those of the items' users.
    takes
        float64[items]: how often each was taken.
    """
    scores = np.zeros(len(takes))
    weight = 1.0
    for place in range(len(own) - 1, -1, -1):
        item = own[place]
        for at in range(counts[item]):
            other = users[item, at]
            for step in range(lengths[other]):
                found = items[other, step]
                if found != item:
                    scores[found] += weight / math.sqrt(takes[item] * takes[found])
        weight *= decay
    return scores


@_kernel
def user_knn(
    user: int, own: Ints, items: Ints, lengths: Ints, users: Ints, counts: Ints,
    takes: NDArray[np.float64], neighbours: int,
) -> Scores:  # fmt: skip
    """User kNN: the summed cosines of the most similar users who have an item.

    Users are equally similar often; those met first, from the user's latest item and its latest
    users on, stand before.
    """
    alike, met, found = _met(user, own, lengths, users, counts, False)
    for at in range(found):
        other = met[at]
        alike[other] /= math.sqrt(len(own) * lengths[other])
    scores = np.zeros(len(takes))
    for other in _most(alike, met[:found], neighbours):
        for step in range(lengths[other]):
            scores[items[other, step]] += alike[other]
    return scores


@_kernel
def session_knn(
    user: int, own: Ints, items: Ints, lengths: Ints, users: Ints, counts: Ints,
    takes: NDArray[np.float64], neighbours: int,
) -> Scores:  # fmt: skip
    """VMIS-kNN: sessions that share items, the more of late the better (Kersbergen et al., 2022).

    A session's similarity is the sum over shared items of ``1 - p / len(own)``, p = 0 for the
    latest. An item's score is the sum over the most similar sessions of similarity times
    ``1 - p / 10`` of the latest shared item times ``log(users / n(item))``.
    """
    alike, met, found = _met(user, own, lengths, users, counts, True)
    first = np.full(len(lengths), -1, np.int32)
    for place in range(len(own) - 1, -1, -1):
        for at in range(counts[own[place]]):
            other = users[own[place], at]
            if first[other] < 0:
                first[other] = len(own) - 1 - place
    known = 0
    for other in range(len(lengths)):
        known += lengths[other] > 0
    scores = np.zeros(len(takes))
    for other in _most(alike, met[:found], neighbours):
        weight = alike[other] * max(0.0, 1.0 - first[other] / 10.0)
        for step in range(lengths[other]):
            item = items[other, step]
            scores[item] += weight * math.log(max(1.0, known / takes[item]))
    return scores


@_kernel
def _met(
    user: int, own: Ints, lengths: Ints, users: Ints, counts: Ints, decays: bool
) -> tuple[Scores, Ints, int]:
    """How much each user shares with one, and those who share anything, as they are met."""
    alike = np.zeros(len(lengths))
    met = np.zeros(len(lengths), np.int32)
    found = 0
    for place in range(len(own) - 1, -1, -1):
        weight = (place + 1) / len(own) if decays else 1.0
        item = own[place]
        for at in range(counts[item] - 1, -1, -1):
            other = users[item, at]
            if other == user or lengths[other] == 0:
                continue
            if alike[other] == 0.0:
                met[found] = other
                found += 1
            alike[other] += weight
    return alike, met, found


@_kernel
def _most(alike: Scores, met: Ints, most: int) -> Ints:
    order = np.argsort(-alike[met], kind="mergesort")
    return met[order[:most]]


@_kernel
def gram(items: Ints, lengths: Ints, place: Ints, size: int) -> Scores:
    """Who takes one takes the other: float64[size, size].

    Parameters
    ----------
    place
        int32[items]: an item's row, or -1 if it has none.
    """
    counts = np.zeros((size, size))
    for user in range(len(lengths)):
        for at in range(lengths[user]):
            left = place[items[user, at]]
            if left < 0:
                continue
            for step in range(lengths[user]):
                right = place[items[user, step]]
                if right >= 0:
                    counts[left, right] += 1.0
    return counts
