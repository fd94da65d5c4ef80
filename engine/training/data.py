"""What is learnt from, as arrays: who took what, and how they rated it beside what was expected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from engine.events import Interaction, Item, item_text
from engine.text.vectors import ItemVectors
from engine.trained.folder import LEVELS
from engine.training.report import TrainingError

_RATED = ("rating", "review")
_PRIOR_ITEM, _PRIOR_USER = 8.0, 5.0
"""Ratings of the mean that an item's and a user's own bias start from."""
_HELD_OUT = 0.1
_RELEVANT = 4.0
"""A rating of at least this is liked, as in the paper's protocol."""


@dataclass(frozen=True)
class TrainingData:
    """Interactions in order of time, the last one of each user with each item.

    Attributes
    ----------
    users, items : list of str
        Ids; numbers below are places in them.
    texts : list of str
        Of each item.
    side : float32[items, 44]
        Categories and year of each item.
    user, item : int64[n]
    value : float32[n]
        The rating; NaN where there is none.
    mean : float
        Mean rating.
    item_bias, user_bias : float32[items], float32[users]
        How much better than the mean an item is rated, and by a user; shrunk.
    """

    users: list[str]
    items: list[str]
    texts: list[str]
    side: NDArray[np.float32]
    user: NDArray[np.int64]
    item: NDArray[np.int64]
    value: NDArray[np.float32]
    mean: float
    item_bias: NDArray[np.float32]
    user_bias: NDArray[np.float32]

    @property
    def level(self) -> NDArray[np.int64]:
        """int64[n]: how much better than expected each was rated, as a place in `LEVELS`."""
        expected = self.mean + self.item_bias[self.item] + self.user_bias[self.user]
        residual = np.nan_to_num(self.value - expected, nan=0.0)
        return np.abs(residual[:, None] - LEVELS[None, :]).argmin(1)

    @property
    def liked(self) -> NDArray[np.bool_]:
        """bool[n]: rated at least 4, or taken where nothing was rated."""
        return np.isnan(self.value) | (self.value >= _RELEVANT)

    def part(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> TrainingData:
        """The same users and items with these interactions alone; biases are made of them."""
        user, item, value = self.user[rows], self.item[rows], self.value[rows]
        mean, item_bias, user_bias = _biases(user, item, value, len(self.users), len(self.items))
        return replace(
            self, user=user, item=item, value=value, mean=mean, item_bias=item_bias,
            user_bias=user_bias,
        )  # fmt: skip

    def halves(self, seed: int) -> tuple[TrainingData, TrainingData]:
        """What to train on and what to validate on: a tenth of each user's interactions."""
        draw = np.random.default_rng(seed).random(len(self.user))
        order = np.lexsort((draw, self.user))
        starts = np.searchsorted(self.user[order], np.arange(len(self.users) + 1))
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order)) - starts[self.user[order]]
        sizes = np.diff(starts)[self.user]
        held = place < np.floor(sizes * _HELD_OUT + 0.5)
        return self.part(~held), self.part(held)


def read(interactions: Sequence[Interaction], items: Sequence[Item]) -> TrainingData:
    """The arrays of a training part.

    Raises
    ------
    TrainingError
        If nobody took anything.
    """
    catalogue = {item.item: item for item in items}
    last: dict[tuple[str, str], Interaction] = {}
    for event in interactions:
        if event.item is not None and event.kind not in ("forget", "dislike"):
            last.pop((event.user, event.item), None)
            last[event.user, event.item] = event
            catalogue.setdefault(event.item, Item(item=event.item))
    if not last:
        raise TrainingError("nothing to learn from: no interaction takes an item")
    names = list(catalogue)
    item_numbers = {name: number for number, name in enumerate(names)}
    users = sorted({event.user for event in last.values()})
    user_numbers = {name: number for number, name in enumerate(users)}
    user = np.array([user_numbers[user] for user, _ in last], np.int64)
    item = np.array([item_numbers[item] for _, item in last], np.int64)
    value = np.array(
        [
            event.value if event.kind in _RATED and event.value is not None else np.nan
            for event in last.values()
        ],
        np.float32,
    )
    mean, item_bias, user_bias = _biases(user, item, value, len(users), len(names))
    return TrainingData(
        users, names, [item_text(entry) for entry in catalogue.values()],
        _side_features(list(catalogue.values())), user, item, value, mean, item_bias, user_bias,
    )  # fmt: skip


def _biases(
    user: NDArray[np.int64], item: NDArray[np.int64], value: NDArray[np.float32],
    users: int, items: int,
) -> tuple[float, NDArray[np.float32], NDArray[np.float32]]:  # fmt: skip
    rated = ~np.isnan(value)
    user, item, value = user[rated], item[rated], value[rated]
    if not len(value):
        return 0.0, np.zeros(items, np.float32), np.zeros(users, np.float32)
    mean = float(value.mean(dtype=np.float64))
    item_bias = np.bincount(item, value - mean, items) / (
        np.bincount(item, minlength=items) + _PRIOR_ITEM
    )
    rest = value - mean - item_bias[item]
    user_bias = np.bincount(user, rest, users) / (np.bincount(user, minlength=users) + _PRIOR_USER)
    return mean, item_bias.astype(np.float32), user_bias.astype(np.float32)


def _side_features(items: list[Item]) -> NDArray[np.float32]:
    """Categories and year, as the online engine reads them: float32[items, 44]."""
    text = 4
    vectors = ItemVectors(text, text, len(items))
    for number, item in enumerate(items):
        year = item.properties.get("year")
        vectors.set_item(
            number, None, item.categories, year if isinstance(year, int | float) else None
        )
    return vectors.vectors[: len(items), text:]
