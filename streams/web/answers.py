"""The answers of the HTTP API, as types from which the OpenAPI document is made."""

from __future__ import annotations

import msgspec
from aiohttp import web

from engine.lookup import Neighbour, Origin, Popular, Taken
from streams.messages.schemas import Model, encode
from streams.web.errors import Reason


class RecommendedItem(msgspec.Struct, frozen=True, omit_defaults=True):
    """One recommended item, the score it was ranked by (a logit) and why.

    Left out unless asked for: `features`, what each feature adds to the score, by its name; and
    `goes_with`, those of the user's own items with which it goes most closely.
    """

    item: str
    title: str
    score: float
    reason: str
    features: dict[str, float] = msgspec.field(default_factory=dict)
    goes_with: list[Origin] = msgspec.field(default_factory=list)


class UserRecommendations(msgspec.Struct, frozen=True, omit_defaults=True):
    """A user's best items now; what is trending for somebody who is not known.

    `experiments` names the user's arm of each, and is left out where there is none.
    """

    user: str
    known: bool
    items: list[RecommendedItem]
    model: Model
    experiments: dict[str, str] = msgspec.field(default_factory=dict)


class UserInteractions(msgspec.Struct, frozen=True):
    """What a user took, newest first, as far as the graph holds it."""

    user: str
    known: bool
    interactions: list[Taken]


class ItemNeighbours(msgspec.Struct, frozen=True):
    """An item and others that are near it, nearest first."""

    item: str
    title: str
    neighbours: list[Neighbour]


class PopularItems(msgspec.Struct, frozen=True):
    """The items that were taken most, first the most taken."""

    items: list[Popular]


class TrendingItems(msgspec.Struct, frozen=True):
    """What is trending: the list of somebody who is not known."""

    items: list[RecommendedItem]


class WorkerOfGroup(msgspec.Struct, frozen=True):
    """A worker: its address (empty: it has no web server), the partitions that it answers, and
    whether it gave this answer."""

    address: str
    partitions: list[int]
    asked: bool


class WorkersOfGroup(msgspec.Struct, frozen=True):
    """All workers of the group; while partitions move, none of them has any."""

    workers: list[WorkerOfGroup]


class Accepted(msgspec.Struct, frozen=True):
    """Where Kafka has an interaction, which is known by its `event_id`."""

    event_id: str
    topic: str
    partition: int
    offset: int


class ItemAccepted(msgspec.Struct, frozen=True):
    """Where Kafka has a message about an item."""

    item: str
    topic: str
    partition: int
    offset: int


class OneOfMany(msgspec.Struct, frozen=True, omit_defaults=True):
    """The result of one interaction of many: its place in Kafka, or the error."""

    event_id: str | None = None
    partition: int | None = None
    offset: int | None = None
    error: Reason | None = None


class ManyAnswered(msgspec.Struct, frozen=True):
    """The results of many interactions, in the order in which they were sent."""

    accepted: int
    refused: int
    topic: str
    results: list[OneOfMany]


def answer(found: msgspec.Struct, status: int = 200) -> web.Response:
    """A struct as JSON."""
    return web.Response(body=encode(found), status=status, content_type="application/json")
