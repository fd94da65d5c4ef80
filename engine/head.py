"""The head (Eq. 3-4): features of user and item to scores, softmax, and its online step.

    s_j = sum_k (W_k . c_u) f_k(j),      c_u = [1, log(n_u + 1) / 3 - 1]

Eq. 4 of the paper read literally, one linear layer on the concatenation [z_u, z_i], cannot
personalise: the user's part shifts the score of every item alike. Here every feature f_k is itself
a product of a user's part and an item's part (Eq. 3), and the user's part also gates its weight.
Trained by softmax cross-entropy over the whole catalogue.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

DIRECTED, SYMMETRIC, SATURATING, POPULAR, TRENDING, STAGE, TEXT, GRAPH = range(8)
FEATURES = 8
_CONTEXT = 2
_LEARNING_RATE = 0.1
EXCLUDED = np.float32(-1e30)
"""The score of an item that must not be recommended."""


class Head:
    """The weights W (float64[8, 2]) and their Adagrad state."""

    def __init__(self) -> None:
        self.weights: NDArray[np.float64] = np.zeros((FEATURES, _CONTEXT))
        self.weights[[DIRECTED, SYMMETRIC, SATURATING], 0] = 0.3
        self.weights[[TEXT, GRAPH], 0] = 1.0
        self._accumulated: NDArray[np.float64] = np.ones((FEATURES, _CONTEXT))

    def feature_weights(self, history_length: int) -> NDArray[np.float32]:
        """The weight of each feature for a user of that many interactions: float32[8]."""
        weights: NDArray[np.float32] = (self.weights @ _context(history_length)).astype(np.float32)
        return weights

    def learn(self, history_length: int, gradient: NDArray[np.float32]) -> None:
        """One Adagrad step, from the loss's gradient by the feature weights (float32[8])."""
        g = np.outer(gradient, _context(history_length))
        self._accumulated += g * g
        self.weights -= _LEARNING_RATE * g / np.sqrt(self._accumulated)


def _context(history_length: int) -> NDArray[np.float64]:
    return np.array([1.0, np.log(history_length + 1.0) / 3.0 - 1.0])


@njit(cache=True, fastmath=True)
def dot_rows(table, vector, out):  # type: ignore[no-untyped-def]
    """out[j] = table[j] . vector, for the first len(out) rows."""
    for j in range(len(out)):
        total = np.float32(0.0)
        for d in range(len(vector)):
            total += table[j, d] * vector[d]
        out[j] = total


@njit(cache=True, fastmath=True)
def combine(features, weights, excluded, seen, out):  # type: ignore[no-untyped-def]
    """Scores of every item: float32[items]. Excluded and seen items get `EXCLUDED`.

    features : float32[8, items]; weights : float32[8]; excluded : bool[>= items];
    seen : int32[n], item numbers.
    """
    n = len(out)
    for j in range(n):
        total = np.float32(0.0)
        for k in range(FEATURES):
            total += weights[k] * features[k, j]
        out[j] = EXCLUDED if excluded[j] else total
    for s in range(len(seen)):
        out[seen[s]] = EXCLUDED


@njit(cache=True)
def top_k(scores, k):  # type: ignore[no-untyped-def]
    """The k best items in order, ties by number; fewer if fewer may be recommended. int32[<= k]"""
    best = np.empty(k, np.int32)
    found = 0
    bar = EXCLUDED
    for j in range(len(scores)):
        score = scores[j]
        if score > bar:
            slot = found if found < k else k - 1
            while slot > 0 and scores[best[slot - 1]] < score:
                best[slot] = best[slot - 1]
                slot -= 1
            best[slot] = j
            if found < k:
                found += 1
            if found == k:
                bar = scores[best[k - 1]]
    return best[:found]


@njit(cache=True, fastmath=True)
def softmax(scores, out):  # type: ignore[no-untyped-def]
    """Softmax of the scores, excluded items getting 0. float32[items]"""
    highest = scores[0]
    for j in range(len(scores)):
        highest = max(highest, scores[j])
    total = np.float32(0.0)
    for j in range(len(scores)):
        e = np.exp(scores[j] - highest) if scores[j] > EXCLUDED else np.float32(0.0)
        out[j] = e
        total += e
    scale = np.float32(1.0) / total
    for j in range(len(out)):
        out[j] *= scale


@njit(cache=True, fastmath=True)
def expected_rows(features, probabilities):  # type: ignore[no-untyped-def]
    """sum_j p_j features[k, j]: float32[8]."""
    out = np.zeros(features.shape[0], np.float32)
    for k in range(features.shape[0]):
        total = np.float32(0.0)
        for j in range(len(probabilities)):
            total += probabilities[j] * features[k, j]
        out[k] = total
    return out


@njit(cache=True, fastmath=True)
def expected_vector(vectors, probabilities):  # type: ignore[no-untyped-def]
    """sum_j p_j vectors[j]: float32[width]. Items of negligible probability are passed over."""
    out = np.zeros(vectors.shape[1], np.float32)
    for j in range(len(probabilities)):
        p = probabilities[j]
        if p > np.float32(1e-7):
            for d in range(vectors.shape[1]):
                out[d] += p * vectors[j, d]
    return out
