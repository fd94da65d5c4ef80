"""Splits of a data set: held out is a fifth of each user's ratings, or the second half by time.

A split has a part to learn and a part to ask about; the two share no pair of user and item.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np

from engine.datasets.problems import DatasetError
from engine.events import Interaction

How = Literal["random", "temporal"]

SHARE = 0.2
"""The share of each user's ratings that is held out, rounded half to even."""


class Split(NamedTuple):
    """Two parts of a data set, each in order of time."""

    train: list[Interaction]
    test: list[Interaction]


def ratings(interactions: Iterable[Interaction], source: str) -> list[Interaction]:
    """The interactions that rate an item; of several by one user of one item, the last.

    An earlier rating of a pair would tell what a held-out one is about.

    Raises
    ------
    DatasetError
        If none has a value: the protocol asks which items a user rated well. Names `source`.
    """
    last = {
        (one.user, one.item): one
        for one in interactions
        if one.item is not None and one.value is not None and one.kind in ("rating", "review")
    }
    if not last:
        raise DatasetError(f"{source}: no interaction has a rating (`value`), so none is relevant")
    # A pair keeps the place of its first rating in the dict; the order of time is restored.
    return sorted(last.values(), key=lambda one: one.timestamp)


def split_by_user(rated: Sequence[Interaction], how: How, seed: int = 0) -> Split:
    """Hold out a fifth of each user's ratings: at random, or their last ones.

    Parameters
    ----------
    rated
        In order of time, no pair of user and item twice (see `ratings`).
    how
        `random` draws with `seed`; `temporal` takes each user's latest. A temporal test set does
        not depend on the seed. Other users' later ratings are in the training part of both.
    """
    rng = np.random.default_rng(seed)
    places: dict[str, list[int]] = {}
    for place, one in enumerate(rated):
        places.setdefault(one.user, []).append(place)
    held = np.zeros(len(rated), np.bool_)
    for user in sorted(places):
        own = np.array(places[user])
        count = round(SHARE * len(own))
        if how == "random":
            held[rng.choice(own, count, replace=False)] = True
        else:
            held[own[len(own) - count :]] = True
    return Split(
        [one for one, out in zip(rated, held, strict=True) if not out],
        [one for one, out in zip(rated, held, strict=True) if out],
    )


def split_by_time(interactions: Sequence[Interaction]) -> Split:
    """The first half of a stream, in order of time, and the second."""
    middle = len(interactions) // 2
    return Split(list(interactions[:middle]), list(interactions[middle:]))
