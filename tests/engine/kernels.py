"""Kernels that write to an array of their caller's, as functions that return it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.features import head
from engine.features.table import FEATURES
from engine.text import taste


def best(scores: NDArray[np.float32], k: int) -> NDArray[np.int32]:
    """`head.top_k`."""
    out = np.empty(k, np.int32)
    return out[: head.top_k(scores, k, out)]


def probable(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """`head.softmax`."""
    out = np.empty(len(scores), np.float32)
    head.softmax(scores, out)
    return out


def expected(
    features: NDArray[np.float32], probabilities: NDArray[np.float32]
) -> NDArray[np.float32]:
    """`head.expected_features`."""
    out = np.empty(FEATURES, np.float32)
    head.expected_features(features, probabilities, out)
    return out


def expected_row(
    table: NDArray[np.float32], probabilities: NDArray[np.float32]
) -> NDArray[np.float32]:
    """`head.expected_vector`."""
    out = np.empty(table.shape[1], np.float32)
    head.expected_vector(table, probabilities, out)
    return out


def direction(made: taste.Taste, user: int) -> NDArray[np.float32]:
    """`taste.direction`."""
    out = np.empty(made.profiles.shape[2], np.float32)
    taste.direction(made.arrays, user, out)
    return out
