"""Recommenders of other libraries, each as fresh as its library allows.

All see the same: which user took which item for the first time, without ratings. Where one cannot
answer (nothing fitted yet, no neighbour of the user's items) popularity does. Their parameters are
those with the best NDCG@10 of some ten tried for each on the first 30,000 events of MovieLens 100K.
Importing this module needs the extra `peers`.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from flurs.data.entity import Event, User
from flurs.data.entity import Item as FlursItem
from flurs.recommender import BPRMFRecommender, MFRecommender
from implicit.cpu.als import AlternatingLeastSquares
from implicit.nearest_neighbours import TFIDFRecommender
from implicit.utils import ParameterWarning
from numpy.typing import NDArray
from river.optim import SGD
from river.optim.initializers import Normal
from river.reco import BiasedMF
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from benchmarks.contenders import filled
from engine import Interaction
from engine.arrays import IdTable, grown
from engine.evaluation.baselines import PopularityBaseline
from engine.evaluation.measures import K

PACKAGES = ("implicit", "river", "flurs", "scipy", "numpy")
"""Whose versions the figures depend on."""


def use_one_thread() -> None:
    """Keep BLAS to one thread from now on, so that all contenders have one like the engine."""
    threadpool_limits(1)


class _LibraryPeer:
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


class _Implicit(_LibraryPeer):
    """A batch model of implicit, refitted now and then.

    Between refits every query still uses all that its user has taken: the library takes the user's
    current row. What it cannot see until the next refit is new items and what others have done.
    """

    no_score: float

    def __init__(self, refit_every: int) -> None:
        super().__init__()
        self._refit_every = refit_every
        self._model: Any = None
        self._fitted_items = 0
        self._learnt = 0

    def make(self) -> Any:
        """A model that is not fitted yet."""
        raise NotImplementedError

    def learn(self, user: int, item: int) -> None:
        """Refit if it is time to."""
        self._learnt += 1
        if self._learnt % self._refit_every == 0:
            self._model = self.make()
            self._fitted_items = len(self.items)
            with warnings.catch_warnings():
                # Its kNN models hand themselves a matrix of the wrong kind, and warn of it.
                warnings.simplefilter("ignore", ParameterWarning)
                self._model.fit(_rows(self.taken, self._fitted_items), show_progress=False)

    def row(self, known: list[int], items: int) -> csr_matrix:
        """What a query is made of: float32[1, items]."""
        return _rows([known], items)

    def rank(self, user: int) -> list[int]:
        """The model's ten for the user's current row."""
        known = [item for item in self.taken[user] if item < self._fitted_items]
        if not known:
            return []
        ids, scores = self._model.recommend(
            0, self.row(known, self._fitted_items), N=K, recalculate_user=True
        )
        # Where it has fewer than ten, the library fills up with taken items, at this score
        # (https://github.com/benfred/implicit/issues/345).
        ranked: list[int] = ids[scores > self.no_score].tolist()
        return ranked


class ImplicitKNN(_Implicit):
    """TF-IDF item kNN of implicit."""

    name = "implicit TF-IDF kNN"
    no_score = 0.0

    def __init__(
        self, refit_every: int = 1000, neighbours: int = 200, recency: float = 0.8
    ) -> None:
        super().__init__(refit_every)
        self._neighbours = neighbours
        self._recency = recency
        self.settings = (
            f"refitted every {refit_every:,} events; K={neighbours}; user's current row, "
            f"each item weighing {recency:g} of the next more recent one"
        )

    def row(self, known: list[int], items: int) -> csr_matrix:
        """The user's items, the latest of which count most."""
        weights = self._recency ** np.arange(len(known) - 1, -1, -1, dtype=np.float32)
        return csr_matrix((weights, known, [0, len(known)]), (1, items), dtype=np.float32)

    def make(self) -> TFIDFRecommender:
        """A kNN model on one thread, like everything here."""
        return TFIDFRecommender(K=self._neighbours, num_threads=1)


class ImplicitALS(_Implicit):
    """Alternating least squares of implicit."""

    name = "implicit ALS"
    no_score = float(np.finfo(np.float32).min)

    def __init__(
        self,
        seed: int = 0,
        refit_every: int = 1000,
        factors: int = 16,
        alpha: float = 3.0,
        regularization: float = 10.0,
    ) -> None:
        super().__init__(refit_every)
        self._parameters = {
            "factors": factors,
            "alpha": alpha,
            "regularization": regularization,
            "random_state": seed,
        }
        self.settings = (
            f"refitted every {refit_every:,} events; {factors} factors, alpha={alpha:g}, "
            f"reg={regularization:g}; user's factors recalculated for each query"
        )

    def make(self) -> AlternatingLeastSquares:
        """An ALS model on one thread, like everything here."""
        return AlternatingLeastSquares(**self._parameters, num_threads=1)


def _rows(taken: list[list[int]], items: int) -> csr_matrix:
    """A row of ones for each user: float32[users, items]."""
    lengths = [len(row) for row in taken]
    indptr = np.concatenate(([0], np.cumsum(lengths)))
    indices = np.fromiter((item for row in taken for item in sorted(row)), np.int32)
    return csr_matrix((np.ones(len(indices), np.float32), indices, indptr), (len(taken), items))


class RiverMF(_LibraryPeer):
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


class _Flurs(_LibraryPeer):
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
        event = Event(User(user), FlursItem(item))
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
