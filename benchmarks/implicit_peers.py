"""Recommenders of implicit, refitted now and then.

Parameters are those with the best NDCG@10 of some ten tried for each on the first 30,000 events of
MovieLens 100K. Importing this module needs the extra `peers`.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from implicit.cpu.als import AlternatingLeastSquares
from implicit.nearest_neighbours import TFIDFRecommender
from implicit.utils import ParameterWarning
from scipy.sparse import csr_matrix

from benchmarks.library_peer import RefittedPeer
from engine.evaluation.measures import K


class _Implicit(RefittedPeer):
    """A batch model of implicit. The library takes the user's current row with each query."""

    no_score: float
    _model: Any

    def make(self) -> Any:
        """A model that is not fitted yet."""
        raise NotImplementedError

    def fit(self) -> None:
        """A new model, on all that has been taken."""
        self._model = self.make()
        with warnings.catch_warnings():
            # Its kNN models hand themselves a matrix of the wrong kind, and warn of it.
            warnings.simplefilter("ignore", ParameterWarning)
            self._model.fit(_rows(self.taken, self._fitted_items), show_progress=False)

    def row(self, known: list[int], items: int) -> csr_matrix:
        """What a query is made of: float32[1, items]."""
        return _rows([known], items)

    def rank(self, user: int) -> list[int]:
        """The model's ten for the user's current row."""
        known = self.known(user)
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
