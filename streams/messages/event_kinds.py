"""Other systems' names for Millrace's kinds, and their ways to write a timestamp."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec
from msgspec import Meta

from engine.events import EARLIEST_MS, LATEST_MS, Kinds
from streams.messages.bad_message import BadMessage, shown
from streams.messages.validation import timestamp_out_of_range, unknown_kind

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_Zoned = Annotated[datetime, Meta(tz=True)]
_MILLISECOND = timedelta(milliseconds=1)


def kind_of(label: str, value: str, kinds: Kinds, forget: bool = False) -> str:
    """Millrace's kind for a sender's; `forget` says whether a `forget` is allowed."""
    kind = kinds.read(value)
    if kind is None or (kind == "forget" and not forget):
        raise unknown_kind(label, value, kinds.known)
    return kind


def milliseconds(label: str, value: str | int) -> int:
    """Milliseconds since the epoch of a number, its digits, a date, or a date and time.

    A date is its midnight in UTC, as gorse reads it. A date and time is of RFC 3339: without its
    zone it is refused, for it could mean any of a day's hours.
    """
    text = str(value)
    if isinstance(value, int) or re.fullmatch(r"-?[0-9]{1,40}", value):
        moment = int(value)
    else:
        midnight = "T00:00:00Z" if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text) else ""
        try:
            time = msgspec.convert(text + midnight, _Zoned)
        except msgspec.ValidationError:
            raise BadMessage(
                "WrongType",
                f"{label}: {shown(value)} is no time; expected RFC 3339 with its zone, such as "
                "2026-03-01T12:00:00Z, or milliseconds since the epoch",
            ) from None
        moment = (time - _EPOCH) // _MILLISECOND
    if not EARLIEST_MS <= moment <= LATEST_MS:
        raise timestamp_out_of_range(label, text, moment)
    return moment
