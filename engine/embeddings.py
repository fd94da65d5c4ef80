"""Graph embeddings: learnt item tables, propagated to users by an `Aggregator` (Eq. 1).

A user's embedding is the sum of two aggregates of the items they took: a long one (decay .9) and a
short one (decay .5), each from a table of its own; its product with an item's output embedding is
the score. An event re-aggregates the user it touched and nobody else.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.arrays import grown
from engine.compiled import kernel
from engine.graph import NeighbourRows
from engine.propagation import Aggregator

FANOUT = 32
"""Most recent neighbours that are aggregated."""
_DECAYS = (0.9, 0.5)
# A mean times 1 / (1 - decay) is the decayed sum that a long history converges to.
_GAINS = tuple(np.float32(1.0 / (1.0 - decay)) for decay in _DECAYS)
_NEGATIVES = 96
_LEARNING_RATE = 0.2
_INITIAL_DEVIATION = 0.1


class GraphEmbeddings:
    """Learnt tables and the users' propagated embeddings.

    Attributes
    ----------
    inputs : float32[2, items, d]
        What an item contributes to the users who took it: long, short.
    outputs : float32[items, d]
        What an item is scored by.
    users : float32[users, d]
        Propagated; as of each user's last event.
    """

    def __init__(self, aggregator: Aggregator, dimensions: int, seed: int) -> None:
        self._aggregator = aggregator
        self._random = np.random.default_rng(seed)
        self._dimensions = dimensions
        self.inputs: NDArray[np.float32] = np.zeros((2, 0, dimensions), np.float32)
        self.outputs: NDArray[np.float32] = np.zeros((0, dimensions), np.float32)
        self.users: NDArray[np.float32] = np.zeros((1024, dimensions), np.float32)
        self._accumulated: NDArray[np.float32] = np.ones((3, 0), np.float32)
        self._aggregates = np.empty((2, 1, dimensions), np.float32)
        self.reserve_items(1024)

    def reserve_users(self, users: int) -> None:
        """Make room for `users` users."""
        self.users = grown(self.users, users)

    def reserve_items(self, items: int) -> None:
        """Make room for `items` items, new ones drawn at random from the seed."""
        have = len(self.outputs)
        if items <= have:
            return
        fresh = max(items, 2 * have, 1024) - have
        # Item by item, so that an item's values do not depend on when its room was made.
        by_item = self._random.normal(0, _INITIAL_DEVIATION, (fresh, 3, self._dimensions))
        drawn = np.ascontiguousarray(by_item.swapaxes(0, 1), np.float32)
        self.inputs = np.concatenate([self.inputs, drawn[:2]], axis=1)
        self.outputs = np.concatenate([self.outputs, drawn[2]])
        self._accumulated = np.concatenate(
            [self._accumulated, np.ones((3, fresh), np.float32)], axis=1
        )

    def propagate(self, graph: NeighbourRows, user: int) -> None:
        """Re-aggregate a user that an event touched."""
        target = np.array([user], np.int32)
        long, short = self._aggregates
        self._aggregator.aggregate(graph, target, self.inputs[0], _DECAYS[0], long)
        self._aggregator.aggregate(graph, target, self.inputs[1], _DECAYS[1], short)
        self.users[user] = _GAINS[0] * long[0] + _GAINS[1] * short[0]

    def learn(
        self,
        user: int,
        history: NDArray[np.int32],
        item: int,
        probabilities: NDArray[np.float32],
        draw: float,
    ) -> None:
        """One Adagrad step of the softmax loss on the tables that the answer came from.

        Parameters
        ----------
        history : int32[n]
            The user's items, most recent first.
        item
            What the user took.
        probabilities : float32[items]
            The model's own softmax, from which negatives are sampled systematically.
        draw
            Uniform in [0, 1): where the systematic sample starts.
        """
        _learn(
            self.inputs, self.outputs, self._accumulated, self.users[user], history[:FANOUT], item,
            probabilities, draw, np.float32(_DECAYS[0]), np.float32(_DECAYS[1]),
            np.float32(_LEARNING_RATE),
        )  # fmt: skip

    def forget(self, user: int) -> None:
        """Forget a user's embedding."""
        self.users[user] = 0.0


@kernel
def _learn(  # type: ignore[no-untyped-def]
    inputs, outputs, accumulated, user, history, item, probabilities, draw, long, short, rate
):
    dimensions = len(user)
    one = np.float32(1.0)
    energy = np.float32(0.0)
    for d in range(dimensions):
        energy += user[d] * user[d]
    energy /= dimensions

    gradient = np.zeros(dimensions, np.float32)
    error = probabilities[item] - one
    accumulated[2, item] += error * error * energy
    step = rate * error / np.sqrt(accumulated[2, item])
    for d in range(dimensions):
        gradient[d] = error * outputs[item, d]
        outputs[item, d] -= step * user[d]

    share = (one - probabilities[item]) / np.float32(_NEGATIVES)
    threshold = draw / _NEGATIVES
    total = 0.0
    for j in range(len(probabilities)):
        total += probabilities[j]
        while total > threshold:
            threshold += 1.0 / _NEGATIVES
            if j == item:
                continue
            accumulated[2, j] += share * share * energy
            step = rate * share / np.sqrt(accumulated[2, j])
            for d in range(dimensions):
                gradient[d] += share * outputs[j, d]
                outputs[j, d] -= step * user[d]

    energy = np.float32(0.0)
    for d in range(dimensions):
        energy += gradient[d] * gradient[d]
    energy /= dimensions
    long_weight = short_weight = one
    for q in range(len(history)):
        h = history[q]
        accumulated[0, h] += long_weight * long_weight * energy
        step = rate * long_weight / np.sqrt(accumulated[0, h])
        for d in range(dimensions):
            inputs[0, h, d] -= step * gradient[d]
        if short_weight > 1e-3:
            accumulated[1, h] += short_weight * short_weight * energy
            step = rate * short_weight / np.sqrt(accumulated[1, h])
            for d in range(dimensions):
                inputs[1, h, d] -= step * gradient[d]
        long_weight *= long
        short_weight *= short
