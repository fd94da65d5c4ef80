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

from engine.features.user_items import packed
from engine.graph import WEIGHTS
from engine.state.container import Content

Contents = dict[str, Content]


def from_2(contents: Contents) -> Contents:
    """Format 2 named entries by private attributes, and the head's rows not at all."""
    renamed = {_NAMES.get(name, name): value for name, value in contents.items()}
    for name, axis, labels in _LABELS:
        renamed[f"{name}/axis-{axis}"] = msgspec.json.encode(labels)
    return renamed


def from_3(contents: Contents) -> Contents:
    """Format 3 had numbers that kernels count with as JSON, and an array for each user's items.

    The squared gradients of the head's weights are dropped: its steps are Newton's now.
    """
    old = dict(contents)

    def number(name: str) -> Any:
        value = old.pop(name, None)
        return msgspec.json.decode(value) if isinstance(value, bytes) else None

    clock = [number(f"items/popularity/{name}") or 0 for name in _CLOCK]
    moments = number("items/popularity/value_moments") or [0.0] * 3
    made: Contents = {
        "items/popularity/clock": np.array(clock, np.int64),
        "items/popularity/clock/axis-0": msgspec.json.encode(("events", "cursor", "trending")),
        "items/popularity/moments": np.array(moments, np.float64),
        "items/popularity/moments/axis-0": msgspec.json.encode(("ratings", "mean", "squares")),
        "items/popularity/inflation": np.array([number("items/popularity/inflation") or 1.0]),
        "items/departures/clock": np.array([number("items/departures/count") or 0], np.int64),
        "model/embeddings/steps": np.array([number("model/embeddings/steps") or 0], np.int64),
    }
    taken = _taken(old, number("users/taken/counts") or [])
    disliked = number("users/dislikes") or {}
    dislikes = [
        np.array(disliked.get(str(user), ()), np.int64) | WEIGHTS << 24
        for user in range(len(taken))
    ]
    for name, lists in (("users/taken", taken), ("users/disliked", dislikes)):
        made |= {f"{name}/{field}": value for field, value in packed(lists)._asdict().items()}
    for axis in ("", "/axis-0", "/axis-1"):
        old.pop(f"model/head/accumulated{axis}", None)
    return old | made


def _taken(old: Contents, counts: list[int]) -> list[NDArray[np.int64]]:
    """What each user has taken, as entries of `engine.features.user_items`."""
    lengths, items, weights = (
        np.asarray(old.pop(f"users/taken/{name}"))
        for name in ("items/lengths", "items/joined", "weights/joined")
    )
    del old["users/taken/weights/lengths"]  # the same as the items'
    held = np.array(counts, np.int64)
    starts = np.cumsum(lengths) - lengths
    if (held < 0).any() or (held > lengths).any() or len(items) != len(weights):
        raise ValueError("a user took more items than are there")
    entries = items.astype(np.int64) | np.rint(weights * WEIGHTS).astype(np.int64) << 24
    return [entries[at : at + n] for at, n in zip(starts.tolist(), counts, strict=True)]


MIGRATIONS: dict[int, Callable[[Contents], Contents]] = {2: from_2, 3: from_3}
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
    "popularity.events": "items/popularity/events",
    "popularity.trending_count": "items/popularity/trending_count",
    "popularity._inflation": "items/popularity/inflation",
    "popularity._cursor": "items/popularity/cursor",
    "popularity._values": "items/popularity/value_moments",
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
    "embeddings._steps": "model/embeddings/steps",
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
    "head.accumulated": "model/head/accumulated",
    "head.bias": "items/bias/values",
    "head.bias_accumulated": "items/bias/accumulated",
    "dislikes._items": "users/dislikes",
    "departures.last": "items/departures/last",
    "departures.count": "items/departures/count",
    "_seen._items.lengths": "users/taken/items/lengths",
    "_seen._items.joined": "users/taken/items/joined",
    "_seen._weights.lengths": "users/taken/weights/lengths",
    "_seen._weights.joined": "users/taken/weights/joined",
    "_seen._counts": "users/taken/counts",
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
_CLOCK = "events", "cursor", "trending_count"
_FEATURES = (
    "directed", "symmetric", "saturating", "disliked", "graph", "personal", "second_hop",
    "popular", "trending", "age", "quality", "stage", "text", "new_text",
)  # fmt: skip
_CONTEXTS = "constant", "length", "popularity", "session", "quality"
_LABELS = (
    ("model/head/weights", 0, _FEATURES),
    ("model/head/weights", 1, _CONTEXTS),
    ("model/head/accumulated", 0, _FEATURES),
    ("model/head/accumulated", 1, _CONTEXTS),
    ("items/popularity/features", 0, ("share", "recent_share", "age", "quality")),
)
