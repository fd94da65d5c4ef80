"""Kernels that write to an array of their caller's, as functions that return it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.features import cooccurrence, head, popularity, transitions, user_items
from engine.features.popularity import Popularity
from engine.features.table import FEATURES
from engine.features.transitions import Transitions
from engine.features.user_items import UserItems
from engine.graph import WEIGHTS, InteractionGraph
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


def put(lists: UserItems, user: int, item: int, weight: float) -> None:
    """`user_items.put`, in room that is made."""
    lists.make_room(int(user_items.block_needed(lists.arrays, user)))
    user_items.put(lists.arrays, user, item, round(weight * WEIGHTS), False)


def record(made: Transitions, history: NDArray[np.int32], item: int, weight: float) -> None:
    """`transitions.record_transitions`, in room that is made."""
    made.make_room(int(transitions.slots_needed(made.arrays, len(history), 0)))
    places = np.full(len(made.start), -1, np.int32)
    transitions.record_transitions(made.arrays, history, item, weight, 0, places)
    assert (places == -1).all()


def gather(
    made: Transitions,
    history: NDArray[np.int32],
    liked: NDArray[np.int32],
    counts: NDArray[np.float32],
    events: int,
    candidates: NDArray[np.int32],
    position: NDArray[np.int32],
    following: NDArray[np.float32],
    around: NDArray[np.float32],
) -> None:
    """`cooccurrence.gather_cooccurrence`, whatever its memory held before."""
    memory = cooccurrence.CooccurrenceScratch.of(len(candidates))
    for array in memory:
        array.fill(7)
    cooccurrence.gather_cooccurrence(
        made.arrays, history, liked, counts, events, counts[candidates], position,
        memory, following, around,
    )  # fmt: skip


def strongest(
    made: Transitions, history: NDArray[np.int32], targets: NDArray[np.int32]
) -> NDArray[np.int32]:
    """`transitions.strongest_sources` of items of which none has left."""
    out = np.empty(len(targets), np.int32)
    left = np.zeros(len(made.start), np.int64)
    transitions.strongest_sources(made.arrays, history, targets, left, out)
    return out


def count(
    made: Popularity,
    item: int,
    history_length: int,
    items: int,
    weight: float,
    value: float | None = None,
    mark: int = 0,
) -> None:
    """`popularity.record_popularity`."""
    rated, value = value is not None, value or 0.0
    popularity.record_popularity(
        made.arrays, item, history_length, items, weight, rated, value, mark
    )


def current(
    made: Popularity, items: NDArray[np.int32], stage: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """`popularity.current_popularity`: features and ratios."""
    features, ratios = np.empty((4, len(items)), np.float32), np.empty((2, len(items)), np.float32)
    popularity.current_popularity(made.arrays, items, len(items), stage, features, ratios)
    return features, ratios


def insert_both(graph: InteractionGraph, user: int, item: int, weight: float, time: int) -> None:
    """An edge at both its ends, as a step makes it."""
    graph.users.insert(user, item, weight, time)
    graph.items.insert(item, user, weight, time)
