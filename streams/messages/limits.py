"""What is too large to be taken, told by its bytes before anything looks into it.

Topics that others made may hold messages beyond `topics.message_bytes`, and Kafka sets no limit of
its own to keys and headers. What cannot be written again must not stop the worker that reads it.
"""

from __future__ import annotations

from streams.messages.bad_message import BadMessage
from streams.messages.schemas import Headers

ENVELOPE_BYTES = 16_384
"""Key and headers together. Ours are a user id, at most 1 KiB, and headers of tracing."""
_OVERHEAD_BYTES = 4_096
"""What a message written may take beside its value: a key of 1 KiB, and Kafka's own framing."""


def check_size(
    key: bytes | None, value: bytes | None, headers: Headers, message_bytes: int
) -> None:
    """Return if a message is not too large to be read.

    Raises
    ------
    BadMessage
        Naming the part that is too large, and the limit.
    """
    envelope = envelope_bytes(key, headers)
    if envelope > ENVELOPE_BYTES:
        raise BadMessage(
            "TooLong",
            f"key and headers: they have {envelope} bytes; at most {ENVELOPE_BYTES} are taken",
        )
    if envelope + len(value or b"") > message_bytes:
        raise _too_long("the message", envelope + len(value or b""), message_bytes)


def check_written(name: str, value: bytes, message_bytes: int) -> None:
    """Return if the topics take a message that we have made of one that we read.

    Raises
    ------
    BadMessage
        If it would be too large.
    """
    if len(value) + _OVERHEAD_BYTES > message_bytes:
        raise _too_long(name, len(value) + _OVERHEAD_BYTES, message_bytes)


def envelope_bytes(key: bytes | None, headers: Headers) -> int:
    """Bytes of a message's key and headers together."""
    return len(key or b"") + sum(len(name.encode()) + len(held or b"") for name, held in headers)


def _too_long(name: str, count: int, message_bytes: int) -> BadMessage:
    return BadMessage(
        "TooLong",
        f"{name}: it has {count} bytes; at most topics.message_bytes = {message_bytes} are taken",
    )
