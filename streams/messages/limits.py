"""Limits of messages, checked on their bytes before anything is parsed.

Topics that others made may hold messages beyond `topics.message_bytes`, and Kafka has no limit for
keys and headers. A message that is too large to be written again must not stop the worker that
reads it.
"""

from __future__ import annotations

from streams.messages.bad_message import BadMessage
from streams.messages.schemas import Headers

ENVELOPE_BYTES = 16_384
"""Key and headers together. Ours are a user id, at most 1 KiB, and headers of tracing."""
_OVERHEAD_BYTES = 4_096
"""Room of a written message beside its value: a key of 1 KiB, and Kafka's framing."""
EVENT_BYTES = 1_310_720
"""An interaction or item. The longest text, 100,000 characters, has 1.2 MB if all are escaped."""
EVENT_PARTS = 10_000
"""Commas, colons and opening brackets of an interaction or item, those in its texts among them."""
EVENT_DIGITS = 500
"""Digits in a row of an event of more than `_LARGE` bytes: the time to parse a whole number grows
with the square of its length."""
_LARGE = 100_000
_NOT_PARTS = bytes(set(range(256)) - set(b",:[{"))
_AS_DIGITS = bytes(ord("0") if chr(byte).isdecimal() else ord(" ") for byte in range(128)) + (
    b" " * 128
)


def check_work(value: bytes | None) -> None:
    """Return if an interaction or item is small enough to be parsed on the event path.

    The time to parse JSON depends on its values more than on its bytes: 8 MB of one text take 5 ms
    to parse, 8 MB of numbers seconds.

    Raises
    ------
    BadMessage
        Naming the limit. Nothing of the message has been parsed then.
    """
    if value is None:
        return
    if len(value) > EVENT_BYTES:
        raise BadMessage(
            "TooLong", f"the value: it has {len(value)} bytes; at most {EVENT_BYTES} are parsed"
        )
    if len(value) > EVENT_PARTS:
        parts = len(value.translate(None, _NOT_PARTS))
        if parts > EVENT_PARTS:
            raise BadMessage(
                "TooLong",
                f"the value: it has {parts} commas, colons and opening brackets; at most "
                f"{EVENT_PARTS} are parsed",
            )
    if len(value) > _LARGE and b"0" * EVENT_DIGITS in value.translate(_AS_DIGITS):
        raise BadMessage(
            "TooLong",
            f"the value: it has {EVENT_DIGITS} digits in a row, in more than {_LARGE} bytes",
        )


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
    """Return if a message that was made of one that was read is small enough for the topics.

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
