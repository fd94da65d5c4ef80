"""Read the messages of the topics: JSON in UTF-8.

An id (`event_id`, `user`, `item`) that is empty, blank or holds a control character is refused:
ids end up in keys, headers, logs and terminals. One that is a whole number is taken as text. Fields
that Millrace does not know are skipped unread. A repeated field makes a message bad, except in an
interaction of Millrace's own form, which is not searched for one: if all of its values fit, the
last one counts.
"""

from __future__ import annotations

import msgspec

from engine.events import Interaction, Item
from streams.messages.adapters import adapt_interaction, adapt_item
from streams.messages.bad_message import BadMessage, shown
from streams.messages.dialect import OWN, Dialect
from streams.messages.event_kinds import kind_of
from streams.messages.json_reader import read
from streams.messages.numeric_ids import ids_as_text
from streams.messages.schemas import Headers
from streams.messages.validation import UNREADABLE, decoded, explained

_DAY_MS = 86_400_000
_INTERACTION = msgspec.json.Decoder(Interaction)
_ITEM = msgspec.json.Decoder(Item)


def decode_interaction(
    value: bytes | None,
    headers: Headers = (),
    received_ms: int | None = None,
    dialect: Dialect = OWN,
) -> Interaction:
    """The interaction in a message of Millrace's own form or of one that `messages.adapters` knows.

    Parameters
    ----------
    value, headers
        The message's value, None for a tombstone, and its headers.
    received_ms
        The broker's timestamp of the message. An interaction more than a day later than it is
        refused; the wall clock would judge the same message otherwise in a replay. Without one
        (None, or not positive as Kafka has it) nothing is too late.
    dialect
        The shop's names of fields and kinds; its own events are looked for first.

    Raises
    ------
    BadMessage
        And nothing else, whatever the bytes are.

    Examples
    --------
    >>> decode_interaction(b'{"event_id": "1", "user": "ann", "item": "m1", "kind": "click",'
    ...                    b' "timestamp": 881250949}')
    Traceback (most recent call last):
        ...
    streams.messages.bad_message.BadMessage: OutOfRange: timestamp: 881250949 is before 1990; \
timestamps are milliseconds since the epoch (these look like seconds)
    """
    interaction = dialect.interaction(value or b"", received_ms) if dialect.fields else None
    if interaction is None:
        interaction = _known_form(value, headers, dialect)
    if received_ms is not None and 0 < received_ms < interaction.timestamp - _DAY_MS:
        raise BadMessage(
            "FutureTimestamp",
            f"timestamp: {interaction.timestamp} is more than a day after the message itself, "
            f"whose timestamp is {received_ms}; correct the sender's clock",
        )
    return interaction


def _known_form(value: bytes | None, headers: Headers, dialect: Dialect) -> Interaction:
    """The interaction in Millrace's own form, or in another system's; raises `BadMessage`."""
    try:
        own = _INTERACTION.decode(value or b"")
    except UNREADABLE as error:
        if (texted := ids_as_text(value)) is not None:
            return _known_form(texted, headers, dialect)
        document = read(value)
        adapted = adapt_interaction(value or b"", document, headers, dialect.kinds)
        if adapted is None:
            raise explained(error, document) from None
        return adapted
    if own.kind in dialect.kinds.weights or own.kind == "forget":
        return own
    read(value)  # a repeated field is the fault then
    return msgspec.structs.replace(own, kind=kind_of("kind", own.kind, dialect.kinds))


def decode_item(value: bytes | None, headers: Headers = (), received_ms: int | None = None) -> Item:
    """The item in a message of Millrace's own form or of one that `messages.adapters` knows.

    Its timestamp may be in the future, as that of a film to come; `received_ms` is not looked at.

    Raises
    ------
    BadMessage
        And nothing else, whatever the bytes are.
    """
    return decode_item_update(value, headers)[0]


def decode_item_update(value: bytes | None, headers: Headers = ()) -> tuple[Item, frozenset[str]]:
    """The item in a message, and the names of its fields that the message gives.

    In another system's form, a field counts as given if it differs from its default.

    Raises
    ------
    BadMessage
        And nothing else, whatever the bytes are.
    """
    read(value)  # a repeated field is named, and not its value
    data = ids_as_text(value) or value or b""
    document = read(data)
    # An item needs one field only: another message would be taken for one, and clear its title.
    adapted = adapt_item(data, document, headers)
    if adapted is not None:
        default = Item(item=adapted.item)
        fields = Item.__struct_fields__
        return adapted, frozenset(f for f in fields if getattr(adapted, f) != getattr(default, f))
    if "event_id" in document:
        raise BadMessage(
            "WrongType",
            f"event_id: {shown(document['event_id'])} is of an interaction; expected an item, "
            "and interactions in their own topic",
        )
    return decoded(_ITEM, data, document), frozenset(document) & frozenset(Item.__struct_fields__)
