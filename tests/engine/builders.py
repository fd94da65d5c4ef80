"""What the engine's tests are made of: small streams, trained engines and a look at all state."""

from __future__ import annotations

from typing import Any

import numpy as np
from msgspec import structs

from engine import Answer, EngineSettings, Interaction, Recommender
from engine.datasets import Synthetic
from engine.events import Kind

WITHOUT_TEXT = EngineSettings(text=False)
NOON = 1_700_000_000_000

# What the last scoring left behind, and a cache that gives what computing would.
SCRATCH = ("_features", "_weights", "_encoder", "embeddings._aggregates")


def stream(seed: int = 0, events: int = 400) -> list[Interaction]:
    """Invented events of 25 users and 60 items, in order of time."""
    return list(Synthetic(events=events, users=25, items=60, seed=seed).interactions())


def mixed(seed: int = 0, events: int = 400) -> list[Interaction]:
    """`stream` with some dislikes, users who ask to be forgotten, and reviews with text."""
    made = stream(seed, events)
    for number, event in enumerate(made):
        if number % 17 == 5:
            made[number] = structs.replace(event, kind="dislike")
        elif number % 37 == 30:
            made[number] = structs.replace(event, kind="forget", item=None)
        elif number % 11 == 3:
            made[number] = structs.replace(event, kind="review", text=f"About {event.item}")
    return made


def took(
    user: str, item: str | None, at: int = 0, kind: Kind = "rating", text: str | None = None
) -> Interaction:
    """An event `at` milliseconds after noon."""
    return Interaction(
        event_id=f"{user} {item} {at}", user=user, item=item, timestamp=NOON + at, kind=kind,
        text=text,
    )  # fmt: skip


def forgets(user: str) -> Interaction:
    return took(user, None, kind="forget")


def trained(events: list[Interaction], settings: EngineSettings = WITHOUT_TEXT) -> Recommender:
    """An engine that has observed the events."""
    made = Recommender(settings)
    for event in events:
        made.observe(event)
    return made


def ids(answer: Answer) -> list[str]:
    return [entry.item for entry in answer.items]


def state(made: Recommender) -> dict[str, Any]:
    """Everything that the engine holds, arrays as their bytes, by where it is."""
    found: dict[str, Any] = {}

    def look(value: Any, where: str) -> None:
        if where in SCRATCH:
            return
        if isinstance(value, np.ndarray):
            found[where] = value.tobytes()
        elif isinstance(value, list) and value and isinstance(value[0], np.ndarray):
            for number, entry in enumerate(value):
                look(entry, f"{where}[{number}]")
        elif isinstance(value, int | float | list | dict):
            found[where] = repr(value)
        elif hasattr(value, "__dict__") and type(value).__module__.startswith("engine."):
            for name, entry in vars(value).items():
                look(entry, f"{where}.{name}")

    for name, value in vars(made).items():
        look(value, name)
    return found
