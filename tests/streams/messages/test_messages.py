"""What decodes, what is refused and in which words, and that nothing else ever happens."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.events import EARLIEST_MS, KINDS, LATEST_MS, Interaction, Item
from streams.messages.bad_message import ERROR_CLASSES, BadMessage, ErrorClass
from streams.messages.decoding import decode_interaction, decode_item
from streams.messages.schemas import encode

CLICK = {
    "event_id": "e1",
    "user": "ann",
    "item": "m1",
    "timestamp": 1_700_000_000_000,
    "kind": "click",
    "value": 4.5,
    "text": "fine",
    "properties": {"page": 3, "tags": ["a", None]},
}
ALIEN = {
    "item": "m1",
    "title": "Alien",
    "text": "In space",
    "categories": ["Horror"],
    "properties": {"year": 1979},
    "timestamp": 1_700_000_000_000,
    "hidden": False,
}
HUGE = "9" * 5_000


def raw(message: dict[str, Any], **literals: str) -> bytes:
    """The message with some fields as given in JSON text, valid or not; `""` leaves one out."""
    fields = {name: json.dumps(value) for name, value in message.items()} | literals
    return ("{" + ", ".join(f'"{k}": {v}' for k, v in fields.items() if v) + "}").encode()


def refused(value: bytes | None, **context: Any) -> BadMessage:
    with pytest.raises(BadMessage) as raised:
        decode_interaction(value, **context)
    return raised.value


@pytest.mark.parametrize(
    ("value", "error_class", "parts"),
    [
        (None, "NullValue", ["tombstone"]),
        (b"", "NotJson", ["character 0"]),
        (b"  ", "NotJson", ["character 2"]),
        (b"\xff\xfe\x00", "NotUtf8", ["looks like utf-16"]),
        (raw(CLICK).decode().encode("utf-16"), "NotUtf8", ["looks like utf-16"]),
        (raw(CLICK).decode().encode("utf-16-be"), "NotUtf8", ["looks like utf-16-be"]),
        (raw(CLICK).decode().encode("utf-32-le"), "NotUtf8", ["looks like utf-32-le"]),
        (b"\xef\xbb\xbf" + raw(CLICK), "NotJson", ["character 0", "BOM"]),
        (raw(CLICK, user='"#"').replace(b"#", b"\xe9"), "NotUtf8", ["byte 28", '"user": "\\xe9"']),
        (raw(CLICK)[:-3], "NotJson", ['"tags": ["a", null']),
        (raw(CLICK) + b"x", "NotJson", ["}x", "Extra data"]),
        (b"[]", "NotAnObject", ["[]"]),
        (b"3", "NotAnObject", ["3"]),
        (b'"abc"', "NotAnObject", ["'abc'"]),
        (b"null", "NotAnObject", ["null"]),
    ],
)
def test_a_value_that_is_no_object(
    value: bytes | None, error_class: ErrorClass, parts: list[str]
) -> None:
    error = refused(value)
    assert error.error_class == error_class
    assert all(part in error.message for part in parts), error.message


@pytest.mark.parametrize(
    ("field", "literal", "error_class", "message"),
    [
        ("user", "", "MissingField", "user: missing; the message has ['event_id', 'item',"),
        ("event_id", "", "MissingField", "event_id: missing; "),
        ("timestamp", "", "MissingField", "timestamp: missing; "),
        ("kind", "", "MissingField", "kind: missing; "),
        ("item", "", "MissingField", "item: missing; "),
        ("item", "null", "MissingField", "item: null; "),
        ("user", "5.5", "WrongType", "user: 5.5; expected `str`, got `float`"),
        ("event_id", "[1]", "WrongType", "event_id: [1]; expected `str`, got `array`"),
        ("item", "true", "WrongType", "item: true; expected `str | null`, got `bool`"),
        ("kind", "7", "WrongType", "kind: 7; expected `str`"),
        ("value", '"5"', "WrongType", "value: '5'; expected `float | null`, got `str`"),
        ("text", "{}", "WrongType", "text: {}; expected `str | null`, got `object`"),
        ("properties", "[]", "WrongType", "properties: []; expected `object`, got `array`"),
        ("properties", '{"a": 1, "b": {"c": 2}}', "WrongType", "properties.b: {'c': 2}; expected"),
        ("properties", '{"a": [1], "b": [1, [2]]}', "WrongType", "properties.b[1]: [2]; expected"),
        ("properties", '{"a b\\n": {}}', "WrongType", "properties.'a b\\n': {}; expected"),
        ("properties", '{"a": 1, "b": 1e999}', "OutOfRange", "properties.b: 1e999; "),
        ("properties", f'{{"a": {HUGE}}}', "OutOfRange", "properties.a: 9999999"),
        ("user", '""', "EmptyId", "user: '' is blank"),
        ("item", '"   "', "EmptyId", "item: '   ' is blank"),
        ("event_id", '"\\u2003"', "EmptyId", "event_id: '\\u2003' is blank"),
        ("user", '"a\\u0000"', "OutOfRange", "user: 'a\\x00' holds the control character '\\x00'"),
        ("user", '"a\\n"', "OutOfRange", "user: 'a\\n' holds the control character '\\n'"),
        ("item", '"\\u009b2J"', "OutOfRange", "item: '\\x9b2J' holds the control character"),
        ("user", '"' + "a" * 257 + '"', "TooLong", "user: 'aaa"),
        ("text", '"' + "a" * 5_000_000 + '"', "TooLong", "text: 'aaa"),
        ("kind", '"foo"', "UnknownKind", "kind: 'foo' is unknown; known are rating, review"),
        ("value", "1e7", "OutOfRange", "value: 1e7; expected `float` <= 1000000.0"),
        ("value", "1e999", "OutOfRange", "value: 1e999; number out of range"),
        ("value", HUGE, "OutOfRange", "value: 99999"),
        ("value", "NaN", "NotJson", "value: NaN is not a number in JSON"),
        ("value", "-Infinity", "NotJson", "value: -Infinity is not a number in JSON"),
        ("user", '"a\\ud800"', "NotUtf8", "user: 'a\\ud800' holds half a surrogate pair"),
        ("other", '{"\\udfff": 1}', "NotUtf8", "other.'\\udfff': '\\udfff' holds half"),
        ("timestamp", "0", "OutOfRange", "timestamp: 0 is before 1990; timestamps are milli"),
        ("timestamp", "-5", "OutOfRange", "timestamp: -5 is before 1990"),
        ("timestamp", "32503680000000", "OutOfRange", "timestamp: 32503680000000 is after 2100"),
        ("timestamp", HUGE, "OutOfRange", "timestamp: 9999999"),
        ("timestamp", "-" + HUGE, "OutOfRange", "timestamp: -999999"),
        ("timestamp", "1e999", "OutOfRange", "timestamp: 1e999; "),
        ("timestamp", "1.7e12", "WrongType", "timestamp: 1.7e12; expected `int`, got `float`"),
        ("timestamp", "true", "WrongType", "timestamp: true; expected `int`, got `bool`"),
        ("timestamp", '"1700000000000"', "WrongType", "timestamp: '1700000000000'; expected `int`"),
        ("user", "[" * 100_000, "TooDeep", "nested too deeply"),
        ("properties", '{"a":' + "[" * 100_000, "TooDeep", "nested too deeply"),
        ("other", "[" * 100_000, "TooDeep", "nested too deeply"),
        ("other", '{"a":' * 100_000 + "1" + "}" * 100_000, "TooDeep", "nested too deeply"),
        ("kind", '"foo", "user": "eve"', "NotJson", "user: comes twice in one object"),
    ],
)
def test_a_field_that_does_not_fit(
    field: str, literal: str, error_class: ErrorClass, message: str
) -> None:
    error = refused(raw(CLICK, **{field: literal}))
    assert error.error_class == error_class
    assert error.message.startswith(message), error.message
    assert len(error.message) <= 500


@pytest.mark.parametrize(
    ("timestamp", "unit"),
    [(881250949, "seconds"), (1_700_000_000_000_000, "microseconds"), (17 * 10**17, "nanoseconds")],
)
def test_a_timestamp_in_another_unit_is_told_as_such(timestamp: int, unit: str) -> None:
    error = refused(raw(CLICK, timestamp=str(timestamp)))
    side = "before 1990" if timestamp < EARLIEST_MS else "after 2100"
    assert error.message == (
        f"timestamp: {timestamp} is {side}; timestamps are milliseconds since the epoch "
        f"(these look like {unit})"
    )


def test_a_timestamp_a_day_after_the_message_itself_is_refused() -> None:
    at, day = CLICK["timestamp"], 86_400_000
    assert decode_interaction(raw(CLICK), received_ms=at - day).timestamp == at
    error = refused(raw(CLICK), received_ms=at - day - 1)
    assert error.error_class == "FutureTimestamp"
    assert f"timestamp: {at} " in error.message
    assert str(at - day - 1) in error.message
    for unknown in (None, 0, -1):  # Kafka has -1 for no timestamp
        assert decode_interaction(raw(CLICK), received_ms=unknown).timestamp == at


def test_what_is_taken() -> None:
    assert decode_interaction(raw(CLICK)) == msgspec.convert(CLICK, Interaction)
    forget = decode_interaction(raw(CLICK, kind='"forget"', item=""))
    assert (forget.kind, forget.item) == ("forget", None)
    assert decode_interaction(raw(CLICK, user='"Zoë \\ud83d\\ude00"')).user == "Zoë 😀"
    assert decode_interaction(raw(CLICK, other="[[{}]]")).user == "ann"
    assert decode_interaction(raw(CLICK, kind='"click", "user": "eve"')).user == "eve"


@pytest.mark.parametrize(
    ("field", "literal", "error_class", "message"),
    [
        ("item", "", "MissingField", "item: missing; "),
        ("item", '""', "EmptyId", "item: '' is blank"),
        ("hidden", '"no"', "WrongType", "hidden: 'no'; expected `bool`, got `str`"),
        ("categories", '["a", 2]', "WrongType", "categories[1]: 2; expected `str`, got `int`"),
        ("categories", json.dumps(["a"] * 101), "TooLong", "categories: ['a', 'a'"),
        ("title", '"' + "a" * 2_001 + '"', "TooLong", "title: 'aaa"),
        ("timestamp", "881250949", "OutOfRange", "timestamp: 881250949 is before 1990"),
        ("event_id", '"e1"', "WrongType", "event_id: 'e1' is of an interaction"),
        ("other", "NaN", "NotJson", "other: NaN is not a number"),
        ("other", "[" * 100_000, "TooDeep", "nested too deeply"),
    ],
)
def test_an_item_that_does_not_fit(
    field: str, literal: str, error_class: ErrorClass, message: str
) -> None:
    with pytest.raises(BadMessage) as raised:
        decode_item(raw(ALIEN, **{field: literal}))
    assert raised.value.error_class == error_class
    assert raised.value.message.startswith(message), raised.value.message
    with pytest.raises(BadMessage, match="NullValue"):
        decode_item(None)


# ------------------------------------------------------------------ properties

texts = st.text(st.characters(codec="utf-8"), max_size=20)
ids = st.from_regex(r"[^\x00-\x1f\x7f-\x9f\s]{1,40}", fullmatch=True)
moments = st.integers(EARLIEST_MS, LATEST_MS)
numbers = st.floats(-1e6, 1e6) | st.integers(-(2**70), 2**70)
scalars = st.none() | st.booleans() | numbers | texts
properties = st.dictionaries(texts, scalars | st.lists(scalars, max_size=3), max_size=3)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=10,
)
interactions = st.builds(
    Interaction,
    event_id=ids,
    user=ids,
    item=ids,
    timestamp=moments,
    kind=st.sampled_from(KINDS),
    value=st.none() | st.floats(-1e6, 1e6),
    text=st.none() | texts,
    properties=properties,
)
items = st.builds(
    Item,
    item=ids,
    title=texts,
    text=texts,
    categories=st.lists(texts, max_size=3),
    properties=properties,
    timestamp=st.none() | moments,
    hidden=st.booleans(),
)
headers = st.lists(
    st.tuples(
        st.sampled_from(["ce_specversion", "ce_id", "ce_time", "content-type"]) | texts,
        st.sampled_from([b"1.0", b"application/cloudevents+json"]) | st.binary(max_size=8),
    ),
    max_size=3,
)


def is_decoded_or_refused(value: bytes, headers: list[tuple[str, bytes]]) -> None:
    """One of the two happens, the error is fit for a header, and what is taken can be sent on."""
    for decode in (decode_interaction, decode_item):
        outcome: Interaction | Item | BadMessage
        try:
            outcome = decode(value, headers, 1_700_000_000_000)
        except BadMessage as error:
            outcome = error
        if isinstance(outcome, BadMessage):
            assert outcome.error_class in ERROR_CLASSES
            assert outcome.message.isprintable()
            assert 0 < len(outcome.message) <= 500
        else:
            assert decode(encode(outcome)) == outcome


@settings(max_examples=250, deadline=None)
@given(st.binary(max_size=60), headers)
def test_random_bytes(value: bytes, headers: list[tuple[str, bytes]]) -> None:
    is_decoded_or_refused(value, headers)


@settings(max_examples=250, deadline=None)
@given(anything, headers)
def test_random_json(value: object, headers: list[tuple[str, bytes]]) -> None:
    is_decoded_or_refused(json.dumps(value).encode(), headers)


@settings(max_examples=250, deadline=None)
@given(st.sampled_from([CLICK, ALIEN]), st.data())
def test_random_fields(message: dict[str, Any], data: st.DataObject) -> None:
    changes = st.dictionaries(st.sampled_from([*message]) | texts, anything, min_size=1, max_size=2)
    is_decoded_or_refused(json.dumps(message | data.draw(changes)).encode(), [])


@settings(max_examples=250, deadline=None)
@given(st.sampled_from([raw(CLICK), raw(ALIEN)]), st.data())
def test_mutated_bytes(value: bytes, data: st.DataObject) -> None:
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(value)))
        end = data.draw(st.integers(start, min(len(value), start + 20)))
        piece = data.draw(st.binary(max_size=4) | st.just(value[start:end] * 2))
        value = value[:start] + piece + value[end:]
    is_decoded_or_refused(value, [])


@settings(deadline=None)
@given(interactions, items)
def test_what_is_encoded_decodes_to_the_same(interaction: Interaction, item: Item) -> None:
    assert decode_interaction(encode(interaction)) == interaction
    assert decode_item(encode(item)) == item


def test_bytes_of_a_schema_registry_are_told_as_such() -> None:
    error = refused(b"\0" + (77).to_bytes(4) + raw(CLICK))
    assert error.error_class == "NotJson"
    assert "schema id 77" in error.message
    for encoding in ("utf-16-be", "utf-32-be"):
        assert refused(raw(CLICK).decode().encode(encoding)).error_class == "NotUtf8"
