"""Items over HTTP: what is written is what a worker reads, and what is known is told."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from engine import Item
from streams.kafka import clients
from streams.messages.decoding import decode_item_update
from tests.streams.asking import Heard, ask, segment
from tests.streams.served import JSON, ODD, Served, refusal


def send(served: Served, method: str, item: str, body: Any = None) -> Heard:
    data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    return ask(served.port, f"/items/{segment(item)}", method, data, JSON)


def written(served: Served, heard: Heard) -> tuple[bytes, bytes | None]:
    """Key and value of the message that an answer of 202 speaks of."""
    assert heard.status == 202, heard.body
    assert heard.body["topic"] == served.settings.topics.items
    reader = clients.tail_reader(served.settings)
    try:
        *_, last = clients.tail(reader, heard.body["topic"], heard.body["partition"], 1)
    finally:
        reader.close()
    assert last.offset() == heard.body["offset"]
    return last.key(), last.value()


def read(value: bytes | None) -> tuple[Item, frozenset[str]]:
    return decode_item_update(value)


def test_what_is_known_of_an_item_is_told(served: Served) -> None:
    served.engine.upsert_item(Item(item=ODD, title="The Odd", categories=["Oddities"]))
    body = served.get(f"/items/{segment(ODD)}").body
    taken = body.pop("taken")
    assert body == {
        "item": ODD, "title": "The Odd", "categories": ["Oddities"], "hidden": False,
        "listed": True,
    }  # fmt: skip
    assert taken > 0
    assert refusal(served.get("/items/nothing")) == (404, "NotFound")


def test_put_describes_an_item_anew(served: Served) -> None:
    content = {"title": "Alien", "text": "A crew.", "categories": ["Horror"],
               "properties": {"year": 1979}, "hidden": False}  # fmt: skip
    key, value = written(served, send(served, "PUT", ODD, content))
    item, given = read(value)
    assert key == ODD.encode()
    assert item == msgspec.convert({"item": ODD} | content, Item)
    assert {"title", "text", "categories", "properties", "hidden"} <= given
    _, value = written(served, send(served, "PUT", "bare", {}))
    assert json.loads(value or b"") == {
        "item": "bare", "title": "", "text": "", "categories": [], "properties": {},
        "hidden": False,
    }  # fmt: skip


def test_patch_says_what_is_given_and_what_must_stand_beside_it(served: Served) -> None:
    served.engine.upsert_item(Item(item="film-1", title="The First", categories=["Drama"]))

    def patched(**fields: Any) -> dict[str, Any]:
        _, value = written(served, send(served, "PATCH", "film-1", fields))
        found: dict[str, Any] = json.loads(value or b"")
        assert found.pop("item") == "film-1"
        return found

    assert patched(properties={"price": 3}) == {"properties": {"price": 3}}
    assert patched(hidden=True) == {"hidden": True}
    assert patched(text="New.") == {"text": "New.", "title": "The First", "categories": ["Drama"]}
    assert patched(title="Second", text="") == {
        "title": "Second", "text": "", "categories": ["Drama"],
    }  # fmt: skip
    served.engine.upsert_item(
        Item(item="film-1", title="The First", categories=["Drama"], hidden=True)
    )
    # A later message takes the place of the one that hid it: it has to say so again.
    assert patched(properties={"price": 3}) == {"properties": {"price": 3}, "hidden": True}
    assert patched(hidden=False) == {"hidden": False}
    served.engine.upsert_item(Item(item="film-1", title="The First"))


def test_delete_writes_a_tombstone(served: Served) -> None:
    assert written(served, send(served, "DELETE", "gone")) == (b"gone", None)


@pytest.mark.parametrize(
    ("method", "item", "body", "status", "class_", "told"),
    [
        ("PATCH", "film-1", {"title": "x"}, 400, "MissingField", "text: missing"),
        ("PATCH", "film-1", {}, 400, "MissingField", "nothing to change"),
        ("PATCH", "nothing", {"hidden": True}, 404, "NotFound", "'nothing'"),
        ("PUT", "film-1", {"titel": "x"}, 400, "UnknownField", "titel: no such"),
        ("PUT", "film-1", {"item": "other"}, 400, "UnknownField", "item: no such"),
        ("PUT", "film-1", {"title": 7}, 400, "WrongType", "title: 7"),
        ("PUT", "film-1", [], 400, "NotAnObject", "[]"),
        ("PUT", "film-1", b"{", 400, "NotJson", "character"),
        ("PUT", "film-1", b"", 400, "NotJson", "character"),
        ("PUT", " ", {}, 400, "EmptyId", "item: ' '"),
        ("PUT", "film-1", {"text": "x" * 100_001}, 400, "TooLong", "100001"),
        ("PUT", "film-1", {"text": "x" * 70_000}, 413, "TooLong", "topics.message_bytes = 65536"),
        ("PUT", "film-1", {"properties": {"a": [1] * 11_000}}, 413, "TooLong", "10000"),
        ("PUT", "film-1", b"x" * 1_100_000, 413, "TooLong", "web.body_bytes"),
    ],
)
def test_what_does_not_fit_is_told(
    served: Served, method: str, item: str, body: Any, status: int, class_: str, told: str
) -> None:
    heard = send(served, method, item, body)
    assert refusal(heard) == (status, class_)
    assert told in heard.body["error"]["message"]


# ------------------------------------------------------------------ forgetting a user


def test_a_user_is_forgotten_only_where_there_is_a_token(served: Served) -> None:
    heard = ask(served.port, "/users/u1", "DELETE")
    assert refusal(heard) == (403, "Forbidden")
    assert "MILLRACE_WEB__TOKEN" in heard.body["error"]["message"]


def test_with_the_token_a_forget_is_written(embedded: Any) -> None:
    made = Served(embedded.bootstrap, token="open-sesame")
    embedded.create_topic(made.topic, 4)
    try:
        assert ask(made.port, "/users/ann", "DELETE").status == 401
        bearer = {"Authorization": "Bearer open-sesame"}
        heard = ask(made.port, f"/users/{segment(ODD)}", "DELETE", headers=bearer)
        assert heard.status == 202
        reader = clients.tail_reader(made.settings)
        *_, last = clients.tail(reader, made.topic, heard.body["partition"], 1)
        reader.close()
        event = json.loads(last.value())
        assert (event["user"], event["kind"], last.key()) == (ODD, "forget", ODD.encode())
        assert event["event_id"] == heard.body["event_id"]
    finally:
        made.close()
