"""The head (Eq. 3-4): features of user and item to scores, softmax, and its online step.

    s_j = b_j + sum_k (W_k . c_u) f_k(j),      c_u the user's context (`engine.features.context`)

Eq. 4 of the paper read literally, one linear layer on the concatenation [z_u, z_i], cannot
personalise: the user's part shifts the score of every item alike. Here every feature f_k is itself
a product of a user's part and an item's part (Eq. 3), and the user's context also gates its weight.
Trained by softmax cross-entropy over all candidates, the weights by Newton's method
(`engine.features.newton`).
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.arrays import grown
from engine.compiled import kernel
from engine.features.context import CONTEXT_NAMES, CONTEXTS
from engine.features.elementwise import exp_in_place
from engine.features.feature import GRAPH_PART, TEXT_PART, TREND_PART
from engine.features.newton import prior
from engine.features.table import (
    FEATURE_NAMES,
    FEATURES,
    INITIAL_WEIGHTS,
    PART_ROWS,
)
from engine.state.schema import ROWS, Array, State

_BLOCK = 64
EXCLUDED = np.float32(-1e30)
"""The score of an item that must not be recommended."""

_PARTS_OF_MODEL = {
    "hybrid": (GRAPH_PART, TREND_PART, TEXT_PART),
    "gnn": (GRAPH_PART, TREND_PART),
    "llm": (TREND_PART, TEXT_PART),
}


class HeadArrays(NamedTuple):
    """What kernels read and write of a `Head`."""

    weights: NDArray[np.float64]
    covariance: NDArray[np.float64]
    bias: NDArray[np.float32]
    bias_accumulated: NDArray[np.float32]
    active: NDArray[np.float32]
    bias_rate: np.float32
    drift: float


class Head:
    """The weights W and their covariance, the items' biases b and their squared gradients.

    Attributes
    ----------
    weights : float64[22, 5]
    covariance : float64[22, 5, 22, 5]
        How uncertain they are, and so how far a step goes.
    bias, bias_accumulated : float32[items]
    active : float32[22]
        1 for the features of the model's parts, and of repeats if there are any, else 0.
    """

    STATE: ClassVar[State] = State(
        {
            "weights": Array("model/head/weights", (FEATURE_NAMES, CONTEXT_NAMES)),
            "covariance": Array(
                "model/head/covariance",
                (FEATURE_NAMES, CONTEXT_NAMES, FEATURE_NAMES, CONTEXT_NAMES),
            ),
            "bias": Array("items/bias/values", (ROWS,)),
            "bias_accumulated": Array("items/bias/accumulated", (ROWS,), fill=1),
        },
        unsaved=("active", "_bias_rate", "_drift"),
    )

    def __init__(
        self,
        model: str = "hybrid",
        repeats: bool = True,
        bias_rate: float = 0.1,
        drift: float = 1e-5,
        items: int = 1024,
    ) -> None:
        """`bias_rate` is the learning rate of the biases; `drift`, see `engine.features.newton`."""
        self._bias_rate, self._drift = np.float32(bias_rate), float(drift)
        self.active: NDArray[np.float32] = np.zeros(FEATURES, np.float32)
        for part in _PARTS_OF_MODEL[model]:
            self.active[slice(*PART_ROWS[part])] = 1.0
        if not repeats:
            self.active[[name.startswith("again") for name in FEATURE_NAMES]] = 0.0
        self.weights: NDArray[np.float64] = np.zeros((FEATURES, CONTEXTS))
        self.weights[:, 0] = INITIAL_WEIGHTS
        self.weights *= self.active[:, None]
        self.covariance: NDArray[np.float64] = prior()
        self.bias: NDArray[np.float32] = np.zeros(items, np.float32)
        self.bias_accumulated: NDArray[np.float32] = np.ones(items, np.float32)

    @property
    def arrays(self) -> HeadArrays:
        """As kernels take them."""
        return HeadArrays(
            self.weights, self.covariance, self.bias, self.bias_accumulated, self.active,
            self._bias_rate, self._drift,
        )  # fmt: skip

    def reserve(self, items: int) -> None:
        """Make room for `items` items."""
        self.bias = grown(self.bias, items)
        self.bias_accumulated = grown(self.bias_accumulated, items, fill=1)

    def clear(self, item: int) -> None:
        """Forget an item's bias."""
        self.bias[item] = 0.0
        self.bias_accumulated[item] = 1.0


@kernel
def feature_weights(h, context, out):  # type: ignore[no-untyped-def]
    """Write the weight of each active feature for a user, W c_u, to `out`: float32[22]."""
    for k in range(FEATURES):
        total = 0.0
        for c in range(CONTEXTS):
            total += h.weights[k, c] * context[c]
        out[k] = total * h.active[k]


@kernel
def learn_bias(h, candidates, exact, probabilities, target):  # type: ignore[no-untyped-def]
    """One Adagrad step on every candidate's bias; `target` is the position of what was taken.

    With `exact` the candidates are the first items.
    """
    taken = np.int64(target) if exact else np.int64(candidates[target])
    accumulated, bias = h.bias_accumulated[taken], h.bias[taken]
    for c in range(len(probabilities)):
        g = probabilities[c]
        j = np.int64(c) if exact else np.int64(candidates[c])
        h.bias_accumulated[j] += g * g
        h.bias[j] -= h.bias_rate * g / np.sqrt(h.bias_accumulated[j])
    # What was taken stepped as if it had not been: it steps anew.
    g = probabilities[target] - np.float32(1.0)
    h.bias_accumulated[taken] = accumulated + g * g
    h.bias[taken] = bias - h.bias_rate * g / np.sqrt(h.bias_accumulated[taken])


@kernel
def strongest_part(features, weights, active, position):  # type: ignore[no-untyped-def]
    """Which part of the model spoke most for the candidate at a position: one of `*_PART`."""
    strongest = 0
    best = np.float32(-1e30)
    for part in range(3):
        if active[PART_ROWS[part][0]] == 0:
            continue
        total = np.float32(0.0)
        for k in range(PART_ROWS[part][0], PART_ROWS[part][1]):
            total += weights[k] * features[k, position]
        if total > best:
            best = total
            strongest = part
    return strongest


@kernel
def dot_rows(table, vector, n, out):  # type: ignore[no-untyped-def]
    """out[j] = table[j] . vector, for the first n rows."""
    zero = np.float32(0.0)
    # Four rows at a time: the vector is loaded a quarter as often.
    for j in range(0, n - 3, 4):
        first = second = third = fourth = zero
        for d in range(len(vector)):
            v = vector[d]
            first += table[j, d] * v
            second += table[j + 1, d] * v
            third += table[j + 2, d] * v
            fourth += table[j + 3, d] * v
        out[j], out[j + 1], out[j + 2], out[j + 3] = first, second, third, fourth
    for j in range(n - n % 4, n):
        total = zero
        for d in range(len(vector)):
            total += table[j, d] * vector[d]
        out[j] = total


@kernel
def combine(features, weights, bias, n, out):  # type: ignore[no-untyped-def]
    """Write the scores of the first n candidates, from their features (float32[22, >= n])."""
    for j in range(n):
        out[j] = bias[j]
    for k in range(FEATURES):
        weight = weights[k]
        if weight != 0:
            for j in range(n):
                out[j] += weight * features[k, j]


@kernel
def top_k(scores, k, best):  # type: ignore[no-untyped-def]
    """Write the positions of the k best in order, ties by position, to `best`: int32[>= k].

    Returns how many: fewer than k if fewer may be shown.
    """
    found = 0
    bar = EXCLUDED
    for first in range(0, len(scores), _BLOCK):
        block = scores[first : first + _BLOCK]
        # Most blocks hold none of the best: a vectorised look tells.
        highest = EXCLUDED
        for j in range(len(block)):
            highest = max(highest, block[j])
        if highest <= bar:
            continue
        for j in range(len(block)):
            score = block[j]
            if score > bar:
                slot = found if found < k else k - 1
                while slot > 0 and scores[best[slot - 1]] < score:
                    best[slot] = best[slot - 1]
                    slot -= 1
                best[slot] = first + j
                if found < k:
                    found += 1
                if found == k:
                    bar = scores[best[k - 1]]
    return found


@kernel
def softmax(scores, out):  # type: ignore[no-untyped-def]
    """Write the softmax of the scores to `out`, excluded items getting 0: both float32[n]."""
    best = EXCLUDED
    for j in range(len(scores)):
        best = max(best, scores[j])
    for j in range(len(scores)):
        out[j] = scores[j] - best
    exp_in_place(out)
    total = np.float32(0.0)
    for j in range(len(scores)):
        out[j] = out[j] if scores[j] > EXCLUDED else np.float32(0.0)
        total += out[j]
    scale = np.float32(1.0) / total
    for j in range(len(scores)):
        out[j] *= scale


@kernel
def expected_features(features, probabilities, out):  # type: ignore[no-untyped-def]
    """Write sum_j p_j features[k, j] to `out`: float32[22]."""
    for k in range(FEATURES):
        total = np.float32(0.0)
        for j in range(len(probabilities)):
            total += probabilities[j] * features[k, j]
        out[k] = total


@kernel
def expected_vector(vectors, probabilities, out):  # type: ignore[no-untyped-def]
    """Write sum_j p_j vectors[j] to `out`: float32[width]."""
    n, width = len(probabilities), vectors.shape[1]
    for d in range(width):
        out[d] = np.float32(0.0)
    # Four rows at a time: the sums are loaded and stored a quarter as often.
    for j in range(0, n - 3, 4):
        a, b = probabilities[j], probabilities[j + 1]
        c, e = probabilities[j + 2], probabilities[j + 3]
        for d in range(width):
            out[d] += (
                a * vectors[j, d]
                + b * vectors[j + 1, d]
                + c * vectors[j + 2, d]
                + e * vectors[j + 3, d]
            )
    for j in range(n - n % 4, n):
        for d in range(width):
            out[d] += probabilities[j] * vectors[j, d]
