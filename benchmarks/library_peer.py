"""What recommenders of other libraries share in `benchmarks.peers`.

All see the same: which user took which item for the first time, without ratings. Where one cannot
answer (nothing fitted yet, no neighbour of the user's items) popularity does.
"""

from __future__ import annotations

from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from benchmarks.contenders import filled
from engine import Interaction
from engine.arrays import IdTable
from engine.evaluation.baselines import PopularityBaseline
from engine.evaluation.measures import K


class LibraryPeer:
    """Numbers for users and items, who took what, and popularity for when a library is silent."""

    name: str
    settings: str

    def __init__(self) -> None:
        self.users = IdTable()
        self.items = IdTable()
        self.taken: list[list[int]] = []
        self._popularity = PopularityBaseline()

    def recommend(self, user: str) -> list[str]:
        """Up to ten items that the user has not taken, best first. Changes nothing."""
        number = self.users.find(user)
        best = self.rank(number) if number is not None else []
        if len(best) >= K:
            return [self.items.names[item] for item in best[:K]]
        names = [self.items.names[item] for item in best]
        return filled(names, self._popularity.recommend(user))

    def observe(self, interaction: Interaction) -> None:
        """Learn from an event; one that repeats another teaches a library nothing."""
        if interaction.item is None:
            return
        self._popularity.observe(interaction.user, interaction.item)
        user, item = self.users.intern(interaction.user), self.items.intern(interaction.item)
        if user == len(self.taken):
            self.taken.append([])
        if item not in self.taken[user]:
            self.taken[user].append(item)
            self.learn(user, item)

    def rank(self, user: int) -> list[int]:
        """The best items, without those taken."""
        raise NotImplementedError

    def learn(self, user: int, item: int) -> None:
        """Learn that a user took an item."""
        raise NotImplementedError

    def left(self, user: int) -> NDArray[np.int64]:
        """The items that a user has not taken."""
        mask = np.ones(len(self.items), np.bool_)
        mask[self.taken[user]] = False
        return np.flatnonzero(mask)


class RefittedPeer(LibraryPeer):
    """A batch model, fitted again every so many events on the events so far.

    Between fits every query still uses all that its user has taken, as far as the fitted model
    knows the items. What it cannot see until the next fit is new items and what others have done.

    Attributes
    ----------
    refits : list[float]
        Seconds that each fit took; events wait for it.
    """

    def __init__(self, refit_every: int) -> None:
        super().__init__()
        self.refits: list[float] = []
        self._refit_every = refit_every
        self._fitted_items = 0
        self._learnt = 0

    def learn(self, user: int, item: int) -> None:
        """Refit if it is time to."""
        self._learnt += 1
        if self._learnt % self._refit_every == 0:
            started = perf_counter()
            self._fitted_items = len(self.items)
            self.fit()
            self.refits.append(perf_counter() - started)

    def fit(self) -> None:
        """Fit the model on `taken`, in which items below `_fitted_items` occur."""
        raise NotImplementedError

    def known(self, user: int) -> list[int]:
        """What a user has taken, oldest first, of the items that the model was fitted on."""
        return [item for item in self.taken[user] if item < self._fitted_items]
