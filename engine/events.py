"""The two facts that enter the engine: an interaction and an item.

Both are also the JSON messages of the topics (see ``streams.messages.decoding``); their constraints
are checked wherever one is decoded.
"""

from __future__ import annotations

from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta

# Ids end up in keys, headers, logs and terminals: neither blank nor with a control character.
Id = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=256,
        pattern=r"^(?!\s*$)[^\u0000-\u001f\u007f-\u009f]*(?![\s\S])",
        description="1 to 256 characters, not all blank, no control characters",
    ),
]
Scalar = str | int | float | bool | None
Properties = dict[str, Scalar | list[Scalar]]

EARLIEST_MS, LATEST_MS = 631_152_000_000, 4_102_444_800_000

# Milliseconds since the epoch. A number below 1990 is nearly always seconds sent by mistake.
Timestamp = Annotated[
    int,
    Meta(
        ge=EARLIEST_MS,
        le=LATEST_MS,
        description="milliseconds since the epoch, from 1990 to 2100",
    ),
]
Text = Annotated[str, Meta(max_length=100_000)]
Value = Annotated[float, Meta(ge=-1e6, le=1e6)]

Kind = Literal["rating", "click", "view", "purchase", "review", "like", "cart", "dislike", "forget"]
KINDS: tuple[str, ...] = get_args(Kind)


class Interaction(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """One user did one thing to one item.

    ``event_id`` is what duplicates are known by. ``value`` is the rating of a rating or
    review, or any weight its sender gives. A ``forget`` names no item.
    """

    event_id: Id
    user: Id
    item: Id | None = None
    timestamp: Timestamp
    kind: Kind
    value: Value | None = None
    text: Text | None = None
    properties: Properties = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.item is None and self.kind != "forget":
            raise ValueError("Object missing required field `item`")


class Item(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """What the catalogue knows of one item. ``hidden`` items are never recommended."""

    item: Id
    title: Annotated[str, Meta(max_length=2_000)] = ""
    text: Text = ""
    categories: Annotated[list[str], Meta(max_length=100)] = msgspec.field(default_factory=list)
    properties: Properties = msgspec.field(default_factory=dict)
    timestamp: Timestamp | None = None
    hidden: bool = False


def item_text(item: Item) -> str:
    """The text that stands for an item: its own, or else its title and categories."""
    if item.text:
        return item.text
    genres = f". {', '.join(item.categories)}" if item.categories else ""
    return f"{item.title}{genres}" if item.title else ""
