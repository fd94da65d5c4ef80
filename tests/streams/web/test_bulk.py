"""Many interactions in one request."""

from __future__ import annotations

import gzip
import json
from typing import Any

import msgspec
import pytest

from streams.kafka import clients
from streams.kafka.partitioner import partition_of
from streams.messages.decoding import decode_interaction
from streams.web import request_body
from tests.streams.asking import Heard, ask
from tests.streams.conftest import interaction
from tests.streams.served import JSON, PARTITIONS, Served, refusal

LINES = {"Content-Type": "application/x-ndjson"}
GOOD = [msgspec.to_builtins(interaction(n, user=f"u{n % 3}")) for n in range(7)]
BAD = {"event_id": "x", "user": "ann"}


def send(served: Served, body: bytes, query: str = "", **headers: str) -> Heard:
    named = JSON | {name.replace("_", "-"): value for name, value in headers.items()}
    return ask(served.port, f"/interactions{query}", "POST", body, named)


def encoded(*events: Any) -> bytes:
    return json.dumps(events).encode()


def held(served: Served) -> dict[str, tuple[int, int]]:
    """Partition and offset of each event that the topic has, by its id."""
    reader = clients.tail_reader(served.settings)
    try:
        return {
            decode_interaction(m.value(), m.headers() or ()).event_id: (number, m.offset())
            for number in range(PARTITIONS)
            for m in clients.tail(reader, served.topic, number, 1_000_000)
        }
    finally:
        reader.close()


@pytest.mark.parametrize("form", ["array", "lines", "gzip"])
def test_each_has_a_result_that_says_where_it_is(served: Served, form: str) -> None:
    events = [event | {"event_id": f"{form} {n}"} for n, event in enumerate(GOOD)]
    body, headers = encoded(*events), {}
    if form == "lines":
        body = b"\r\n".join(json.dumps(event).encode() for event in events) + b"\n\n"
        headers = {"Content_Type": "application/x-ndjson"}
    elif form == "gzip":
        body, headers = gzip.compress(body), {"Content_Encoding": "gzip"}
    heard = send(served, body, **headers)
    assert (heard.status, heard.body["accepted"], heard.body["refused"]) == (202, 7, 0)
    assert heard.body["topic"] == served.topic
    there = held(served)
    for event, result in zip(events, heard.body["results"], strict=True):
        assert result["event_id"] == event["event_id"]
        assert (result["partition"], result["offset"]) == there[event["event_id"]]
        assert result["partition"] == partition_of(event["user"], PARTITIONS)
    for user in {event["user"] for event in events}:
        offsets = [there[e["event_id"]][1] for e in events if e["user"] == user]
        assert offsets == sorted(offsets)


def test_one_that_cannot_be_read_keeps_none_of_the_others_out(served: Served) -> None:
    first, last = (event | {"event_id": f"mixed {n}"} for n, event in enumerate(GOOD[:2]))
    heard = send(served, encoded(first, BAD, last))
    assert (heard.status, heard.body["accepted"], heard.body["refused"]) == (207, 2, 1)
    assert heard.body["results"][1] == {
        "error": {
            "class": "MissingField",
            "message": "timestamp: missing; the message has ['event_id', 'user']",
        }
    }
    assert {"mixed 0", "mixed 1"} <= held(served).keys()


def test_all_or_nothing_writes_nothing_unless_all_can_be_read(served: Served) -> None:
    event = GOOD[0] | {"event_id": "all or nothing"}
    heard = send(served, encoded(event, BAD), "?all_or_nothing=true")
    assert (heard.status, heard.body["accepted"], heard.body["refused"]) == (400, 0, 2)
    assert [each["error"]["class"] for each in heard.body["results"]] == [
        "NotWritten", "MissingField",
    ]  # fmt: skip
    assert heard.body["results"][0]["event_id"] == "all or nothing"
    assert "all or nothing" not in held(served)
    assert send(served, encoded(event), "?all_or_nothing=true").status == 202
    assert "all or nothing" in held(served)


def test_a_request_of_which_nothing_can_be_read_is_refused(served: Served) -> None:
    heard = send(served, encoded(BAD, 7))
    assert (heard.status, heard.body["refused"]) == (400, 2)
    assert heard.body["results"][1]["error"]["class"] == "NotAnObject"
    for body in (b"[]", b"[1,", b"[{]"):
        assert refusal(send(served, body))[0] == 400


def test_a_batch_of_cloud_events_is_read_and_binary_mode_carries_one(served: Served) -> None:
    event = {
        "specversion": "1.0", "id": "batch", "source": "shop", "type": "com.shop.click",
        "time": "2026-01-01T00:00:00Z", "data": {"user": "ann", "item": "m1"},
    }  # fmt: skip
    heard = send(
        served, encoded(event), Content_Type="application/cloudevents-batch+json; charset=utf-8"
    )
    assert (heard.status, heard.body["results"][0]["event_id"]) == (202, "shop/batch")
    told = send(served, encoded(GOOD[0]), ce_id="1")
    assert refusal(told)[0] == 400
    assert "application/cloudevents-batch+json" in told.body["error"]["message"]


def test_bodies_have_limits(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_body, "MOST_MESSAGES", 3)
    assert refusal(send(served, encoded(*GOOD))) == (413, "TooLong")
    large = GOOD[0] | {"event_id": "large", "text": "x" * 70_000}
    heard = send(served, encoded(large, GOOD[1] | {"event_id": "beside it"}))
    assert heard.status == 207  # the topic takes 65,536 bytes a message
    assert heard.body["results"][0]["error"]["class"] == "TooLong"
    bomb = gzip.compress(b"[" + b" " * 2_000_000 + b"]")
    assert refusal(send(served, bomb, Content_Encoding="gzip")) == (413, "TooLong")
    assert refusal(send(served, b"no gzip", Content_Encoding="gzip"))[0] == 400
