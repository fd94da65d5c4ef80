"""Interactions over HTTP, on their way to Kafka."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import pytest

from streams.kafka import clients
from streams.kafka.partitioner import partition_of
from streams.messages.bad_message import BadMessage
from streams.messages.decoding import decode_interaction
from streams.web import message_writer
from streams.web.message_writer import kafka_headers
from tests.ports import free_port
from tests.streams.asking import Heard
from tests.streams.conftest import interaction
from tests.streams.served import PARTITIONS, Served, refusal


def posted(served: Served, heard: Heard) -> Any:
    """The message that an answer of 202 speaks of."""
    assert heard.status == 202, heard.body
    assert heard.body["topic"] == served.topic
    reader = clients.tail_reader(served.settings)
    try:
        found = list(clients.tail(reader, served.topic, heard.body["partition"], 1))
    finally:
        reader.close()
    assert found[-1].offset() == heard.body["offset"]
    return found[-1]


METARANK = (
    b'{"event": "interaction", "id": "x", "timestamp": "1600000000000", "user": "ann", '
    b'"type": "click", "item": "m1"}'
)
GORSE = b'{"FeedbackType": "read", "UserId": "ann", "ItemId": "m1", "Timestamp": "2022-11-20"}'
OWN = b'{ "event_id": "1", "user":"ann","item":"m1", "timestamp": 1600000000000, "kind":"view" }'
STRUCTURED = (
    b'{"specversion": "1.0", "id": "1", "source": "shop", "type": "com.shop.click", '
    b'"time": "2026-01-01T00:00:00Z", "data": {"user": "ann", "item": "m1"}}'
)


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (OWN, {}),
        (METARANK, {}),
        (GORSE, {}),
        (STRUCTURED, {"Content-Type": "application/cloudevents+json; charset=utf-8"}),
        (
            b'{"user": "ann", "item": "m1"}',
            {"ce_specversion": "1.0", "Ce_Id": "a%20b", "CE_source": '"shop"',
             "ce_type": "click", "ce_time": "2026-01-01T00:00:00Z"},
        ),
    ],
    ids=["own", "metarank", "gorse", "structured", "binary"],
)  # fmt: skip
def test_each_form_is_kept_as_it_was_sent(
    served: Served, body: bytes, headers: dict[str, str]
) -> None:
    heard = served.post(body, traceparent="00-1-2-01", **headers)
    message = posted(served, heard)
    assert message.value() == body
    assert message.key() == b"ann"
    assert message.partition() == partition_of("ann", PARTITIONS)
    kept = dict(message.headers())
    assert kept.pop("traceparent") == b"00-1-2-01"
    # the worker reads the same interaction from it
    read = decode_interaction(message.value(), message.headers(), message.timestamp()[1])
    assert (read.user, read.item, read.event_id) == ("ann", "m1", heard.body["event_id"])
    expected = {"ce_id": b"a b", "ce_source": b"shop"} if "ce_type" in headers else {}
    assert kept.items() >= expected.items()
    assert not {"host", "user-agent", "content-length"} & kept.keys()


def test_headers_that_are_no_text_are_told(served: Served) -> None:
    binary = {"ce_id": "%FF", "ce_source": "s", "ce_type": "click", "ce_specversion": "1.0"}
    heard = served.post(b'{"user": "ann", "item": "m1"}', **binary)
    assert refusal(heard) == (400, "NotUtf8")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("%E2%98%95", "☕".encode()),
        ("a%20b%2520", b"a b%20"),
        ('"a b"', b"a b"),
        (r'"a \"b\" \\ %63"', rb'a "b" \ c'),
        ('it is "5"', b'it is "5"'),
        ("\udcff", b"\xff"),
        ("", b""),
    ],
)
def test_attributes_are_decoded_as_http_encodes_them(text: str, value: bytes) -> None:
    headers = [("CE-Id", text), ("X-Other", "1"), ("Content-Type", text), ("Cookie", "c")]
    untouched = text.encode(errors="surrogateescape")
    assert kafka_headers(headers) == [("ce_id", value), ("content-type", untouched)]


BAD = [
    b"",
    b"{",
    b"[]",
    b"\xff",
    b'{"user": "ann"}',
    OWN.replace(b"ann", b" "),
    OWN.replace(b"1600000000000", b"1600000000"),
    OWN.replace(b"1600000000000", b"4102444700000"),
    OWN.replace(b"view", b"stare"),
    OWN.replace(b'"item"', b'"itme"'),
    OWN.replace(b"ann", b"a\\ud800"),
    b'{"properties": ' + b"[" * 5_000,
    METARANK.replace(b'"interaction"', b'"ranking"'),
    GORSE.replace(b"read", b"stare"),
]  # fmt: skip


@pytest.mark.parametrize("body", BAD)
def test_what_the_stream_would_bury_is_refused_in_the_same_words(
    served: Served, body: bytes
) -> None:
    with pytest.raises(BadMessage) as buried:
        decode_interaction(body, [], int(time.time() * 1000))
    heard = served.post(body)
    assert refusal(heard) == (400, buried.value.error_class)
    told, expected = heard.body["error"]["message"], buried.value.message
    # the one message that names the moment
    assert (
        told.partition(", whose timestamp is")[0] == expected.partition(", whose timestamp is")[0]
    )


def test_what_is_too_large_is_refused(served: Served) -> None:
    event = msgspec.json.encode(interaction(1, text="x" * 60_000))
    assert served.post(event).status == 202
    larger = msgspec.json.encode(interaction(1, properties={"x": "x" * 65_400}))
    assert len(larger) <= 65_536
    heard = served.post(larger)  # with its key and headers it is too large
    assert refusal(heard) == (413, "TooLong")
    assert "topics.message_bytes = 65536" in heard.body["error"]["message"]
    heard = served.post(b"x" * 65_537)
    assert refusal(heard) == (413, "TooLong")
    assert "65536" in heard.body["error"]["message"]
    many = {f"ce-x{n}": "x" * 4000 for n in range(5)}
    assert refusal(served.post(msgspec.json.encode(interaction(1)), **many)) == (413, "TooLong")


def test_kafka_is_not_waited_for_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(message_writer, "PATIENCE_SECONDS", 0.5)
    made = Served(f"127.0.0.1:{free_port()}", embedded=False)
    try:
        heard = made.post(msgspec.json.encode(interaction(1)))
        assert refusal(heard) == (503, "Unavailable")
        assert "within 0.5 s" in heard.body["error"]["message"]
        assert int(heard.headers["retry-after"]) > 0
        assert made.get("/users/u1").status == 200  # which needs no Kafka
    finally:
        made.close()
