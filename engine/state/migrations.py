"""What changed from each version of the format to the next.

A migration takes all entries of a file by name, and gives those that the next version has. What
was only added, or is kept no longer, needs none (`engine.state.schema`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.graph import WEIGHTS
from engine.state.container import Content

Contents = dict[str, Content]


def from_2(contents: Contents) -> Contents:
    """Format 2 named entries by private attributes, and the head's rows not at all.

    Numbers that kernels count with were JSON, and each user's items arrays of their own.
    """
    old = dict(contents)

    def number(name: str, default: float = 0) -> Any:
        value = old.pop(name, None)
        return msgspec.json.decode(value) if isinstance(value, bytes) else default

    made: Contents = {
        "items/popularity/clock": np.array(
            [number(f"popularity.{name}") for name in ("events", "_cursor", "trending_count")],
            np.int64,
        ),
        "items/popularity/moments": np.array(
            [*(number("popularity._values") or [0.0] * 3), number("popularity._inflation", 1.0)]
        ),
        "items/departures/clock": np.array([number("departures.count")], np.int64),
        "model/embeddings/steps": np.array([number("embeddings._steps")], np.int64),
    }
    counts = np.array(number("_seen._counts") or [], np.int64)
    starts = _starts(old.pop("_seen._items.lengths"), counts)
    old.pop("_seen._weights.lengths")
    items, weights = (old.pop(f"_seen.{name}.joined") for name in ("_items", "_weights"))
    units = np.rint(np.asarray(weights) * WEIGHTS).astype(np.int64)
    taken = np.asarray(items).astype(np.int64) | units << 24
    made |= _lists(
        "users/taken", [taken[at : at + n] for at, n in zip(starts, counts, strict=True)]
    )
    disliked = number("dislikes._items") or {}
    made |= _lists(
        "users/disliked",
        [
            np.array(disliked.get(str(user), ()), np.int64) | WEIGHTS << 24
            for user in range(len(counts))
        ],
    )
    old.pop("head.accumulated", None)  # steps are Newton's now
    made |= {_NAMES.get(name, name): value for name, value in old.items()}
    for name, axis, labels in _LABELS:
        made[f"{name}/axis-{axis}"] = msgspec.json.encode(labels)
    return made


def _starts(lengths: Any, counts: NDArray[np.int64]) -> list[int]:
    """Where each user's items begin in the joined array."""
    if len(lengths) != len(counts) or (counts > lengths).any():
        raise ValueError("a user took more items than are there")
    return (np.cumsum(lengths) - lengths).tolist()


def _lists(name: str, lists: list[NDArray[np.int64]]) -> Contents:
    """The entries of an `engine.features.user_items.UserItems`."""
    length = np.array([len(one) for one in lists], np.int32)
    # Blocks double from eight slots on.
    capacity = np.where(length > 0, 8 << np.ceil(np.log2(np.maximum(length, 8) / 8)).astype(int), 0)
    start = np.cumsum(capacity) - capacity
    entries = np.zeros(max(int(capacity.sum()), 8), np.int64)
    for at, one in zip(start.tolist(), lists, strict=True):
        entries[at : at + len(one)] = one
    return {
        f"{name}/entries": entries,
        f"{name}/start": start.astype(np.int64),
        f"{name}/capacity": capacity.astype(np.int32),
        f"{name}/length": length,
        f"{name}/top": np.array([capacity.sum()], np.int64),
    }


MIGRATIONS: dict[int, Callable[[Contents], Contents]] = {2: from_2}
"""By the version that they lead away from."""

_NAMES = {
    "users.names": "users/ids",
    "items.names": "items/ids",
    "categories._of": "items/categories",
    "graph.users.edges": "users/graph/edges",
    "graph.users.times": "users/graph/times",
    "graph.users.degree": "users/graph/degree",
    "graph.items.edges": "items/graph/edges",
    "graph.items.times": "items/graph/times",
    "graph.items.degree": "items/graph/degree",
    "transitions.items": "items/transitions/neighbours",
    "transitions.weights": "items/transitions/weights",
    "transitions.start": "items/transitions/start",
    "transitions.capacity": "items/transitions/capacity",
    "transitions.degree": "items/transitions/degree",
    "transitions._top": "items/transitions/top",
    "transitions._free": "items/transitions/free",
    "transitions._free_counts": "items/transitions/free_counts",
    "transitions._marks": "items/transitions/marks",
    "transitions._purged": "items/transitions/purged",
    "popularity.counts": "items/popularity/counts",
    "popularity.features": "items/popularity/features",
    "popularity.stage_ratio": "items/popularity/stage_ratio",
    "popularity.trending": "items/popularity/trending",
    "popularity._recent": "items/popularity/recent",
    "popularity._first": "items/popularity/first",
    "popularity._by_stage": "items/popularity/by_stage",
    "popularity._stage_total": "items/popularity/stage_total",
    "popularity._value_sums": "items/popularity/value_sums",
    "contexts.lengths": "users/context/lengths",
    "contexts.levels": "users/context/levels",
    "embeddings.inputs": "items/embeddings/inputs",
    "embeddings.outputs": "items/embeddings/outputs",
    "embeddings.personal_outputs": "items/embeddings/personal_outputs",
    "embeddings.second_hop": "items/embeddings/second_hop",
    "embeddings.users": "users/embeddings/propagated",
    "embeddings.personal": "users/embeddings/personal",
    "embeddings.directions": "users/embeddings/directions",
    "embeddings._accumulated": "items/embeddings/accumulated",
    "embeddings._accumulated_users": "users/embeddings/accumulated",
    "embeddings._random": "model/embeddings/random",
    "vectors.vectors": "items/text/vectors",
    "vectors._embeddings": "items/text/embeddings",
    "vectors._reviews": "items/text/reviews",
    "vectors._has_text": "items/text/has_text",
    "vectors._mean": "model/text/mean",
    "vectors._basis": "model/text/basis",
    "vectors._rows": "items/text/rows",
    "vectors._free_rows": "items/text/free_rows",
    "vectors._texts": "items/text/count",
    "vectors._next_fit": "model/text/next_fit",
    "vectors._categories.names": "categories/ids",
    "taste.profiles": "users/taste/profiles",
    "taste.maps": "model/taste/maps",
    "taste.accumulated": "model/taste/accumulated",
    "head.weights": "model/head/weights",
    "head.bias": "items/bias/values",
    "head.bias_accumulated": "items/bias/accumulated",
    "departures.last": "items/departures/last",
    "_candidates._texts._base": "items/index/texts/base",
    "_candidates._texts._keys": "items/index/texts/keys",
    "_candidates._texts._vectors": "items/index/texts/vectors",
    "_candidates._texts._since": "items/index/texts/since",
    "_candidates._embeddings._base": "items/index/embeddings/base",
    "_candidates._embeddings._keys": "items/index/embeddings/keys",
    "_candidates._embeddings._vectors": "items/index/embeddings/vectors",
    "_candidates._embeddings._since": "items/index/embeddings/since",
    "_user_order._links": "users/use_order",
    "_item_order._links": "items/use_order",
    "_hidden": "items/hidden",
    "_purged": "users/purged",
    "_because": "items/reasons",
    "_users_evicted": "users/evicted",
}
_FEATURES = (
    "directed", "symmetric", "saturating", "disliked", "graph", "personal", "second_hop",
    "popular", "trending", "age", "quality", "stage", "text", "new_text",
)  # fmt: skip
_CONTEXTS = "constant", "length", "popularity", "session", "quality"
_LABELS = (
    ("model/head/weights", 0, _FEATURES),
    ("model/head/weights", 1, _CONTEXTS),
    ("items/popularity/features", 0, ("share", "recent_share", "age", "quality")),
    ("items/popularity/clock", 0, ("events", "cursor", "trending")),
    ("items/popularity/moments", 0, ("ratings", "mean", "squares", "inflation")),
)
