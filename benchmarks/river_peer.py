"""Matrix factorisation of River, which learns from every event.

Parameters are those with the best NDCG@10 of some ten tried for each on the first 30,000 events of
MovieLens 100K. Importing this module needs the extra `peers`.
"""

from __future__ import annotations

import numpy as np
from river.optim import SGD
from river.optim.initializers import Normal
from river.reco import BiasedMF

from benchmarks.library_peer import LibraryPeer
from engine.arrays import grown
from engine.evaluation.measures import K


class RiverMF(LibraryPeer):
    """Biased matrix factorisation of River, learning that a taken item is 1 and a drawn one 0.

    River ranks by a Python call for each item. Here the same formula (`BiasedMF.predict_one`) is
    computed for all items at once, on copies of the model's item vectors that are renewed whenever
    the model changes one. The global mean and the user's bias do not change the order.
    """

    name = "river BiasedMF"

    def __init__(
        self, seed: int = 0, factors: int = 32, rate: float = 0.1, negatives: int = 10
    ) -> None:
        super().__init__()
        self._model = BiasedMF(
            n_factors=factors,
            bias_optimizer=SGD(rate),
            latent_optimizer=SGD(rate),
            latent_initializer=Normal(sigma=0.1, seed=seed),
        )
        self._negatives = negatives
        self._rng = np.random.default_rng(seed)
        self._vectors = np.zeros((1024, factors))
        self._biases = np.zeros(1024)
        self.settings = (
            f"learns from every event; {factors} factors, rate={rate:g}, {negatives} drawn "
            "negatives an event; ranking vectorised by us"
        )

    def rank(self, user: int) -> list[int]:
        """The ten that the model foretells most for, of the items the user has not taken."""
        left = self.left(user)
        scores = self._biases[left] + self._vectors[left] @ self._model.u_latents[user]
        ranked: list[int] = left[np.argsort(-scores, kind="stable")[:K]].tolist()
        return ranked

    def learn(self, user: int, item: int) -> None:
        """A step towards 1 for the item, and towards 0 for a few not taken."""
        self._step(user, item, 1.0)
        left = self.left(user)
        if len(left):
            for other in self._rng.choice(left, self._negatives).tolist():
                self._step(user, other, 0.0)

    def _step(self, user: int, item: int, target: float) -> None:
        self._model.learn_one(user, item, target)
        self._vectors = grown(self._vectors, item + 1)
        self._biases = grown(self._biases, item + 1)
        self._vectors[item] = self._model.i_latents[item]
        self._biases[item] = self._model.i_biases[item]
