"""A Kafka message as the worker keeps it, independent of the client that read it."""

from __future__ import annotations

from dataclasses import dataclass
from operator import methodcaller
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from confluent_kafka import Message

    from streams.messages.schemas import Headers

_ask = methodcaller("headers")
"""In place of `message.headers()`: Python 3.11 and later skip the check for a pending error in
calls that are made often; this call always has it."""


@dataclass(frozen=True, slots=True)
class Record:
    """One message of a topic."""

    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers

    @classmethod
    def of(cls, message: Message) -> Record:
        """The record of a message without an error, whose headers have not been read yet."""
        return cls(
            cast(int, message.partition()),
            cast(int, message.offset()),
            message.timestamp()[1],
            message.key(),
            message.value(),
            headers_of(message),
        )


def headers_of(message: Message) -> Headers:
    """The headers of a message; they can be read once.

    The client cannot represent a name that is not UTF-8: it returns a list with holes and leaves
    Python's error set, which ends the process later. Such a message has no headers here, so that
    it neither ends the worker nor loses its event.
    """
    try:
        return cast("Headers", _ask(message) or ())
    except (UnicodeDecodeError, SystemError):
        return ()
