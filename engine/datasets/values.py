"""Checks and clean-ups of single values, and the two constructors that every table uses.

Each raises ValueError with the field's name and value.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable
from typing import Any, TypeVar

import msgspec

from engine.events import Interaction, Item
from engine.fields.values import is_blank, shown

MAX_TEXT = 100_000
MAX_TITLE = 2_000
MAX_CATEGORIES = 100

_Fact = TypeVar("_Fact", Interaction, Item)
_FIELD = re.compile(r" - at `\$\.(\w+)")
_ENTITY = re.compile(r"&(?:#\d+|#x[0-9a-fA-F]+|[a-zA-Z]+);")
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


def identifier(field: str, value: object) -> str:
    """An id: text as it is, whole numbers as their digits.

    A column of numbers with gaps comes as 17850.0 from pandas and Arrow: it is 17850.
    """
    if is_blank(value):
        raise ValueError(f"{field} is blank; expected an id")
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, bool | dict | list | tuple):
        raise ValueError(f"{field} {shown(value)} is no id")
    return str(value)


def number(field: str, value: object) -> float:
    """A finite number. ``float`` alone would also take ``nan``, ``inf`` and ``1_0``."""
    try:
        parsed = (
            math.nan
            if isinstance(value, bool) or (isinstance(value, str) and "_" in value)
            else float(value)  # type: ignore[arg-type]
        )
    except (TypeError, ValueError):
        parsed = math.nan
    if not math.isfinite(parsed):
        raise ValueError(f"{field} {shown(value)} is not a finite number")
    return parsed


def clip(text: str, limit: int = MAX_TEXT) -> str:
    """At most ``limit`` characters, all of which UTF-8 can write."""
    # Python literals may hold lone surrogates, which no message could carry.
    return text[:limit].encode("utf-8", "replace").decode("utf-8")


def plain(text: str) -> str:
    """Text without HTML entities, tags and runs of white space."""
    return " ".join(_TAG.sub(" ", html.unescape(text)).split())


def written(text: str) -> str:
    """What a user wrote, without HTML entities and tags; line breaks stay."""
    if _ENTITY.search(text) or _TAG.search(text):
        text = _TAG.sub(" ", html.unescape(text))
    return text.strip()


def strings(value: Any) -> list[str]:
    """All strings in a string, a list, or a list of lists; of a number, its digits."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list | tuple):
        return [text for part in value for text in strings(part)]
    if isinstance(value, int | float) and not is_blank(value):
        return [identifier("number", value)]
    return []


def sentences(parts: Iterable[str]) -> str:
    """Join the parts that are not empty, each ended like a sentence."""
    ended = (part if part[-1] in ".!?…" else f"{part}." for part in parts if part)
    return " ".join(ended)
