"""Checks and clean-ups of single fields, and the two constructors that every format uses.

Each raises ValueError with the field's name and value.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec

from engine.events import Interaction, Item

MAX_TEXT = 100_000
MAX_TITLE = 2_000
MAX_CATEGORIES = 100
_SHOWN = 40

_Fact = TypeVar("_Fact", Interaction, Item)
_FIELD = re.compile(r" - at `\$\.(\w+)")
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>")


def interaction(**fields: Any) -> Interaction:
    """An interaction whose constraints hold. Raises ValueError naming the field and its value."""
    return _checked(Interaction, fields)


def item(**fields: Any) -> Item:
    """An item whose constraints hold; too long texts are cut, not rejected."""
    fields["title"] = clip(fields.get("title", ""), MAX_TITLE)
    fields["text"] = clip(fields.get("text", ""), MAX_TEXT)
    fields["categories"] = list(dict.fromkeys(fields.get("categories", ())))[:MAX_CATEGORIES]
    return _checked(Item, fields)


def _checked(kind: type[_Fact], fields: dict[str, Any]) -> _Fact:
    try:
        return msgspec.convert(fields, kind)
    except msgspec.ValidationError as error:
        at = _FIELD.search(str(error))
        if at is None:
            raise ValueError(str(error)) from None
        value = fields.get(at[1])
        raise ValueError(f"{at[1]} {shown(value)}: {str(error)[: at.start()]}") from None


def shown(value: object) -> str:
    """``repr`` of a value, short enough for one line."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def number(field: str, value: str | float) -> float:
    """A finite number. ``float`` alone would also take ``nan``, ``inf`` and ``1_0``."""
    try:
        parsed = math.nan if isinstance(value, str) and "_" in value else float(value)
    except ValueError:
        parsed = math.nan
    if not math.isfinite(parsed):
        raise ValueError(f"{field} {shown(value)} is not a finite number")
    return parsed


def seconds(field: str, value: str) -> int:
    """Milliseconds from a whole number of seconds since the epoch."""
    digits = value.strip()
    if not (digits.isascii() and digits.isdigit() and len(digits) < 16):
        raise ValueError(f"{field} {shown(value)} is not a whole number of seconds")
    return int(digits) * 1000


def date(field: str, value: str) -> int:
    """Milliseconds from ``YYYY-MM-DD`` or ``YYYY-MM-DD HH:MM:SS``, UTC where no zone is given."""
    try:
        moment = datetime.fromisoformat(value.strip())
    except ValueError:
        raise ValueError(f"{field} {shown(value)} is not a date like 2017-05-09 18:30:00") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


def clip(text: str, limit: int = MAX_TEXT) -> str:
    """At most ``limit`` characters, all of which UTF-8 can write."""
    # Python literals may hold lone surrogates, which no message could carry.
    return text[:limit].encode("utf-8", "replace").decode("utf-8")


def plain(text: str) -> str:
    """Text without HTML entities, tags and runs of white space."""
    return " ".join(_TAG.sub(" ", html.unescape(text)).split())


def sentences(parts: Iterable[str]) -> str:
    """Join the parts that are not empty, each ended like a sentence."""
    ended = (part if part[-1] in ".!?…" else f"{part}." for part in parts if part)
    return " ".join(ended)
