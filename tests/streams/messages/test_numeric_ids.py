"""Ids that are numbers are the ids that are their digits, in every form of message."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.messages.bad_message import BadMessage
from streams.messages.decoding import decode_interaction, decode_item, decode_item_update
from streams.messages.numeric_ids import ids_as_text

OWN = {"event_id": 17, "user": 4711, "item": -3, "timestamp": 1_600_000_000_000, "kind": "view"}
METARANK = {"event": "interaction", "id": 17, "timestamp": "1600000000000", "user": 4711,
            "item": -3, "type": "view"}  # fmt: skip
GORSE = {"FeedbackType": "read", "UserId": 4711, "ItemId": -3, "Timestamp": "2020-09-13"}
STRUCTURED = {
    "specversion": "1.0", "id": "17", "source": "/shop", "type": "com.example.view",
    "time": "2020-09-13T12:26:40Z", "data": {"user": 4711, "item": -3},
}  # fmt: skip


@pytest.mark.parametrize("message", [OWN, METARANK, GORSE, STRUCTURED])
def test_an_interaction_with_numbers_is_that_with_their_digits(message: dict[str, Any]) -> None:
    def as_text(fields: dict[str, Any]) -> dict[str, Any]:
        return {
            name: as_text(value) if isinstance(value, dict)
            else str(value) if value in (17, 4711, -3) else value
            for name, value in fields.items()
        }  # fmt: skip

    found = decode_interaction(json.dumps(message).encode())
    assert found == decode_interaction(json.dumps(as_text(message)).encode())
    assert (found.user, found.item) == ("4711", "-3")


def test_items_too() -> None:
    item, given = decode_item_update(b'{"item": 42, "title": "Alien", "properties": {"id": 7}}')
    assert (item.item, item.title, item.properties) == ("42", "Alien", {"id": 7})
    assert given == {"item", "title", "properties"}
    metarank = {"event": "item", "id": 1, "timestamp": 1_600_000_000_000, "item": 42, "fields": []}
    assert decode_item(json.dumps(metarank).encode()).item == "42"


@pytest.mark.parametrize(
    ("field", "literal"),
    [("user", "4.0"), ("user", "1e3"), ("item", "true"), ("event_id", "[4]"), ("user", "null"),
     ("user", "9" * 257), ("kind", "7"), ("text", "7")],
)  # fmt: skip
def test_nothing_else_becomes_text(field: str, literal: str) -> None:
    message = json.dumps(OWN | {field: None}).replace(f'"{field}": null', f'"{field}": {literal}')
    with pytest.raises(BadMessage) as raised:
        decode_interaction(message.encode())
    assert raised.value.message.startswith(f"{field}: ")


def test_a_field_that_comes_twice_is_still_refused_in_an_item() -> None:
    with pytest.raises(BadMessage, match="comes twice"):
        decode_item(b'{"item": 1, "item": 2}')


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_bytes_are_taken(value: bytes) -> None:
    assert ids_as_text(value) is None or isinstance(ids_as_text(value), bytes)


@given(
    st.dictionaries(
        st.sampled_from(["user", "item", "text", "data", "x"]),
        st.recursive(
            st.none() | st.integers() | st.text() | st.booleans(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        ),
    )
)
def test_all_else_stays_as_it_is(fields: dict[str, Any]) -> None:
    texted = ids_as_text(json.dumps(fields).encode())
    before, after = fields, json.loads(texted) if texted else fields

    def without(found: dict[str, Any]) -> dict[str, Any]:
        kept = {n: v for n, v in found.items() if n not in ("user", "item", "id", "event_id")}
        if isinstance(kept.get("data"), dict):
            kept["data"] = {n: v for n, v in kept["data"].items() if n not in IDS}
        return kept

    assert without(after) == without(before)
    for name in ("user", "item"):
        if isinstance(before.get(name), int) and not isinstance(before[name], bool):
            assert after[name] == str(before[name])
        else:
            assert after.get(name) == before.get(name)


IDS = ("event_id", "user", "item", "id", "UserId", "ItemId")
