"""Dead letters: messages that cannot be read, as they came, with the reason in headers.

As Kafka Connect does it, key and value are the original's bytes.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from streams.kafka.record import Record
from streams.messages.bad_message import BadMessage, ErrorClass
from streams.messages.limits import envelope_bytes
from streams.messages.schemas import Headers

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


class DeadLetter(NamedTuple):
    """A message for the topic of dead letters."""

    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]


def dead_letter(
    error: BadMessage, topic: str, record: Record, message_bytes: int, topic_id: str = ""
) -> DeadLetter:
    """The dead letter of a record that cannot be read.

    Key, value and headers are the record's own, untouched. If together they take more than
    `message_bytes`, the topic's limit, they are left out: the original is at its origin, which the
    added headers name.

    A record may have such headers already, as one that was sent again from the dead letters. Kafka
    lets headers repeat a name, and its `lastHeader`, like `dict(headers)`, takes the last: that is
    ours, and those before it describe earlier failures.

    Parameters
    ----------
    error
        Why it cannot be read.
    topic, record
        Its topic, and the record itself.
    message_bytes
        The largest message of the topic of dead letters, in bytes, without `DeadLetterHeaders`.
    topic_id
        Kafka's id of the topic; empty if it is not known.
    """
    key, value = record.key, record.value
    headers: Headers = record.headers
    if envelope_bytes(key, headers) + len(value or b"") > message_bytes:
        key, value, headers = None, None, ()
    ours = DeadLetterHeaders(
        error_class=error.error_class,
        error_message=error.message,
        origin_topic=topic,
        origin_partition=str(record.partition),
        origin_offset=str(record.offset),
        origin_timestamp=str(record.timestamp_ms),
        origin_topic_id=topic_id or msgspec.UNSET,
    )
    added: dict[str, str] = msgspec.to_builtins(ours)
    told = [(name, text.encode(errors="backslashreplace")) for name, text in added.items()]
    return DeadLetter(key, value, [*headers, *told])
