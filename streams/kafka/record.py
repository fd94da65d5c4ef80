"""A message as the worker keeps it, free of the client that read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from confluent_kafka import Message

    from streams.messages.schemas import Headers


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
        """The record of a message without an error.

        A header whose name is not UTF-8 cannot be represented by the client: such a message keeps
        none of its headers, so that it neither ends the worker nor loses its event.
        """
        try:
            headers = message.headers() or ()
        except UnicodeDecodeError:
            headers = ()
        return cls(
            cast(int, message.partition()),
            cast(int, message.offset()),
            message.timestamp()[1],
            message.key(),
            message.value(),
            cast("Headers", headers),
        )
