"""Graph embeddings: learnt tables, propagated over the graph both ways by an `Aggregator` (Eq. 1).

Items to users: a user's embedding is the sum of two aggregates of the items they took, a long one
(decay .9) and a short one (decay .5), each from a table of its own; its product with an item's
output embedding is a score. Users to items: each user also has a personal embedding, learnt by
their own steps alone, and an item's second-hop embedding aggregates those of the users who took it
last. An event re-aggregates the user and the item it touched and nobody else.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.arrays import grown
from engine.compiled import kernel
from engine.features.item_codes import OUTPUTS, PERSONAL_OUTPUTS, encode
from engine.graph import InteractionGraph
from engine.propagation import Aggregation, Aggregator
from engine.propagation.numba_backend import NumbaAggregator, aggregate_row
from engine.state.schema import ROWS, Array, Generator, State

FANOUT = 32
"""Most recent neighbours that are aggregated."""
_DECAYS = (0.9, 0.5)
_ITEM_DECAY = 0.97
# A mean times 1 / (1 - decay) is the decayed sum that a long history converges to.
_GAINS = tuple(np.float32(1.0 / (1.0 - decay)) for decay in _DECAYS)
_LONG_DECAY, _SHORT_DECAY = (np.float32(decay) for decay in _DECAYS)
_LONG_GAIN, _SHORT_GAIN = _GAINS
_HOP_DECAY = np.float32(_ITEM_DECAY)
_PRIOR_USERS = 2.0
"""Users without taste that an item's second-hop embedding starts from."""
_TAKERS_WEIGHT = (1 - _ITEM_DECAY ** np.arange(FANOUT + 1)) / (1 - _ITEM_DECAY)
_SHRINKAGE = (3 * _TAKERS_WEIGHT / (_TAKERS_WEIGHT + _PRIOR_USERS)).astype(np.float32)
"""Factor of the second hop by the users aggregated: shrinks the mean of few, and gives it a length
that the head's weight for it starts well from."""
_NEGATIVES = 96
MOST_DRAWN = 1 + _NEGATIVES + 1
"""Positions that a step on the embeddings is about: what was taken and the negatives, of which a
rounding may draw one more."""
_GOLDEN = 0.6180339887498949
"""Its multiples, less their whole parts, are evenly spread over [0, 1)."""
_INITIAL_DEVIATION = 0.1
_LONG, _SHORT, _OUTPUT, _PERSONAL = range(4)


class EmbeddingArrays(NamedTuple):
    """What kernels read and write of `GraphEmbeddings`."""

    inputs: NDArray[np.float32]
    outputs: NDArray[np.float32]
    personal_outputs: NDArray[np.float32]
    second_hop: NDArray[np.float32]
    users: NDArray[np.float32]
    personal: NDArray[np.float32]
    directions: NDArray[np.float32]
    accumulated: NDArray[np.float32]
    accumulated_users: NDArray[np.float32]
    steps: NDArray[np.int64]
    rate: np.float32


class GraphEmbeddings:
    """Learnt tables and the propagated embeddings.

    Attributes
    ----------
    inputs : float32[2, items, d]
        What an item contributes to the users who took it: long, short.
    outputs, personal_outputs : float32[items, d]
        What an item is scored by: against `users`, against `personal`.
    second_hop : float32[items, d]
        Propagated from the users who took the item; as of its last event.
    users : float32[users, d]
        Propagated from the items taken; as of the user's last event.
    personal, directions : float32[users, d]
        Learnt; and the same at unit length.
    steps : int64[1]
        Online steps so far.
    """

    # The rows that `reserve_items` drew ahead are saved with the rest, and the generator as they
    # left it: items to come get the values that they would have got.
    STATE: ClassVar[State] = State(
        {
            "inputs": Array("items/embeddings/inputs", (None, ROWS, None)),
            "outputs": Array("items/embeddings/outputs", (ROWS, None)),
            "personal_outputs": Array("items/embeddings/personal_outputs", (ROWS, None)),
            "second_hop": Array("items/embeddings/second_hop", (ROWS, None)),
            "users": Array("users/embeddings/propagated", (ROWS, None)),
            "personal": Array("users/embeddings/personal", (ROWS, None)),
            "directions": Array("users/embeddings/directions", (ROWS, None)),
            "_accumulated": Array("items/embeddings/accumulated", (None, ROWS), fill=1),
            "_accumulated_users": Array("users/embeddings/accumulated", (ROWS,), fill=1),
            "steps": Array("model/embeddings/steps", (None,)),
            "_random": Generator("model/embeddings/random"),
        },
        unsaved=("aggregator", "_dimensions", "_aggregates", "_rate"),
    )  # fmt: skip

    def __init__(
        self, aggregator: Aggregator, dimensions: int, seed: int, rate: float = 0.2
    ) -> None:
        """`rate` is the learning rate of the tables."""
        self.aggregator = aggregator
        self._rate = np.float32(rate)
        self._random = np.random.default_rng(seed)
        self._dimensions = dimensions
        self.inputs: NDArray[np.float32] = np.zeros((2, 0, dimensions), np.float32)
        self.outputs: NDArray[np.float32] = np.zeros((0, dimensions), np.float32)
        self.personal_outputs: NDArray[np.float32] = np.zeros((0, dimensions), np.float32)
        self.second_hop: NDArray[np.float32] = np.zeros((1024, dimensions), np.float32)
        self.users: NDArray[np.float32] = np.zeros((1024, dimensions), np.float32)
        self.personal: NDArray[np.float32] = np.zeros((1024, dimensions), np.float32)
        self.directions: NDArray[np.float32] = np.zeros((1024, dimensions), np.float32)
        self._accumulated: NDArray[np.float32] = np.ones((4, 0), np.float32)
        self._accumulated_users: NDArray[np.float32] = np.ones(1024, np.float32)
        self.steps: NDArray[np.int64] = np.zeros(1, np.int64)
        self._aggregates = np.empty((3, 1, dimensions), np.float32)
        self.reserve_items(1024)

    @property
    def arrays(self) -> EmbeddingArrays:
        """As kernels take them."""
        return EmbeddingArrays(
            self.inputs, self.outputs, self.personal_outputs, self.second_hop, self.users,
            self.personal, self.directions, self._accumulated, self._accumulated_users, self.steps,
            self._rate,
        )  # fmt: skip

    def reserve_users(self, users: int) -> None:
        """Make room for `users` users."""
        self.users = grown(self.users, users)
        self.personal = grown(self.personal, users)
        self.directions = grown(self.directions, users)
        self._accumulated_users = grown(self._accumulated_users, users, fill=1)

    def reserve_items(self, items: int) -> None:
        """Make room for `items` items, new ones drawn at random from the seed."""
        have = len(self.outputs)
        if items <= have:
            return
        fresh = max(items, 2 * have, 1024) - have
        # Item by item, so that an item's values do not depend on when its room was made.
        by_item = self._random.normal(0, _INITIAL_DEVIATION, (fresh, 4, self._dimensions))
        drawn = np.ascontiguousarray(by_item.swapaxes(0, 1), np.float32)
        self.inputs = np.concatenate([self.inputs, drawn[:2]], axis=1)
        self.outputs = np.concatenate([self.outputs, drawn[2]])
        self.personal_outputs = np.concatenate([self.personal_outputs, drawn[3]])
        self.second_hop = grown(self.second_hop, have + fresh)
        self._accumulated = np.concatenate(
            [self._accumulated, np.ones((4, fresh), np.float32)], axis=1
        )

    def draw_item(self, item: int, name: str) -> None:
        """Draw an item's rows from its name: engines that number items differently agree."""
        key = blake2b(name.encode(errors="surrogatepass"), digest_size=16).digest()
        random = np.random.Generator(np.random.Philox(key=int.from_bytes(key, "little")))
        self._put_item(item, random)

    def renew_item(self, item: int) -> None:
        """Draw an item's rows anew: the number is another's now."""
        self._put_item(item, self._random)

    def _put_item(self, item: int, random: np.random.Generator) -> None:
        drawn = random.normal(0, _INITIAL_DEVIATION, (4, self._dimensions))
        self.inputs[:, item] = drawn[:2]
        self.outputs[item], self.personal_outputs[item] = drawn[2:]
        self.second_hop[item] = 0.0
        self._accumulated[:, item] = 1.0
        changed = np.array([item], np.int32)
        self.aggregator.changed("long", changed)
        self.aggregator.changed("short", changed)

    @property
    def is_compiled(self) -> bool:
        """Whether `propagate` is a kernel that others can call."""
        return isinstance(self.aggregator, NumbaAggregator)

    def propagate(self, graph: InteractionGraph, user: int, item: int) -> None:
        """Re-aggregate the user and the item that an event touched."""
        if self.is_compiled:
            propagate(graph.users.arrays, graph.items.arrays, self.arrays, user, item)
            return
        users, items = np.array([user], np.int32), np.array([item], np.int32)
        long, short, hop = self._aggregates
        self.aggregator.aggregate(
            Aggregation(graph.users, users, "long", self.inputs[0], _DECAYS[0], long),
            Aggregation(graph.users, users, "short", self.inputs[1], _DECAYS[1], short),
            Aggregation(graph.items, items, "directions", self.directions, _ITEM_DECAY, hop),
        )
        self.users[user] = _GAINS[0] * long[0] + _GAINS[1] * short[0]
        takers = min(int(graph.items.degree[item]), FANOUT, graph.items.length)
        self.second_hop[item] = _SHRINKAGE[takers] * hop[0]

    def learnt(self, user: int, history: NDArray[np.int32]) -> None:
        """Tell the aggregator which rows a step on the user's history (int32[n]) changed."""
        if self.aggregator.keeps_tables:
            self.aggregator.changed("long", history[:FANOUT])
            self.aggregator.changed("short", history[:FANOUT])
            self.aggregator.changed("directions", np.array([user], np.int32))

    def forget(self, user: int) -> None:
        """Forget a user's embeddings."""
        self.users[user] = self.personal[user] = self.directions[user] = 0.0
        self._accumulated_users[user] = 1.0
        self.aggregator.changed("directions", np.array([user], np.int32))


@kernel
def propagate(users, items, e, user, item):  # type: ignore[no-untyped-def]
    """See `GraphEmbeddings.propagate`: `users` and `items` are the graph's rows."""
    row = e.users[user]
    # Until its own turn the item's row holds the user's short aggregate.
    hop = e.second_hop[item]
    aggregate_row(users.edges, users.degree, user, e.inputs[0], _LONG_DECAY, FANOUT, row)
    aggregate_row(users.edges, users.degree, user, e.inputs[1], _SHORT_DECAY, FANOUT, hop)
    for d in range(len(row)):
        row[d] = _LONG_GAIN * row[d] + _SHORT_GAIN * hop[d]
    aggregate_row(items.edges, items.degree, item, e.directions, _HOP_DECAY, FANOUT, hop)
    factor = _SHRINKAGE[min(items.degree[item], FANOUT, items.edges.shape[1])]
    for d in range(len(hop)):
        hop[d] *= factor


@kernel
def _energy(vector):  # type: ignore[no-untyped-def]
    """Mean square: the row-wise gradient that Adagrad accumulates."""
    total = np.float32(0.0)
    for d in range(len(vector)):
        total += vector[d] * vector[d]
    return total / np.float32(len(vector))


@kernel
def _step_output(row, accumulated, user, user_energy, error, rate, gradient):  # type: ignore[no-untyped-def]
    """Move an output row against its error; add its part to the gradient by the user's vector."""
    accumulated += error * error * user_energy
    step = rate * error / np.sqrt(accumulated)
    for d in range(len(row)):
        gradient[d] += error * row[d]
        row[d] -= step * user[d]
    return accumulated


@kernel
def _step(row, accumulated, weight, gradient, energy, rate):  # type: ignore[no-untyped-def]
    """Move a row that entered with `weight` against a gradient of that energy."""
    accumulated += weight * weight * energy
    step = rate * weight / np.sqrt(accumulated)
    for d in range(len(row)):
        row[d] -= step * gradient[d]
    return accumulated


@kernel
def _draw(probabilities, target, draw, out):  # type: ignore[no-untyped-def]
    """Write the positions of the negatives: sampled systematically, in order, from a first draw in
    [0, 1); the target is none. Returns how many."""
    many = 0
    threshold = draw / _NEGATIVES
    total = 0.0
    for c in range(len(probabilities)):
        total += probabilities[c]
        while total > threshold:
            threshold += 1.0 / _NEGATIVES
            if c != target and many < len(out):
                out[many] = c
                many += 1
    return many


@kernel
def learn_tables(  # type: ignore[no-untyped-def]
    e, codes, user_number, history, candidates, probabilities, target, weight, own_weight, scratch,
    drawn,
):  # fmt: skip
    """One Adagrad step of the softmax loss on the tables that a user's scores came from.

    Parameters
    ----------
    codes
        Those of the items (`engine.features.item_codes`), which follow the output rows.
    history : int32[n]
        The user's items, most recent first.
    candidates, probabilities : int32[m], float32[m]
        The items that competed, and the model's own softmax over them, from which negatives are
        sampled systematically.
    target
        Position in `candidates` of what the user took.
    weight, own_weight
        What the error is scaled by that each of the two products is told: float32.
    scratch : float32[2, >= d]
    drawn : int32[MOST_DRAWN]
    """
    inputs, outputs, personal_outputs, accumulated = (
        e.inputs, e.outputs, e.personal_outputs, e.accumulated,
    )  # fmt: skip
    user, personal = e.users[user_number], e.personal[user_number]
    direction = e.directions[user_number]
    e.steps[0] += 1
    rate = e.rate
    dimensions = len(user)
    one = np.float32(1.0)
    user_energy = _energy(user)
    # Starts above zero: the personal embedding does, so its outputs could not be told apart.
    personal_energy = _energy(personal) + np.float32(0.01)
    gradient, own = scratch[0, :dimensions], scratch[1, :dimensions]
    for d in range(dimensions):
        gradient[d] = own[d] = np.float32(0.0)

    drawn[0] = target
    many = 1 + _draw(probabilities, target, (e.steps[0] * _GOLDEN) % 1.0, drawn[1:])
    share = (one - probabilities[target]) / np.float32(_NEGATIVES)
    for i in range(many):
        j = candidates[drawn[i]]
        error = share if i > 0 else probabilities[target] - one
        accumulated[_OUTPUT, j] = _step_output(
            outputs[j], accumulated[_OUTPUT, j], user, user_energy, weight * error, rate,
            gradient,
        )  # fmt: skip
        accumulated[_PERSONAL, j] = _step_output(
            personal_outputs[j], accumulated[_PERSONAL, j], personal, personal_energy,
            own_weight * error, rate, own,
        )  # fmt: skip
        if i + 1 == many or drawn[i + 1] != drawn[i]:  # one is drawn again right after itself
            encode(codes, OUTPUTS, j, outputs[j])
            encode(codes, PERSONAL_OUTPUTS, j, personal_outputs[j])

    energy = _energy(gradient)
    long = short = one
    for q in range(min(len(history), FANOUT)):
        h = history[q]
        accumulated[_LONG, h] = _step(
            inputs[0, h], accumulated[_LONG, h], long, gradient, energy, rate
        )
        if short > np.float32(1e-3):
            accumulated[_SHORT, h] = _step(
                inputs[1, h], accumulated[_SHORT, h], short, gradient, energy, rate
            )
        long *= np.float32(_DECAYS[0])
        short *= np.float32(_DECAYS[1])

    e.accumulated_users[user_number] = _step(
        personal, e.accumulated_users[user_number], one, own, _energy(own), rate
    )
    scale = one / np.sqrt(_energy(personal) * np.float32(dimensions) + np.float32(1e-6))
    for d in range(dimensions):
        direction[d] = personal[d] * scale
