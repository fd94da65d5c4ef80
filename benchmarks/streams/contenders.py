"""The peers of `benchmarks.streams` that need no other library.

All of them learn from every event (EASE: fits again every so many) and fill a list that is too
short with what is popular of late. A dislike only keeps its item from its user.
"""

from __future__ import annotations

from collections import defaultdict
from time import perf_counter
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from benchmarks.contenders import filled
from benchmarks.streams import latest
from engine import Interaction
from engine.arrays import IdTable, grown
from engine.evaluation.baselines import RECENT_HALF_LIFE, PopularityBaseline
from engine.evaluation.baselines import RepeatLast as LastTaken
from engine.evaluation.measures import K


class RepeatLast:
    """What the user took last, the latest first, then what is popular of late."""

    name = "repeat-last"
    settings = "the user's own items, the latest first; then recent popularity"

    def __init__(self) -> None:
        self._last = LastTaken()

    def recommend(self, user: str) -> list[str]:
        """Up to ten items, best first; those that the user took come first."""
        return self._last.recommend(user)

    def observe(self, interaction: Interaction) -> None:
        """Remember a take."""
        user, item, kind = interaction.user, interaction.item, interaction.kind
        if item is None or kind == "forget":
            if kind != "ignore":
                self._last.forget(user)
        elif kind not in ("dislike", "ignore"):
            self._last.observe(user, item)


class Neighbours:
    """What the neighbourhood models share: numbers for ids, the latest takes, and lists of scores.

    Parameters
    ----------
    repeats
        Whether lists may hold what the user had.
    """

    name: str
    settings: str
    LATEST_ITEMS: ClassVar[int] = 100
    """Of a user, that are remembered."""
    LATEST_USERS: ClassVar[int] = 500
    """Of an item, that are remembered."""

    def __init__(self, repeats: bool = False) -> None:
        self.users, self.items = IdTable(), IdTable()
        self.user_items = latest.Rings(self.LATEST_ITEMS)
        self.item_users = latest.Rings(self.LATEST_USERS)
        self.takes: NDArray[np.float64] = np.zeros(64)
        """How many users took each item; one who was forgotten may count twice."""
        self._repeats = repeats
        self._had: defaultdict[int, set[int]] = defaultdict(set)
        self._took: defaultdict[int, set[int]] = defaultdict(set)
        self._popular = PopularityBaseline(RECENT_HALF_LIFE)

    def scores(self, user: int) -> NDArray[np.float64]:
        """Of each item, float64[items at least]; 0 or less of what is not to be recommended."""
        raise NotImplementedError

    def recommend(self, user: str) -> list[str]:
        """Up to ten items, best first. Changes nothing."""
        best: list[str] = []
        number = self.users.find(user)
        if number is not None:
            scores = self.scores(number)[: len(self.items)]
            if not self._repeats:
                scores[list(self._had.get(number, ()))] = 0.0
            few = np.argpartition(-scores, K)[:K] if len(scores) > K else np.arange(len(scores))
            few = few[np.lexsort((few, -scores[few]))]
            best = [self.items.names[item] for item in few if scores[item] > 0.0]
        if len(best) == K:
            return best
        return filled(best, self._popular.recommend(user, self._repeats))

    def observe(self, interaction: Interaction) -> None:
        """Learn from a take."""
        if interaction.kind == "ignore":
            return
        if interaction.item is None or interaction.kind == "forget":
            self._forget(interaction.user)
            return
        takes = interaction.kind != "dislike"
        self._popular.observe(interaction.user, interaction.item, takes)
        user, item = self.users.intern(interaction.user), self.items.intern(interaction.item)
        self.takes = grown(self.takes, item + 1)
        self._had[user].add(item)
        if takes:
            self.takes[item] += item not in self._took[user]
            self._took[user].add(item)
            self.user_items.push(user, item)
            self.item_users.push(item, user)
            self.learnt()

    def learnt(self) -> None:
        """Called after each take."""

    def _forget(self, user: str) -> None:
        number = self.users.find(user)
        self._popular.forget(user)
        if number is not None:
            self.user_items.clear(number)
            self._had.pop(number, None)
            self._took.pop(number, None)

    def _rings(self) -> tuple[latest.Ints, latest.Ints, latest.Ints, latest.Ints]:
        """As the kernels take them; every item has a ring, every user who took anything, too."""
        users, items = self.item_users, self.user_items
        return items.values, items.lengths, users.values, users.lengths


class ItemKnn(Neighbours):
    """Cosine item kNN (`benchmarks.streams.latest.item_knn`)."""

    name = "item kNN"
    DECAY: ClassVar[float] = 0.8
    OWN: ClassVar[int] = 20
    settings = (
        f"cosine over the latest {Neighbours.LATEST_USERS} users of an item; the user's latest "
        f"{OWN} items, each weighing {DECAY} of the next more recent one"
    )

    def scores(self, user: int) -> NDArray[np.float64]:
        """As the base says."""
        own = self.user_items.row(user)[-self.OWN :]
        return latest.item_knn(own, *self._rings(), self.takes, self.DECAY)


class UserKnn(Neighbours):
    """Cosine user kNN (`benchmarks.streams.latest.user_knn`)."""

    name = "user kNN"
    NEIGHBOURS: ClassVar[int] = 100
    settings = (
        f"cosine of the latest {Neighbours.LATEST_ITEMS} items, {NEIGHBOURS} neighbours among the "
        f"latest {Neighbours.LATEST_USERS} users of each item"
    )

    def scores(self, user: int) -> NDArray[np.float64]:
        """As the base says."""
        own = self.user_items.row(user)
        return latest.user_knn(user, own, *self._rings(), self.takes, self.NEIGHBOURS)


class SessionKnn(Neighbours):
    """VMIS-kNN, a session of each user (`benchmarks.streams.latest.session_knn`)."""

    name = "VMIS-kNN"
    NEIGHBOURS: ClassVar[int] = 100
    OWN: ClassVar[int] = 10
    settings = (
        f"a session a user, its latest {OWN} items; {NEIGHBOURS} neighbours among the latest "
        f"{Neighbours.LATEST_USERS} sessions of each item"
    )

    def scores(self, user: int) -> NDArray[np.float64]:
        """As the base says."""
        own = self.user_items.row(user)[-self.OWN :]
        return latest.session_knn(user, own, *self._rings(), self.takes, self.NEIGHBOURS)


class Ease(Neighbours):
    """EASE: a linear model of items on items, in closed form (Steck, 2019).

    Attributes
    ----------
    refits : list[float]
        Seconds that each fit took; events wait for it.
    """

    name = "EASE"
    DECAY: ClassVar[float] = 0.8
    OWN: ClassVar[int] = 20

    def __init__(
        self,
        repeats: bool = False,
        refit_every: int = 2500,
        regularization: float = 50.0,
        most_items: int = 1500,
    ) -> None:
        super().__init__(repeats)
        self.refits: list[float] = []
        self._refit_every = refit_every
        self._regularization = regularization
        self._most_items = most_items
        self._learnt = 0
        self._fitted: latest.Ints = np.zeros(0, np.int32)
        self._place: latest.Ints = np.zeros(0, np.int32)
        self._weights: NDArray[np.float64] = np.zeros((0, 0))
        self.settings = (
            f"fitted again every {refit_every:,} events on the {most_items:,} most taken items; "
            f"L2={regularization:g}; the user's latest {self.OWN} items, each weighing "
            f"{self.DECAY} of the next more recent one"
        )

    def learnt(self) -> None:
        """Fit if it is time to."""
        self._learnt += 1
        if self._learnt % self._refit_every == 0:
            started = perf_counter()
            self.fit()
            self.refits.append(perf_counter() - started)

    def fit(self) -> None:
        """``B = -P / diag(P)`` with a diagonal of zeros, ``P = (X'X + L2)^-1``."""
        takes = self.takes[: len(self.items)]
        self._fitted = np.argsort(-takes, kind="stable")[: self._most_items].astype(np.int32)
        self._place = np.full(len(self.items), -1, np.int32)
        self._place[self._fitted] = np.arange(len(self._fitted), dtype=np.int32)
        rings = self.user_items
        counts = latest.gram(rings.values, rings.lengths, self._place, len(self._fitted))
        counts[np.diag_indices_from(counts)] += self._regularization
        inverse = np.linalg.inv(counts)
        self._weights = inverse / -np.diag(inverse)
        np.fill_diagonal(self._weights, 0.0)

    def scores(self, user: int) -> NDArray[np.float64]:
        """As the base says; 0 of what came or was too rare at the last fit."""
        scores = np.zeros(len(self.items))
        own = self.user_items.row(user)[-self.OWN :][::-1]
        weights = self.DECAY ** np.arange(len(own))
        known = own < len(self._place)
        places = self._place[own[known]]
        weights = weights[known][places >= 0]
        places = places[places >= 0]
        if len(places):
            scores[self._fitted] = weights @ self._weights[places]
        return scores
