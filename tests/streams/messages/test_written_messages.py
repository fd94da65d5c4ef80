"""The messages that Millrace writes: packed vectors, answers, dead letters and their schemas."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from engine.events import EARLIEST_MS, Item
from streams.kafka.record import Record
from streams.messages.bad_message import ERROR_CLASSES, BadMessage
from streams.messages.dead_letters import dead_letter
from streams.messages.decoding import decode_item
from streams.messages.json_schemas import json_schemas
from streams.messages.packing import pack, unpack
from streams.messages.schemas import (
    ItemEmbedding,
    LatencyUs,
    Model,
    RankedItem,
    Recommendation,
    Source,
    encode,
)

AT = 1_700_000_000_000


@given(
    npst.arrays(
        np.float32,
        st.integers(0, 400),
        elements=st.floats(-65504, 65504, width=32),
    )
)
def test_a_packed_vector_unpacks_to_its_nearest_halves(vector: np.ndarray) -> None:
    unpacked = unpack(pack(vector), len(vector))
    assert unpacked.dtype == np.float32
    np.testing.assert_array_equal(unpacked, vector.astype(np.float16).astype(np.float32))


@pytest.mark.parametrize(
    "vector", [[[1.0]], 1.0, [np.nan], [np.inf], [7e4]], ids=["2d", "0d", "nan", "inf", "over"]
)
def test_what_is_no_vector_of_halves_is_not_packed(vector: Any) -> None:
    with pytest.raises(ValueError, match=r"embedding: .* is no vector"):
        pack(np.asarray(vector, np.float32))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ADwAw*A==", r"'ADwAw\*A==' is not base64"),
        ("é", "is not base64"),
        (pack([1.0]), "holds 2 bytes; expected 4, float16 in 2 dimensions"),
        ("AHwAAA==", "not finite"),
    ],
)
def test_what_is_not_of_pack_is_not_unpacked(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        unpack(text, 2)


def test_little_endian_halves_in_base64() -> None:
    assert pack([1.0, -2.0]) == "ADwAwA=="  # 0x3c00, 0xc000


RECOMMENDATION = Recommendation(
    event_id="e1",
    user="ann",
    item=None,
    kind="forget",
    items=[RankedItem("m2", 0.5, "because")],
    timestamp=AT,
    model=Model("millrace-hybrid", "0.1.0"),
    source=Source("interactions", 3, 14),
    latency_us=LatencyUs(queue=900.0, decode=3.0, rank=50.0, emit=5.0, total=60.0),
)


def test_the_recommendation_as_it_is_written() -> None:
    assert json.loads(encode(RECOMMENDATION)) == {
        "event_id": "e1",
        "user": "ann",
        "item": None,
        "kind": "forget",
        "items": [{"item": "m2", "score": 0.5, "reason": "because"}],
        "timestamp": AT,
        "model": {"name": "millrace-hybrid", "version": "0.1.0"},
        "source": {"topic": "interactions", "partition": 3, "offset": 14},
        "latency_us": {
            "queue": 900.0,
            "decode": 3.0,
            "graph": 0.0,
            "propagate": 0.0,
            "text": 0.0,
            "rank": 50.0,
            "learn": 0.0,
            "emit": 5.0,
            "total": 60.0,
        },
    }


def test_dead_letter_headers_come_after_the_messages_own() -> None:
    error = BadMessage("NotUtf8", "user: '\\ud800' holds half a surrogate pair")
    original = [("traceparent", b"00-1"), ("origin.offset", b"7"), ("raw", b"\xff")]
    record = Record(2, 41, 1_700_000_000_001, b"ann", b"\xff", original)
    key, value, headers = dead_letter(error, "interactions", record, 1_000)
    assert (key, value) == (b"ann", b"\xff")
    assert headers[:3] == original
    assert dict(headers) == {
        "traceparent": b"00-1",
        "raw": b"\xff",
        "error.class": b"NotUtf8",
        "error.message": error.message.encode(),
        "origin.topic": b"interactions",
        "origin.partition": b"2",
        "origin.offset": b"41",
        "origin.timestamp": b"1700000000001",
    }


def test_the_schemas_say_what_the_messages_are() -> None:
    bare = Record(0, 0, -1, None, None, ())
    letter = dead_letter(BadMessage("NotJson", "?"), "t", bare, 1_000)
    written = {
        "interaction": {
            "event_id": "e1",
            "user": "ann",
            "item": "m1",
            "timestamp": AT,
            "kind": "click",
        },
        "item": {"item": "m1", "title": "Alien"},
        "item-embedding": json.loads(
            encode(ItemEmbedding(item=Item(item="m1"), encoder="e@1", embedding=pack([1.0])))
        ),
        "recommendation": json.loads(encode(RECOMMENDATION)),
        "dead-letter-headers": {name: value.decode() for name, value in letter.headers},
    }
    schemas = json_schemas()
    assert schemas.keys() == written.keys()
    for name, message in written.items():
        schema = schemas[name]
        assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
        body = schema["$defs"][schema["$ref"].removeprefix("#/$defs/")]
        assert set(body["required"]) <= message.keys() <= body["properties"].keys()
    interaction = schemas["interaction"]["$defs"]["Interaction"]["properties"]
    assert interaction["kind"]["type"] == "string"
    assert interaction["timestamp"]["minimum"] == EARLIEST_MS
    text, number = interaction["user"]["anyOf"]
    assert (text["maxLength"], number["type"]) == (256, "integer")
    item = schemas["item"]["$defs"]["Item"]["properties"]["item"]
    assert [kind["type"] for kind in item["anyOf"]] == ["string", "integer"]
    assert decode_item(b'{"item": 42, "title": "Alien"}').item == "42"
    assert schemas["interaction"]["else"]["required"] == ["item"]
    headers = schemas["dead-letter-headers"]["$defs"]["DeadLetterHeaders"]["properties"]
    assert set(headers["error.class"]["enum"]) == set(ERROR_CLASSES)
