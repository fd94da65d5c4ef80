"""Events of Metarank, of gorse and CloudEvents, as Millrace's own."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.events import KIND_SYNONYMS, Interaction, Item
from streams.messages.bad_message import ERROR_CLASSES, BadMessage, ErrorClass
from streams.messages.decoding import decode_interaction, decode_item
from streams.messages.schemas import encode

AT = 1_646_136_000_000  # 2022-03-01T12:00:00Z

METARANK = {
    "event": "interaction",
    "id": "e1",
    "timestamp": str(AT),
    "user": "ann",
    "session": "s1",
    "ranking": "r1",
    "type": "purchase",
    "item": "m1",
    "fields": [{"name": "count", "value": 2}, {"name": "tags", "value": ["a", "b"]}],
}
METARANK_ITEM = {
    "event": "item",
    "id": "e2",
    "timestamp": AT,
    "item": "m1",
    "fields": [
        {"name": "title", "value": "Alien"},
        {"name": "description", "value": "In space"},
        {"name": "category", "value": "Horror"},
        {"name": "year", "value": 1979},
    ],
}
GORSE = {
    "FeedbackType": "star",
    "UserId": "ann",
    "ItemId": "m1",
    "Timestamp": "2022-03-01T12:00:00Z",
    "Value": 2.0,
    "Comment": "fine",
}
DATA = {"user": "ann", "item": "m1", "value": 4.0, "text": "fine"}
ENVELOPE = {
    "specversion": "1.0",
    "id": "7",
    "source": "/shop/1",
    "type": "com.example.click",
    "time": "2022-03-01T13:00:00+01:00",
}
STRUCTURED = ENVELOPE | {"datacontenttype": "application/json", "data": DATA}
CLICK = Interaction(
    event_id="/shop/1/7",
    user="ann",
    item="m1",
    timestamp=AT,
    kind="click",
    value=4.0,
    text="fine",
)


def binary(**attributes: str | None) -> list[tuple[str, bytes]]:
    """The headers of a CloudEvent in binary mode; None leaves an attribute out."""
    named = ENVELOPE | attributes
    ours = [(f"ce_{name}", value.encode()) for name, value in named.items() if value is not None]
    return [("traceparent", b"00-1"), *ours, ("content-type", b"application/json")]


def interaction(message: object, headers: Any = ()) -> Interaction:
    return decode_interaction(json.dumps(message).encode(), headers)


def item(message: object, headers: Any = ()) -> Item:
    return decode_item(json.dumps(message).encode(), headers)


def test_a_metarank_interaction() -> None:
    assert interaction(METARANK) == Interaction(
        event_id="e1",
        user="ann",
        item="m1",
        timestamp=AT,
        kind="purchase",
        properties={"count": 2, "tags": ["a", "b"], "session": "s1", "ranking": "r1"},
    )


@pytest.mark.parametrize(
    "timestamp", [AT, str(AT), "2022-03-01T12:00:00Z", "2022-03-01T12:00:00.000000000Z"]
)
def test_every_way_that_metarank_writes_a_moment(timestamp: str | int) -> None:
    assert interaction(METARANK | {"timestamp": timestamp}).timestamp == AT


@pytest.mark.parametrize("event", ["item", "metadata"])
def test_a_metarank_item(event: str) -> None:
    assert item(METARANK_ITEM | {"event": event}) == Item(
        item="m1",
        title="Alien",
        text="In space",
        categories=["Horror"],
        properties={"year": 1979},
        timestamp=AT,
    )


def test_gorse_feedback() -> None:
    feedback = interaction(GORSE)
    assert feedback == Interaction(
        event_id=feedback.event_id,
        user="ann",
        item="m1",
        timestamp=AT,
        kind="like",
        value=2.0,
        text="fine",
    )
    assert interaction(GORSE | {"Timestamp": "2022-03-01"}).timestamp == AT - 12 * 3_600_000
    bare = interaction(GORSE | {"Value": 0, "Comment": ""})
    assert (bare.value, bare.text) == (None, None)


def test_the_id_of_gorse_feedback_is_made_of_its_type_user_item_and_moment() -> None:
    known = interaction(GORSE).event_id
    same = [
        GORSE | {"Timestamp": "2022-03-01T14:00:00.000+02:00"},
        GORSE | {"Value": 3, "Comment": "better"},
    ]
    other = [
        GORSE | {"FeedbackType": "read"},
        GORSE | {"UserId": "bob"},
        GORSE | {"ItemId": "m2"},
        GORSE | {"UserId": "annm", "ItemId": "1"},
        GORSE | {"Timestamp": "2022-03-01T12:00:01Z"},
    ]
    assert known == "gorse:02db1acc418b337563210008cc4b9ab4"  # replays need it to stay
    assert {interaction(message).event_id for message in same} == {known}
    assert len({known, *(interaction(message).event_id for message in other)}) == 6


def test_a_cloud_event_in_each_content_mode() -> None:
    assert interaction(DATA, binary()) == CLICK
    assert interaction(STRUCTURED) == CLICK
    structured = [("Content-Type", b"Application/CloudEvents+json; charset=UTF-8")]
    assert interaction(STRUCTURED, structured) == CLICK
    # the binding lets a structured event repeat its attributes as headers
    assert interaction(STRUCTURED, [*binary()[:-1], *structured]) == CLICK


@pytest.mark.parametrize("mode", ["binary", "structured"])
def test_the_data_goes_before_its_envelope(mode: str) -> None:
    data = DATA | {"kind": "read", "timestamp": AT + 1, "event_id": "e9", "properties": {"a": 1}}
    if mode == "binary":
        read = interaction(data, binary(time=None))
    else:
        read = interaction(STRUCTURED | {"data": data, "time": None})
    assert (read.kind, read.timestamp, read.event_id) == ("read", AT + 1, "e9")
    assert read.properties == {"a": 1}


def test_a_cloud_event_may_forget() -> None:
    forget = interaction({"user": "ann"}, binary(type="com.example.forget"))
    assert (forget.kind, forget.item) == ("forget", None)


@pytest.mark.parametrize("mode", ["binary", "structured"])
def test_a_cloud_event_with_an_item(mode: str) -> None:
    data = {"item": "m1", "title": "Alien"}
    if mode == "binary":
        assert item(data, binary()) == Item(item="m1", title="Alien", timestamp=AT)
    else:
        assert item(STRUCTURED | {"data": data}) == Item(item="m1", title="Alien", timestamp=AT)


def test_foreign_kinds_are_of_millrace() -> None:
    for theirs, ours in KIND_SYNONYMS.items():
        assert interaction(METARANK | {"type": theirs}).kind == ours
        assert interaction(GORSE | {"FeedbackType": theirs}).kind == ours
        assert interaction(DATA | {"kind": theirs}, binary()).kind == ours


def test_the_grace_for_late_clocks_holds_for_them_too() -> None:
    with pytest.raises(BadMessage, match="FutureTimestamp"):
        decode_interaction(json.dumps(GORSE).encode(), received_ms=AT - 86_400_001)


@pytest.mark.parametrize(
    ("message", "headers", "error_class", "text"),
    [
        (METARANK | {"event": "ranking"}, (), "UnknownKind", "event: 'ranking' of Metarank car"),
        (METARANK | {"event": "user"}, (), "UnknownKind", "event: 'user' of Metarank carries no"),
        (METARANK_ITEM, (), "UnknownKind", "event: 'item' of Metarank carries no interaction"),
        (METARANK | {"event": "x"}, (), "UnknownKind", "event: 'x' is unknown; known are inter"),
        (METARANK | {"event": ["x"]}, (), "UnknownKind", "event: ['x'] is unknown"),
        (METARANK | {"type": "hover"}, (), "UnknownKind", "type: 'hover' is unknown; known are"),
        (METARANK | {"type": "forget"}, (), "UnknownKind", "type: 'forget' is unknown"),
        (METARANK | {"user": None}, (), "WrongType", "user: null; expected `str`, got `null`"),
        (METARANK | {"user": " "}, (), "EmptyId", "user: ' ' is blank"),
        (METARANK | {"timestamp": "now"}, (), "WrongType", "timestamp: 'now' is no time; expec"),
        (METARANK | {"timestamp": 1.5}, (), "WrongType", "timestamp: 1.5; expected `int | str`"),
        (METARANK | {"timestamp": "9" * 5000}, (), "WrongType", "timestamp: '999"),
        (METARANK | {"timestamp": 10**400}, (), "OutOfRange", "timestamp: 1000"),
        (METARANK | {"timestamp": "1646136000"}, (), "OutOfRange", "timestamp: 1646136000 is be"),
        (METARANK | {"fields": [{"name": "a"}]}, (), "MissingField", "fields[0].value: missing"),
        (METARANK | {"fields": [{"name": "a", "value": {}}]}, (), "WrongType", "fields[0].value"),
        (GORSE | {"FeedbackType": "hop"}, (), "UnknownKind", "FeedbackType: 'hop' is unknown"),
        (GORSE | {"FeedbackType": 3}, (), "WrongType", "FeedbackType: 3; expected `str`"),
        (GORSE | {"ItemId": ""}, (), "EmptyId", "ItemId: '' is blank"),
        (GORSE | {"Value": "2"}, (), "WrongType", "Value: '2'; expected `float | null`"),
        (GORSE | {"Value": 2e6}, (), "OutOfRange", "Value: 2000000.0; expected `float` <="),
        (GORSE | {"Comment": "a" * 100_001}, (), "TooLong", "Comment: 'aaa"),
        (GORSE | {"Timestamp": ""}, (), "WrongType", "Timestamp: '' is no time"),
        (GORSE | {"Timestamp": "2022-03-01T12:00:00"}, (), "WrongType", "Timestamp: '2022-03-0"),
        (GORSE | {"Timestamp": "0001-01-01T00:00:00Z"}, (), "OutOfRange", "Timestamp: 0001-01-"),
        (GORSE | {"Timestamp": "9999-12-31T23:59:59-12:00"}, (), "OutOfRange", "Timestamp: 999"),
        (DATA, binary(id=None), "MissingField", "ce_id: missing; the message has ["),
        (DATA, binary(source=""), "EmptyId", "ce_source: '' is blank"),
        (DATA, binary(specversion="0.3"), "OutOfRange", "ce_specversion: '0.3'; expected '1.0'"),
        (DATA, binary(time=None), "MissingField", "timestamp: missing; the data has none and n"),
        (DATA, binary(time="noon"), "WrongType", "ce_time: 'noon' is no time"),
        (DATA, binary(type="com.example.seen"), "UnknownKind", "ce_type: 'com.example.seen' is"),
        (DATA, binary(id="a" * 256), "TooLong", "event_id: '/shop/1/aaa"),
        (DATA, [*binary(), ("ce_id", b"\xff")], "NotUtf8", "ce_id: b'\\xff' is not UTF-8"),
        (DATA | {"kind": "seen"}, binary(), "UnknownKind", "kind: 'seen' is unknown; known are"),
        (DATA | {"user": 3.5}, binary(), "WrongType", "user: 3.5; expected `str`, got `float`"),
        ({"user": "ann"}, binary(), "MissingField", "item: null; the message has"),
        (
            DATA,
            [("content-type", b"application/cloudevents+json")],
            "MissingField",
            "data: missing",
        ),
        (STRUCTURED | {"data": {"item": "m1"}}, (), "MissingField", "data.user: missing; the me"),
        (STRUCTURED | {"data": "text"}, (), "WrongType", "data: 'text'; expected `object`"),
        (ENVELOPE, (), "MissingField", "data: missing; the message has ['specversion',"),
        (STRUCTURED | {"specversion": "2.0"}, (), "OutOfRange", "specversion: '2.0'; expected '1."),
        (STRUCTURED | {"time": "noon"}, (), "WrongType", "time: 'noon' is no time"),
    ],
)
def test_a_foreign_event_that_does_not_fit(
    message: object, headers: Any, error_class: ErrorClass, text: str
) -> None:
    with pytest.raises(BadMessage) as raised:
        interaction(message, headers)
    assert raised.value.message.startswith(text), raised.value.message
    assert raised.value.error_class == error_class


@pytest.mark.parametrize(
    ("message", "error_class", "text"),
    [
        (METARANK, "UnknownKind", "event: 'interaction' of Metarank carries no item; send 'item'"),
        (METARANK_ITEM | {"fields": [{"name": "title", "value": 3}]}, "WrongType", "title: 3; exp"),
        (METARANK_ITEM | {"timestamp": "0"}, "OutOfRange", "timestamp: 0 is before 1990"),
        (METARANK_ITEM | {"item": ""}, "EmptyId", "item: '' is blank"),
        (STRUCTURED | {"data": {"title": "a"}}, "MissingField", "data.item: missing"),
    ],
)
def test_a_foreign_item_that_does_not_fit(
    message: object, error_class: ErrorClass, text: str
) -> None:
    with pytest.raises(BadMessage) as raised:
        item(message)
    assert raised.value.message.startswith(text), raised.value.message
    assert raised.value.error_class == error_class


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


@settings(max_examples=250, deadline=None)
@given(
    st.sampled_from([METARANK, METARANK_ITEM, GORSE, DATA, STRUCTURED]),
    st.booleans(),
    st.data(),
)
def test_random_fields_and_headers(
    message: dict[str, Any], with_headers: bool, data: st.DataObject
) -> None:
    """Whatever a field or a header holds, the event is read or refused, and may be sent on."""
    changed = message | data.draw(st.dictionaries(st.sampled_from([*message]), values, max_size=2))
    headers = binary() if with_headers else []
    for _ in range(data.draw(st.integers(0, 2)) if with_headers else 0):
        place = data.draw(st.integers(0, len(headers) - 1))
        headers[place] = (headers[place][0], data.draw(st.binary(max_size=12)))
    for decode in (decode_interaction, decode_item):
        outcome: Interaction | Item | BadMessage
        try:
            outcome = decode(json.dumps(changed).encode(), headers)
        except BadMessage as error:
            outcome = error
        if isinstance(outcome, BadMessage):
            assert outcome.error_class in ERROR_CLASSES
            assert outcome.message.isprintable()
        else:
            assert decode(encode(outcome)) == outcome
