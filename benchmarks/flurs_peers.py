"""Incremental models of FluRS, which learn from every event.

Parameters are those with the best NDCG@10 of some ten tried for each on the first 30,000 events of
MovieLens 100K. Importing this module needs the extra `peers`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from flurs.data.entity import Event, Item, User
from flurs.recommender import BPRMFRecommender, MFRecommender

from benchmarks.library_peer import LibraryPeer
from engine.evaluation.measures import K


class _Flurs(LibraryPeer):
    """An incremental model of FluRS, ranking by the library's own `recommend`."""

    def __init__(self, model: Any, seed: int) -> None:
        super().__init__()
        np.random.seed(seed)  # FluRS draws from numpy's global generator
        self._model = model
        self._model.initialize()

    def rank(self, user: int) -> list[int]:
        """The model's best of the items that the user has not taken."""
        ranked, _ = self._model.recommend(User(user), self.left(user))
        best: list[int] = ranked[:K].tolist()
        return best

    def learn(self, user: int, item: int) -> None:
        """One step of the model."""
        event = Event(User(user), Item(item))
        if self._model.is_new_user(user):
            self._model.register(event.user)
        if self._model.is_new_item(item):
            self._model.register(event.item)
        self._model.users[user]["known_items"].add(item)
        # BPR draws an item not taken: there is none before the second item.
        if len(self.taken[user]) < len(self.items):
            self._model.update(event)


class FlursMF(_Flurs):
    """Incremental matrix factorisation (ISGD) of FluRS."""

    name = "FluRS MF"

    def __init__(self, seed: int = 0, factors: int = 4, rate: float = 0.05) -> None:
        super().__init__(MFRecommender(k=factors, learn_rate=rate), seed)
        self.settings = f"learns from every event; {factors} factors, rate={rate:g}"


class FlursBPR(_Flurs):
    """Incremental BPR matrix factorisation of FluRS."""

    name = "FluRS BPR"

    def __init__(self, seed: int = 0, factors: int = 10, rate: float = 0.4) -> None:
        super().__init__(BPRMFRecommender(k=factors, learn_rate=rate), seed)
        self.settings = f"learns from every event; {factors} factors, rate={rate:g}"
