"""A shop's own names for the fields and the kinds of its events.

`[events]` and `[kinds]` of the settings; with them a shop's own JSON is read from its topic.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import msgspec

from engine.events import BUILT_IN_KINDS, Interaction, Kinds
from engine.fields.times import Clock
from engine.fields.values import field_at, is_blank
from streams.messages.bad_message import BadMessage, shown
from streams.messages.event_kinds import kind_of
from streams.messages.validation import UNREADABLE, converted

if TYPE_CHECKING:
    from streams.settings import EventSettings, Settings

_MISSING = object()
_OWN_FIELDS = {"event_id", "user", "timestamp", "kind"}
_moment = Clock()


@dataclass(frozen=True)
class Dialect:
    """How a shop's events are read.

    Attributes
    ----------
    fields
        The name of each field; None where events are in Millrace's own form.
    kinds
        The kinds that are known.
    """

    fields: EventSettings | None = None
    kinds: Kinds = field(default=BUILT_IN_KINDS)

    @classmethod
    def of(cls, settings: Settings) -> Dialect:
        """The dialect that the settings describe."""
        return cls(settings.events if settings.events.user else None, Kinds(settings.engine.kinds))

    def interaction(self, value: bytes, received_ms: int | None) -> Interaction | None:
        """The interaction in a shop's own event; None of a message without the shop's user.

        Without an id, events that are equal in user, item, kind and timestamp are one. Without a
        timestamp the broker's counts.

        Raises
        ------
        BadMessage
            If it is one, and does not fit.
        """
        if self.fields is None:
            return None
        try:
            document = msgspec.json.decode(value)
        except UNREADABLE:
            return None
        if not isinstance(document, dict):
            return None
        names = self.fields
        user = field_at(document, names.user, _MISSING)
        if user is _MISSING or document.keys() >= _OWN_FIELDS:
            return None
        moment = self._moment(document, received_ms)
        given = field_at(document, names.kind)
        kind = "click"
        if not is_blank(given):
            kind = kind_of(names.kind, str(given), self.kinds)
        item = _text(field_at(document, names.item))
        event_id = _text(field_at(document, names.event_id))
        if event_id is None:
            key = json.dumps([_text(user), item, str(given), moment])
            event_id = f"event:{blake2b(key.encode(), digest_size=16).hexdigest()}"
        value_, text = field_at(document, names.value), field_at(document, names.text)
        fields = {
            "event_id": event_id,
            "user": _text(user),
            "item": item,
            "timestamp": moment,
            "kind": kind,
            "value": None if is_blank(value_) else value_,
            "text": text if isinstance(text, str) and text else None,
        }
        if item is None and kind != "ignore":
            raise BadMessage(
                "MissingField", f"{names.item}: missing; the message has {shown([*document])}"
            )
        return converted(fields, Interaction)

    def _moment(self, document: dict[str, Any], received_ms: int | None) -> int:
        assert self.fields is not None
        given = field_at(document, self.fields.timestamp)
        if is_blank(given):
            if received_ms is None or received_ms <= 0:
                raise BadMessage(
                    "MissingField",
                    f"{self.fields.timestamp}: missing; the message has {shown([*document])}",
                )
            return received_ms
        try:
            return _moment(self.fields.timestamp, given)
        except ValueError as error:
            raise BadMessage("OutOfRange", str(error)) from None


OWN = Dialect()
"""Millrace's own names, and those of the systems that it knows."""


def _text(value: Any) -> Any:
    """An id as text, where it is a whole number; None where there is none."""
    if is_blank(value):
        return None
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value
