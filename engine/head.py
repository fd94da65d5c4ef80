"""The head (Eq. 3-4): features of user and item to scores, softmax, and its online step.

    s_j = sum_k (W_k . c_u) f_k(j),      c_u = [1, log(n_u + 1) / 3 - 1]

Eq. 4 of the paper read literally, one linear layer on the concatenation [z_u, z_i], cannot
personalise: the user's part shifts the score of every item alike. Here every feature f_k is itself
a product of a user's part and an item's part (Eq. 3), and the user's part also gates its weight.
Trained by softmax cross-entropy over the whole catalogue.
"""

from __future__ import annotations

from math import log

import numpy as np
from numpy.typing import NDArray

from engine.compiled import kernel

DIRECTED, SYMMETRIC, SATURATING, POPULAR, TRENDING, STAGE, TEXT, GRAPH = range(8)
FEATURES = 8
_LEARNING_RATE = 0.1
EXCLUDED = np.float32(-1e30)
"""The score of an item that must not be recommended."""


class Head:
    """The weights W and their sums of squared gradients, both float64[8, 2]."""

    def __init__(self) -> None:
        self.weights: NDArray[np.float64] = np.zeros((FEATURES, 2))
        self.weights[[DIRECTED, SYMMETRIC, SATURATING], 0] = 0.3
        self.weights[[TEXT, GRAPH], 0] = 1.0
        self.accumulated: NDArray[np.float64] = np.ones((FEATURES, 2))


def context_of(history_length: int) -> float:
    """The entry of c_u beside its constant 1."""
    return log(history_length + 1.0) / 3.0 - 1.0


@kernel
def feature_weights(weights, context):  # type: ignore[no-untyped-def]
    """The weight of each feature for a user: W c_u, float32[8]."""
    out = np.empty(FEATURES, np.float32)
    for k in range(FEATURES):
        out[k] = weights[k, 0] + weights[k, 1] * context
    return out


@kernel
def learn_weights(weights, accumulated, gradient, context):  # type: ignore[no-untyped-def]
    """One Adagrad step; `gradient` (float32[8]) is the loss's by the feature weights."""
    for k in range(FEATURES):
        for c in range(2):
            g = gradient[k] * (context if c else 1.0)
            accumulated[k, c] += g * g
            weights[k, c] -= _LEARNING_RATE * g / np.sqrt(accumulated[k, c])


GRAPH_PART, TREND_PART, TEXT_PART = range(3)


@kernel
def strongest_part(features, weights, items):  # type: ignore[no-untyped-def]
    """Which part of the hybrid spoke most for each item: int32[items], one of `*_PART`."""
    out = np.empty(len(items), np.int32)
    for i in range(len(items)):
        f = features[:, items[i]]
        graph = (
            weights[DIRECTED] * f[DIRECTED]
            + weights[SYMMETRIC] * f[SYMMETRIC]
            + weights[SATURATING] * f[SATURATING]
            + weights[GRAPH] * f[GRAPH]
        )
        trend = (
            weights[POPULAR] * f[POPULAR]
            + weights[TRENDING] * f[TRENDING]
            + weights[STAGE] * f[STAGE]
        )
        text = weights[TEXT] * f[TEXT]
        if text > graph and text > trend:
            out[i] = TEXT_PART
        else:
            out[i] = GRAPH_PART if graph > trend else TREND_PART
    return out


@kernel
def dot_rows(table, vector, n, out):  # type: ignore[no-untyped-def]
    """out[j] = table[j] . vector, for the first n rows."""
    for j in range(n):
        total = np.float32(0.0)
        for d in range(len(vector)):
            total += table[j, d] * vector[d]
        out[j] = total


@kernel
def combine(features, weights, excluded, seen, n):  # type: ignore[no-untyped-def]
    """Scores of the first n items: float32[n]. Excluded and seen items get `EXCLUDED`.

    features : float32[8, >= n]; weights : float32[8]; excluded : bool[>= n];
    seen : int32[m], item numbers.
    """
    out = np.zeros(n, np.float32)
    for k in range(FEATURES):
        weight = weights[k]
        for j in range(n):
            out[j] += weight * features[k, j]
    for j in range(n):
        if excluded[j]:
            out[j] = EXCLUDED
    for s in range(len(seen)):
        out[seen[s]] = EXCLUDED
    return out


@kernel
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


def softmax(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Softmax of the scores (float32[n]), excluded items getting 0."""
    probabilities = scores - scores.max()
    np.exp(probabilities, out=probabilities)
    probabilities *= np.float32(1.0) / probabilities.sum()
    return probabilities


@kernel
def expected_features(features, probabilities):  # type: ignore[no-untyped-def]
    """sum_j p_j features[k, j]: float32[8]."""
    out = np.zeros(FEATURES, np.float32)
    for k in range(FEATURES):
        total = np.float32(0.0)
        for j in range(len(probabilities)):
            total += probabilities[j] * features[k, j]
        out[k] = total
    return out


@kernel
def expected_vector(vectors, probabilities):  # type: ignore[no-untyped-def]
    """sum_j p_j vectors[j]: float32[width]. Items of negligible probability are passed over."""
    out = np.zeros(vectors.shape[1], np.float32)
    for j in range(len(probabilities)):
        p = probabilities[j]
        if p > np.float32(1e-6):
            for d in range(vectors.shape[1]):
                out[d] += p * vectors[j, d]
    return out
