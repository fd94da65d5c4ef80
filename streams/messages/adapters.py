"""Other systems' events, read as Millrace's own.

A message that is not Millrace's is known by its structure:

- Metarank: `event`, and `id` or `fields`
- gorse: `FeedbackType`
- CloudEvents: see `streams.messages.cloudevents`

References
----------
https://docs.metarank.ai/reference/event-schema
https://gorse.io/docs/concepts/data-source
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import msgspec

from engine.events import Id, Interaction, Item, Kinds, Properties, Scalar, Text, Value
from streams.messages.bad_message import BadMessage, shown
from streams.messages.cloudevents import cloud_event_interaction, cloud_event_item, is_cloud_event
from streams.messages.event_kinds import kind_of, milliseconds
from streams.messages.validation import converted, decoded, unknown_kind

Headers = Sequence[tuple[str, bytes]]


def adapt_interaction(
    value: bytes, document: dict[str, Any], headers: Headers, kinds: Kinds
) -> Interaction | None:
    """The interaction in another system's event, or None if it is not recognised as one.

    Parameters
    ----------
    value, document
        The message's bytes and what `streams.messages.json_reader.read` made of them.
    headers
        The message's headers, values in UTF-8.
    kinds
        The kinds that are known.

    Raises
    ------
    BadMessage
        If it is recognised, and does not fit or carries no interaction.
    """
    if is_cloud_event(document, headers):
        return cloud_event_interaction(value, document, headers, kinds)
    if _is_metarank(document):
        return _metarank_interaction(value, document, kinds)
    if "FeedbackType" in document:
        return _gorse_feedback(value, document, kinds)
    return None


def adapt_item(value: bytes, document: dict[str, Any], headers: Headers) -> Item | None:
    """The item in another system's event, or None if it is not recognised as one.

    Raises
    ------
    BadMessage
        If it is recognised, and does not fit or carries no item.
    """
    if is_cloud_event(document, headers):
        return cloud_event_item(value, document, headers)
    if _is_metarank(document):
        return _metarank_item(value, document)
    return None


# ------------------------------------------------------------------ Metarank


class _Field(msgspec.Struct):
    name: str
    value: Scalar | list[Scalar]


class _MetarankInteraction(msgspec.Struct):
    """Metarank lets `user` out where there is a `session`; Millrace recommends to users."""

    id: Id
    timestamp: str | int
    type: str
    user: Id
    item: Id
    session: str | None = None
    ranking: str | None = None
    fields: list[_Field] = msgspec.field(default_factory=list)


class _MetarankItem(msgspec.Struct):
    timestamp: str | int
    item: Id
    fields: list[_Field] = msgspec.field(default_factory=list)


_METARANK_INTERACTION = msgspec.json.Decoder(_MetarankInteraction)
_METARANK_ITEM = msgspec.json.Decoder(_MetarankItem)
_METARANK_EVENTS = ("interaction", "item", "metadata", "ranking", "user")


def _is_metarank(document: dict[str, Any]) -> bool:
    return "event" in document and ("id" in document or "fields" in document)


def _metarank_interaction(value: bytes, document: dict[str, Any], kinds: Kinds) -> Interaction:
    _expect_event(document, "interaction", ("interaction",))
    event = decoded(_METARANK_INTERACTION, value, document)
    properties: Properties = {field.name: field.value for field in event.fields}
    if event.session is not None:
        properties["session"] = event.session
    if event.ranking is not None:
        properties["ranking"] = event.ranking
    return converted(
        {
            "event_id": event.id,
            "user": event.user,
            "item": event.item,
            "timestamp": milliseconds("timestamp", event.timestamp),
            "kind": kind_of("type", event.type, kinds),
            "properties": properties,
        },
        Interaction,
    )


def _metarank_item(value: bytes, document: dict[str, Any]) -> Item:
    """The fields `title`, `text` or `description` and `categories` or `category` are Millrace's.

    Metarank updates the fields that an event names; here the event is the whole item.
    """
    _expect_event(document, "item", ("item", "metadata"))
    event = decoded(_METARANK_ITEM, value, document)
    fields = {field.name: field.value for field in event.fields}
    item: dict[str, Any] = {
        "item": event.item,
        "timestamp": milliseconds("timestamp", event.timestamp),
    }
    for ours, theirs in (
        ("title", ("title",)),
        ("text", ("text", "description")),
        ("categories", ("categories", "category")),
    ):
        for name in theirs:
            if name in fields and ours not in item:
                item[ours] = fields.pop(name)
    if isinstance(item.get("categories"), str):
        item["categories"] = [item["categories"]]
    return converted(item | {"properties": fields}, Item)


def _expect_event(document: dict[str, Any], carried: str, wanted: tuple[str, ...]) -> None:
    event = document["event"]
    if event in wanted:
        return
    if event in _METARANK_EVENTS:
        raise BadMessage(
            "UnknownKind",
            f"event: {shown(event)} of Metarank carries no {carried}; send {wanted[0]!r} events",
        )
    raise unknown_kind("event", event, _METARANK_EVENTS)


# ------------------------------------------------------------------ gorse


class _GorseFeedback(msgspec.Struct, rename="pascal"):
    feedback_type: str
    user_id: Id
    item_id: Id
    timestamp: str
    value: Value | None = None
    comment: Text | None = None


_GORSE_FEEDBACK = msgspec.json.Decoder(_GorseFeedback)


def _gorse_feedback(value: bytes, document: dict[str, Any], kinds: Kinds) -> Interaction:
    """gorse knows feedback by type, user and item, and adds up its repetitions.

    Here the moment is a part of the id too: a second reading counts, a message sent twice does not.
    """
    feedback = decoded(_GORSE_FEEDBACK, value, document)
    moment = milliseconds("Timestamp", feedback.timestamp)
    key = json.dumps([feedback.feedback_type, feedback.user_id, feedback.item_id, moment])
    return converted(
        {
            "event_id": f"gorse:{blake2b(key.encode(), digest_size=16).hexdigest()}",
            "user": feedback.user_id,
            "item": feedback.item_id,
            "timestamp": moment,
            "kind": kind_of("FeedbackType", feedback.feedback_type, kinds),
            "value": feedback.value or None,  # gorse writes 0 where there is none
            "text": feedback.comment or None,
        },
        Interaction,
    )
