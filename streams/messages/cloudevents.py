"""CloudEvents 1.0 that carry an interaction or an item, in both content modes of Kafka.

In binary mode the attributes are headers (`ce_id`, ...) and the value is the data; in structured
mode the value holds both. The data takes precedence over its envelope: it may have its own
`event_id`, `timestamp` and `kind`. Otherwise the event id is made of source and id, since only the
pair is unique; the timestamp is the event's `time`; the kind is the last dotted part of its `type`.

References
----------
https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md
https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from engine.events import Id, Interaction, Item, Kinds, Properties, Text, Timestamp, Value
from streams.messages.bad_message import BadMessage, shown
from streams.messages.event_kinds import kind_of, milliseconds
from streams.messages.validation import converted, decoded

Headers = Sequence[tuple[str, bytes]]


class _Attributes(msgspec.Struct, kw_only=True):
    """A CloudEvent's context attributes that are read."""

    specversion: str
    id: Annotated[str, Meta(min_length=1)]
    source: Annotated[str, Meta(min_length=1)]
    type: Annotated[str, Meta(min_length=1)]
    time: str | None = None


class _Data(msgspec.Struct, kw_only=True):
    """An interaction; the envelope may give what it lacks."""

    event_id: Id | None = None
    user: Id
    item: Id | None = None
    timestamp: Timestamp | None = None
    kind: str | None = None
    value: Value | None = None
    text: Text | None = None
    properties: Properties = msgspec.field(default_factory=dict)


class _Structured(_Attributes):
    data: _Data


class _StructuredItem(_Attributes):
    data: Item


_STRUCTURED = msgspec.json.Decoder(_Structured)
_STRUCTURED_ITEM = msgspec.json.Decoder(_StructuredItem)
_DATA = msgspec.json.Decoder(_Data)
_ITEM = msgspec.json.Decoder(Item)


def is_cloud_event(document: dict[str, Any], headers: Headers) -> bool:
    """Whether the message is one in binary mode, by its headers, or in structured mode, by its
    content type or its own `specversion` and `source`."""
    return document.keys() >= {"specversion", "source"} or any(
        name == "ce_specversion" or _is_structured(name, value) for name, value in headers
    )


def _is_structured(name: str, value: bytes | None) -> bool:
    is_type = name.lower() == "content-type"
    return is_type and (value or b"").lower().startswith(b"application/cloudevents")


def cloud_event_interaction(
    value: bytes, document: dict[str, Any], headers: Headers, kinds: Kinds
) -> Interaction:
    """The interaction in a CloudEvent; raises `BadMessage`."""
    attributes = _attributes(headers)
    if attributes is None:
        event = decoded(_STRUCTURED, value, document)
        attributes, data, prefix = event, event.data, ""
    else:
        data, prefix = decoded(_DATA, value, document), "ce_"
    _expect_version(attributes, prefix)
    if data.kind is not None:
        kind = kind_of("kind", data.kind, kinds, forget=True)
    else:
        kind = kind_of(f"{prefix}type", attributes.type, kinds, forget=True)
    if (moment := data.timestamp) is None:
        if attributes.time is None:
            raise BadMessage(
                "MissingField",
                f"timestamp: missing; the data has none and neither has {prefix}time",
            )
        moment = milliseconds(f"{prefix}time", attributes.time)
    return converted(
        {
            "event_id": data.event_id or f"{attributes.source}/{attributes.id}",
            "user": data.user,
            "item": data.item,
            "timestamp": moment,
            "kind": kind,
            "value": data.value,
            "text": data.text,
            "properties": data.properties,
        },
        Interaction,
    )


def cloud_event_item(value: bytes, document: dict[str, Any], headers: Headers) -> Item:
    """The item in a CloudEvent, with the event's time if it has none; raises `BadMessage`."""
    attributes = _attributes(headers)
    if attributes is None:
        event = decoded(_STRUCTURED_ITEM, value, document)
        attributes, item, prefix = event, event.data, ""
    else:
        item, prefix = decoded(_ITEM, value, document), "ce_"
    _expect_version(attributes, prefix)
    if item.timestamp is not None or attributes.time is None:
        return item
    moment = milliseconds(f"{prefix}time", attributes.time)
    return msgspec.structs.replace(item, timestamp=moment)


def _attributes(headers: Headers) -> _Attributes | None:
    """The attributes of an event in binary mode; None in structured mode."""
    if any(_is_structured(*header) for header in headers):
        return None
    fields = {}
    for header, value in headers:
        name = header.removeprefix("ce_")
        if header != name and name in _Attributes.__struct_fields__:
            try:
                fields[name] = (value or b"").decode()
            except UnicodeDecodeError:
                raise BadMessage("NotUtf8", f"{header}: {shown(value)} is not UTF-8") from None
    return converted(fields, _Attributes, "ce_") if "specversion" in fields else None


def _expect_version(attributes: _Attributes, prefix: str) -> None:
    if attributes.specversion != "1.0":
        label = f"{prefix}specversion"
        raise BadMessage("OutOfRange", f"{label}: {shown(attributes.specversion)}; expected '1.0'")
