"""Loads every compiled kernel before the first event, which would have to wait for them."""

from __future__ import annotations

import numpy as np

from engine.events import Interaction, Item, Kind
from engine.recommender import Recommender
from engine.rules import Rules
from engine.settings import EngineSettings
from engine.text.encoder import TextEncoder

_EVERY_ITEM, _NAMED_ITEMS = 20_000, 1
"""`exact_items` with which the few items here are scored whole, and as a large catalogue's are."""


def warm_up(settings: EngineSettings) -> None:
    """Rehearse, on engines of a few users and items, all that an engine of these settings may do.

    Without a cache on disk the kernels are compiled: one to three minutes, once.
    """
    # A board serves one engine at a time; what stands in for it is compiled.
    aggregator = "int8" if settings.aggregator == "pynq" else settings.aggregator
    for exact_items in (_EVERY_ITEM, _NAMED_ITEMS):
        small = {
            "aggregator": aggregator, "exact_items": exact_items, "max_users": 2, "max_items": 3,
        }  # fmt: skip
        shaped = settings.model_copy(update=small)
        engine = Recommender(shaped)
        _rehearse(engine)
        _rehearse_sharing(engine, Recommender(shaped))


def _rehearse(engine: Recommender) -> None:
    def observe(user: str, item: int, at: int, kind: Kind = "view") -> None:
        engine.observe(
            Interaction(event_id="", user=user, item=str(item), timestamp=at, kind=kind, value=1.0)
        )

    embedding = np.ones(TextEncoder.dimensions, np.float32)
    for number in range(3):
        engine.upsert_item(Item(item=str(number), categories=[str(number)]), embedding)
        observe("ann", number, 2 * number)
        observe("bob", number, 2 * number + 1, "rating")
    engine.upsert_item(Item(item="3"), embedding)  # for which one has to leave
    observe("ann", 3, 1)  # late
    observe("ann", 2, 9, "dislike")
    observe("cid", 3, 9)  # for whom one has to leave
    for user in ("ann", "nobody"):
        engine.recommend(user, rules=Rules(diversity=0.5))
        engine.forget(user)


def _rehearse_sharing(engine: Recommender, other: Recommender) -> None:
    """What one event taught is told to another engine, and its user moves there."""
    for each in (engine, other):
        each.share()
    for item in ("2", "3"):  # which it knows: what leaves is not told of
        engine.observe(Interaction(event_id="", user="dan", item=item, timestamp=10, kind="view"))
    other.apply_delta(engine.collect_delta({0: (0, 2)}))
    other.take_in(engine.users_apart(["dan"]))
    other.recommend("dan")
    for each in (engine, other):
        each.forget("dan")
        each.compact_users()
