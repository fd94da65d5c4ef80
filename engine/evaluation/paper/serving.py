"""Latency of trained models: cold, with a text encoded on the way, and warm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from engine.evaluation.latency import measure
from engine.evaluation.measures import K
from engine.events import Interaction, Item
from engine.trained import TrainedModel

TITLES = 5


class Request(NamedTuple):
    """A user and the text that a cold request encodes."""

    user: str
    text: str


def requests_of(
    train: Sequence[Interaction], items: Sequence[Item], count: int, seed: int = 0
) -> list[Request]:
    """`count` requests of random users; the text names the last five items that the user rated.

    That is some forty tokens of MiniLM's for films. Users repeat when there are fewer; no text
    repeats then, so that no cache of texts makes a cold request warm.
    """
    titles = {item.item: item.title or item.item for item in items}
    rated: dict[str, list[str]] = {}
    for one in train:
        name = str(one.item)
        rated.setdefault(one.user, []).append(titles.get(name, name))
    rng = np.random.default_rng(seed)
    users = sorted(rated)
    order = np.concatenate([rng.permutation(len(users)) for _ in range(-(-count // len(users)))])
    return [
        Request(users[place], f"{'; '.join(rated[users[place]][-TITLES:])} ({number})")
        for number, place in enumerate(order[:count], 1)
    ]


def latencies(
    models: Mapping[str, TrainedModel], requests: Sequence[Request], warm_up: int
) -> dict[str, Any]:
    """Milliseconds by model, `cold` and `warm`, all of them in turns within one process."""
    contenders = {
        f"{name} {kind}": partial(ask, model)
        for name, model in models.items()
        for kind, ask in (("cold", _cold), ("warm", _warm))
    }
    found = measure(contenders, requests, warm_up)
    return {
        name: {kind: found[f"{name} {kind}"]._asdict() for kind in ("cold", "warm")}
        for name in models
    }


def _cold(model: TrainedModel, request: Request) -> object:
    return model.request(request.user, request.text, K)


def _warm(model: TrainedModel, request: Request) -> object:
    return model.recommend(request.user, K)
