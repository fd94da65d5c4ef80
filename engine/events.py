"""The two facts that enter the engine: an interaction and an item.

Both are also the JSON messages of the topics (see ``streams.messages.decoding``); their constraints
are checked wherever one is decoded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

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
Title = Annotated[str, Meta(max_length=2_000)]
CategoryNames = Annotated[list[str], Meta(max_length=100)]
Value = Annotated[float, Meta(ge=-1e6, le=1e6)]

Kind = Annotated[
    str, Meta(min_length=1, max_length=64, description="rating, click, ..., or one of [kinds]")
]
KindRule = float | Literal["dislike", "ignore"]
"""What a kind is to the engine: an edge of that weight, a dislike, or nothing."""

KIND_WEIGHTS: dict[str, float] = {
    "rating": 1.0,
    "review": 1.0,
    "purchase": 1.0,
    "like": 1.0,
    "cart": 0.8,
    "click": 0.6,
    "view": 0.4,
    "read": 0.4,
    "dislike": 0.0,
    "ignore": 0.0,
}
"""Edge weight of each built-in kind. A dislike makes no edge; what is near its item is ranked
lower. What is to be ignored teaches nothing. What was read is done with, and by default not
recommended again (`EngineSettings.excludes`); what was viewed is not."""
KINDS: tuple[str, ...] = (*KIND_WEIGHTS, "forget")

KIND_SYNONYMS = {
    "star": "like",
    "favorite": "like",
    "fav": "like",
    "impression": "view",
    "pageview": "view",
    "page_view": "view",
    "product_view": "view",
    "pv": "view",
    "add_to_cart": "cart",
    "addtocart": "cart",
    "buy": "purchase",
    "order": "purchase",
    "transaction": "purchase",
}
"""Other systems' kinds, in lower case with ``_`` for ``-``, and Millrace's for them."""


class Kinds:
    """The kinds that are known: the built-in ones and those of the settings, `[kinds]`.

    Parameters
    ----------
    own
        Kinds by name: an edge's weight, or ``"dislike"`` or ``"ignore"``. One of them may weigh a
        built-in kind anew.

    Attributes
    ----------
    weights
        Edge weight of each kind that an interaction may have once it is read.
    """

    def __init__(self, own: Mapping[str, KindRule] | None = None) -> None:
        self._own = dict(own or {})
        self.weights = {
            name: rule
            for name, rule in (KIND_WEIGHTS | self._own).items()
            if not isinstance(rule, str)
        }

    @property
    def known(self) -> tuple[str, ...]:
        """The names, for an error to list."""
        return tuple(dict.fromkeys((*KINDS, *self._own)))

    def read(self, name: str) -> str | None:
        """The kind that a sender means, or None if it is unknown.

        Own kinds that are dislikes, or to be ignored, are read as those; of a dotted name, such as
        a CloudEvent's type, the last part counts where the whole is unknown.
        """
        own = self._own.get(name)
        if own is not None:
            return own if isinstance(own, str) else name
        if name in KINDS:
            return name
        plain = name.strip().lower().replace("-", "_").replace(" ", "_")
        if plain in KIND_WEIGHTS:
            return plain
        if plain in KIND_SYNONYMS:
            return KIND_SYNONYMS[plain]
        last = name.rpartition(".")[2]
        return self.read(last) if last != name else None


BUILT_IN_KINDS = Kinds()


class Interaction(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """One user did one thing to one item.

    ``event_id`` is what duplicates are known by. ``value`` is the rating of a rating or
    review, or any weight its sender gives. A ``forget`` names no item; an ``ignore`` need not.
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
        if self.item is None and self.kind not in ("forget", "ignore"):
            raise ValueError("Object missing required field `item`")


class Item(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """What the catalogue knows of one item. ``hidden`` items are never recommended."""

    item: Id
    title: Title = ""
    text: Text = ""
    categories: CategoryNames = msgspec.field(default_factory=list)
    properties: Properties = msgspec.field(default_factory=dict)
    timestamp: Timestamp | None = None
    hidden: bool = False


def item_text(item: Item) -> str:
    """The text that stands for an item: its own, or else its title and categories."""
    if item.text:
        return item.text
    genres = f". {', '.join(item.categories)}" if item.categories else ""
    return f"{item.title}{genres}" if item.title else ""
