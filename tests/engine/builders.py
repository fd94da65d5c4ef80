"""What the engine's tests are made of: small streams, trained engines and a look at all state."""

from __future__ import annotations

from msgspec import structs

from engine import Answer, EngineSettings, Interaction, Item, Recommender
from engine.datasets import Synthetic
from engine.events import Kind
from engine.state.schema import entries

WITHOUT_TEXT = EngineSettings(model="gnn")
NOON = 1_700_000_000_000


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
    user: str,
    item: str | None,
    at: int = 0,
    kind: Kind = "rating",
    text: str | None = None,
    value: float | None = None,
) -> Interaction:
    """An event `at` milliseconds after noon."""
    return Interaction(
        event_id=f"{user} {item} {at}", user=user, item=item, timestamp=NOON + at, kind=kind,
        text=text, value=value,
    )  # fmt: skip


def forgets(user: str) -> Interaction:
    return took(user, None, kind="forget")


def films() -> list[Item]:
    """The catalogue of `stream`."""
    return list(Synthetic(events=400, users=25, items=60).items())


def known(settings: EngineSettings) -> Recommender:
    """An engine that has the catalogue, and observed nothing."""
    made = Recommender(settings)
    for item in films():
        made.upsert_item(item)
    return made


def trained(events: list[Interaction], settings: EngineSettings = WITHOUT_TEXT) -> Recommender:
    """An engine that has observed the events."""
    made = Recommender(settings)
    for event in events:
        made.observe(event)
    return made


def ids(answer: Answer) -> list[str]:
    return [entry.item for entry in answer.items]


def state(made: Recommender) -> dict[str, bytes]:
    """Everything that the engine keeps, as bytes, by where it is: what each `STATE` says."""
    return {
        name: value if isinstance(value, bytes) else value.tobytes()
        for name, value in entries(made)
    }
