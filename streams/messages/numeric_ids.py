"""Ids that are whole numbers, taken as the text of their digits: `4711` is `"4711"`."""

from __future__ import annotations

import re

import msgspec

from streams.messages.validation import UNREADABLE

_IDS = ("event_id", "user", "item", "id", "UserId", "ItemId")
"""Fields of ids: Millrace's, Metarank's and gorse's."""
_WITHIN = "data"
"""The field of a CloudEvent that holds the interaction or item."""
_WHOLE = re.compile(rb"-?[0-9]{1,256}")
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])


def ids_as_text(value: bytes | None) -> bytes | None:
    """The message with its numeric ids as text; None where it has none, or is no object.

    Only ids are read. Of a repeated field the last is taken.
    """
    try:
        fields = _FIELDS.decode(value or b"")
        changed = _quoted(fields)
        inner = fields.get(_WITHIN)
        if inner is not None and bytes(inner)[:1] == b"{":
            data = _FIELDS.decode(inner)
            if _quoted(data):
                fields[_WITHIN] = msgspec.Raw(msgspec.json.encode(data))
                changed = True
    except UNREADABLE:
        return None
    return msgspec.json.encode(fields) if changed else None


def _quoted(fields: dict[str, msgspec.Raw]) -> bool:
    """Put the fields that are numeric ids in quotation marks; returns whether there were any."""
    numbers = [n for n in _IDS if n in fields and _WHOLE.fullmatch(bytes(fields[n]).strip())]
    for name in numbers:
        fields[name] = msgspec.Raw(b'"%s"' % bytes(fields[name]).strip())
    return bool(numbers)
