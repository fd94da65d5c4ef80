"""Engines with a story, and whether two of them are the same in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import structs

from engine import EngineSettings, Interaction, Item, Recommender
from engine.datasets import Synthetic
from engine.features.item_codes import ItemCodes

Step = Interaction | tuple[Item, np.ndarray | None]

HYBRID = EngineSettings(dimensions=32, text_dimensions=20, neighbours=64, transitions=256)
INDEXED = EngineSettings(exact_items=60, candidates=100)
UNTOLD = {
    "scratch",
    "_held",
    "kinds",  # of the settings
    "_encoder",
    "_reviews",
    "every",
    "position",
    "aggregator",
    "_aggregates",
    "_index",
    "_departures",  # the same object as `departures`
    "_gone",
    "journal",  # empty, unless items are shared
}
"""Scratch, of which nothing is promised; and what is compared where it belongs."""


def story(events: int = 600, seed: int = 0) -> list[Step]:
    """Items and what users do to them: late items, reviews, dislikes, forgets, hidden items."""
    draw = np.random.default_rng(seed)
    source = Synthetic(events=events, users=40, items=120, seed=seed)
    films = list(source.items())
    steps: list[Step] = [(film, draw.normal(size=384).astype(np.float32)) for film in films[:50]]
    for number, event in enumerate(source.interactions()):
        changes: dict[str, Any] = {}
        if number % 17 == 5:
            changes = {"kind": "dislike"}
        elif number % 37 == 30:
            changes = {"kind": "forget", "item": None}
        elif number % 31 == 3:
            # Of items that the catalogue knows nothing of, too: reviews are then their text.
            item = event.item if number % 2 else f"unlisted-{number % 5}"
            changes = {"kind": "review", "item": item, "text": f"About {item}", "value": 4.5}
        steps.append(structs.replace(event, **changes))
        if number % 9 == 0 and 50 + number // 9 < len(films):
            film = films[50 + number // 9]
            steps.append((film, draw.normal(size=384).astype(np.float32)))
        if number % 40 == 0:
            changed = structs.replace(films[number // 40], hidden=number % 80 == 0, text="")
            steps.append((structs.replace(changed, categories=["Other"], title="ø \u2028"), None))
    return steps


def crowd(late: int = 1100) -> list[Step]:
    """So many new users and items; 1,100 are more than there is room for at first."""
    draw = np.random.default_rng(1)
    steps: list[Step] = []
    for number in range(late):
        item = Item(item=f"late-{number}", categories=["Late"], properties={"year": 1990.0})
        steps.append((item, draw.normal(size=384).astype(np.float32) if number < 900 else None))
        user, at = f"late-{number}", 1_800_000_000_000 + number
        for taken in (item.item, f"late-{number // 2}"):
            steps.append(
                Interaction(event_id="", user=user, item=taken, timestamp=at, kind="purchase")
            )
    return steps


def told(engine: Recommender, steps: list[Step]) -> list[Any]:
    """What the engine answers to each step."""
    answers: list[Any] = []
    for step in steps:
        if isinstance(step, Interaction):
            answers.append(engine.observe(step).items)
        else:
            engine.upsert_item(*step)
    answers += [engine.recommend(f"user-{number}", k=20).items for number in range(45)]
    return answers


def saved(engine: Recommender, path: Path) -> bytes:
    engine.save(path)
    return path.read_bytes()


def parts(thing: Any, where: str = "engine") -> Iterator[tuple[str, Any]]:
    yield where, thing
    for name in thing.STATE.parts:
        yield from parts(getattr(thing, name), f"{where}.{name}")


def comparable(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.dtype, value.shape, value.strides, value.tobytes()
    if isinstance(value, list):
        return [comparable(entry) for entry in value]
    if isinstance(value, dict):  # a category that lost its last item is none
        return {key: comparable(entry) for key, entry in value.items() if entry != set()}
    if isinstance(value, ItemCodes):
        return [comparable(array) for array in value.arrays]
    if isinstance(value, np.random.Generator):
        return value.bit_generator.state
    return value


def assert_same(one: Recommender, two: Recommender) -> None:
    """Everything in memory is the same but scratch, what is derived included."""
    for (where, left), (_, right) in zip(parts(one), parts(two), strict=True):
        for name in set(left.STATE.names()) - set(left.STATE.parts) - UNTOLD:
            same = comparable(getattr(left, name)) == comparable(getattr(right, name))
            assert same, f"{where}.{name}"
