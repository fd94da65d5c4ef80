"""The messages of the topics: JSON in UTF-8, and how to read and write them.

An id (`event_id`, `user`, `item`) that is empty, blank or holds a control character is refused:
ids end up in keys, headers, logs and terminals. Fields that Millrace does not know are skipped
unread. A field that comes twice makes a message bad, except that an interaction of Millrace's own
form is not looked through for it: if all of its values fit, the last one counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from engine.events import Interaction, Item
from streams.messages.adapters import adapt_interaction, adapt_item
from streams.messages.bad_message import BadMessage, ErrorClass, shown
from streams.messages.json_reader import read
from streams.messages.packing import pack, unpack
from streams.messages.validation import UNREADABLE, decoded, explained

__all__ = [
    "BadMessage",
    "DeadLetterHeaders",
    "ErrorClass",
    "Headers",
    "ItemEmbedding",
    "LatencyUs",
    "Model",
    "RankedItem",
    "Recommendation",
    "Source",
    "dead_letter_headers",
    "decode_interaction",
    "decode_item",
    "encode",
    "json_schemas",
    "pack",
    "unpack",
]

Headers = Sequence[tuple[str, bytes]]

_DAY_MS = 86_400_000
_INTERACTION = msgspec.json.Decoder(Interaction)
_ITEM = msgspec.json.Decoder(Item)

# ------------------------------------------------------------------ what is read


def decode_interaction(
    value: bytes | None, headers: Headers = (), received_ms: int | None = None
) -> Interaction:
    """The interaction in a message of Millrace's own form or of one that `messages.adapters` knows.

    Parameters
    ----------
    value, headers
        The message's value, None for a tombstone, and its headers.
    received_ms
        The broker's timestamp of the message. An interaction more than a day later than it is
        refused; the wall clock would judge the same message otherwise in a replay. Without one
        (None, or not positive as Kafka has it) nothing is too late.

    Raises
    ------
    BadMessage
        And nothing else, whatever the bytes are.

    Examples
    --------
    >>> decode_interaction(b'{"event_id": "1", "user": "ann", "item": "m1", "kind": "click",'
    ...                    b' "timestamp": 881250949}')
    Traceback (most recent call last):
        ...
    streams.messages.bad_message.BadMessage: OutOfRange: timestamp: 881250949 is before 1990; \
timestamps are milliseconds since the epoch (these look like seconds)
    """
    try:
        interaction = _INTERACTION.decode(value or b"")
    except UNREADABLE as error:
        document = read(value)
        adapted = adapt_interaction(value or b"", document, headers)
        if adapted is None:
            raise explained(error, document) from None
        interaction = adapted
    if received_ms is not None and 0 < received_ms < interaction.timestamp - _DAY_MS:
        raise BadMessage(
            "FutureTimestamp",
            f"timestamp: {interaction.timestamp} is more than a day after the message itself, "
            f"whose timestamp is {received_ms}; correct the sender's clock",
        )
    return interaction


def decode_item(value: bytes | None, headers: Headers = (), received_ms: int | None = None) -> Item:
    """The item in a message of Millrace's own form or of one that `messages.adapters` knows.

    Its timestamp may be in the future, as that of a film to come; `received_ms` is not looked at.

    Raises
    ------
    BadMessage
        And nothing else, whatever the bytes are.
    """
    document = read(value)
    # an item requires one field only: other messages would pass for one, and wipe its title
    adapted = adapt_item(value or b"", document, headers)
    if adapted is not None:
        return adapted
    if "event_id" in document:
        raise BadMessage(
            "WrongType",
            f"event_id: {shown(document['event_id'])} is of an interaction; expected an item, "
            "and interactions in their own topic",
        )
    return decoded(_ITEM, value or b"", document)


# ------------------------------------------------------------------ what is written


class RankedItem(msgspec.Struct, frozen=True):
    """One recommended item, the score it was ranked by (a logit) and why."""

    item: str
    score: float
    reason: str


class Model(msgspec.Struct, frozen=True):
    """What made the ranking."""

    name: str
    version: str


class Source(msgspec.Struct, frozen=True, omit_defaults=True):
    """The message that is answered.

    `topic_id` is Kafka's id of the topic: one that is deleted and made anew has another, and its
    offsets mean other messages. Empty on the embedded broker, which tells none.
    """

    topic: str
    partition: int
    offset: int
    topic_id: str = ""


class LatencyUs(msgspec.Struct, kw_only=True, frozen=True):
    """How long each stage took, in microseconds.

    `queue` is from the message's broker timestamp to when the worker received it: two wall clocks,
    the broker's or producer's in milliseconds and the worker's, so it is only as good as they
    agree. All others are of the worker's monotonic clock. `total` is from received to handed to
    the producer. A stage that an event does not need took 0.
    """

    queue: float
    decode: float
    graph: float = 0.0
    propagate: float = 0.0
    text: float = 0.0
    rank: float = 0.0
    learn: float = 0.0
    emit: float
    total: float


class Recommendation(msgspec.Struct, kw_only=True, frozen=True):
    """A user's recommendations, best first, in answer to one interaction.

    `event_id`, `user`, `item` and `timestamp` are the interaction's.
    """

    event_id: str
    user: str
    item: str | None
    items: list[RankedItem]
    timestamp: int
    model: Model
    source: Source
    latency_us: LatencyUs


class ItemEmbedding(msgspec.Struct, kw_only=True, frozen=True):
    """An item and the embedding of its text.

    `encoder` is the model's name and the beginning of its weights' hash: embeddings of different
    encoders do not compare. `embedding` is as `pack` writes it. Both are empty without text.
    """

    item: Item
    encoder: str
    embedding: str


_ENCODER = msgspec.json.Encoder()


def encode(message: msgspec.Struct) -> bytes:
    """The message as JSON in UTF-8."""
    return _ENCODER.encode(message)


# ------------------------------------------------------------------ dead letters


_Decimal = Annotated[str, Meta(pattern=r"^-?[0-9]+$")]


class DeadLetterHeaders(
    msgspec.Struct,
    kw_only=True,
    frozen=True,
    rename=lambda name: name.replace("_", ".", 1),
):
    """The headers that a dead letter adds to those of the message: UTF-8, numbers in decimal."""

    error_class: ErrorClass
    error_message: str
    origin_topic: str
    origin_partition: _Decimal
    origin_offset: _Decimal
    origin_timestamp: _Decimal
    origin_topic_id: str | msgspec.UnsetType = msgspec.UNSET


def dead_letter_headers(
    error: BadMessage,
    topic: str,
    partition: int,
    offset: int,
    timestamp_ms: int,
    original: Headers = (),
    topic_id: str = "",
) -> list[tuple[str, bytes]]:
    """The headers of a dead letter: the message's own, untouched, then `DeadLetterHeaders`.

    A message may bear such names already, above all one that was sent back from the dead letters.
    Kafka's headers may repeat a name, and its `lastHeader`, like `dict(headers)`, takes the last:
    that is ours, and what came before tells of the earlier failures.
    """
    ours = DeadLetterHeaders(
        error_class=error.error_class,
        error_message=error.message,
        origin_topic=topic,
        origin_partition=str(partition),
        origin_offset=str(offset),
        origin_timestamp=str(timestamp_ms),
        origin_topic_id=topic_id or msgspec.UNSET,
    )
    added: dict[str, str] = msgspec.to_builtins(ours)
    return [*original, *((k, v.encode(errors="backslashreplace")) for k, v in added.items())]


# ------------------------------------------------------------------ schemas


def json_schemas() -> dict[str, dict[str, Any]]:
    """JSON Schema (2020-12) of each message that Millrace reads or writes, by its name."""
    types = {
        "interaction": Interaction,
        "item": Item,
        "item-embedding": ItemEmbedding,
        "recommendation": Recommendation,
        "dead-letter-headers": DeadLetterHeaders,
    }
    schemas = {}
    for name, type_ in types.items():
        dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": name}
        schemas[name] = dialect | msgspec.json.schema(type_)
    # what Interaction checks in code: only a forget names no item
    schemas["interaction"] |= {
        "if": {"properties": {"kind": {"const": "forget"}}},
        "else": {"required": ["item"], "properties": {"item": {"type": "string"}}},
    }
    return schemas
