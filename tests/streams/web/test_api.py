"""What the HTTP API answers, and what it refuses."""

from __future__ import annotations

import asyncio
import socket
import threading

import msgspec
import pytest

from engine import Interaction, lookup
from engine.state.schema import state_digest
from streams.web import engine_access
from streams.web.engine_access import EngineAccess, EngineUnavailableError
from tests.engine.builders import stream
from tests.streams.asking import ask, segment
from tests.streams.served import ODD, Served, refusal

# ------------------------------------------------------------------ what is answered


@pytest.mark.parametrize("user", ["u1", ODD, "u/1", "☕", "nobody", ".."])
def test_recommendations_are_the_engines_with_titles(served: Served, user: str) -> None:
    status, headers, body = served.get(f"/users/{segment(user)}/recommendations?k=7")
    assert (status, headers["content-type"]) == (200, "application/json")
    ranked = served.engine.recommend(user, 7).items
    assert body["items"] == [
        {"item": r.item, "title": lookup.title(served.engine, r.item), "score": r.score,
         "reason": r.reason}
        for r in ranked
    ]  # fmt: skip
    assert len(body["items"]) == 7
    assert body["user"] == user
    assert body["known"] == (user in [ODD, *(event.user for event in stream())])
    assert body["model"] == {"name": "millrace-test", "version": "1"}
    if not body["known"]:
        assert {entry["reason"] for entry in body["items"]} == {"trending"}
    assert len(served.get(f"/users/{segment(user)}/recommendations").body["items"]) == 10


def test_what_a_user_took_is_told_newest_first(served: Served) -> None:
    body = served.get(f"/users/{segment(ODD)}").body
    taken = body["interactions"]
    assert (body["user"], body["known"], taken[0]["item"]) == (ODD, True, ODD)
    assert (taken[0]["title"], taken[0]["weight"]) == ("The Odd", 1.0)
    times = [entry["timestamp"] for entry in taken]
    assert len(times) == 11
    assert times == sorted(times, reverse=True)
    assert served.get("/users/nobody").body == {
        "user": "nobody",
        "known": False,
        "interactions": [],
    }


@pytest.mark.parametrize("item", ["film-1", ODD])
def test_neighbours_are_the_lookups(served: Served, item: str) -> None:
    body = served.get(f"/items/{segment(item)}/neighbours?k=3").body
    found = lookup.neighbours(served.engine, item, 3)
    assert len(found) == 3
    assert body["neighbours"] == [msgspec.to_builtins(each) for each in found]
    assert (body["item"], body["title"]) == (item, lookup.title(served.engine, item))


def test_asking_teaches_nothing(served: Served) -> None:
    before = state_digest(served.engine)
    for user in ("u1", ODD, "nobody"):
        assert served.get(f"/users/{segment(user)}").status == 200
        assert served.get(f"/users/{segment(user)}/recommendations?k=100").status == 200
    assert served.get("/items/film-1/neighbours").status == 200
    assert state_digest(served.engine) == before


# ------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("path", "status", "class_", "told"),
    [
        ("/users/u1/recommendations?k=0", 400, "OutOfRange", "k: '0'"),
        ("/users/u1/recommendations?k=101", 400, "OutOfRange", "k: '101'"),
        ("/items/film-1/neighbours?k=-1", 400, "OutOfRange", "k: '-1'"),
        ("/users/u1/recommendations?k=ten", 400, "WrongType", "k: 'ten'"),
        ("/users/u1/recommendations?k=", 400, "WrongType", "k: ''"),
        ("/users/u1/recommendations?k=" + "9" * 5000, 400, "OutOfRange", "k: '999"),
        ("/users/%20/recommendations", 400, "EmptyId", "user: ' '"),
        ("/users/a%0Ab", 400, "OutOfRange", "user: 'a\\nb'"),
        ("/users/%ED%A0%80", 400, "NotUtf8", "user: "),
        ("/items/%FF/neighbours", 400, "NotUtf8", "item: "),
        ("/users/" + "a" * 257, 400, "TooLong", "257"),
        ("/items/nothing/neighbours", 404, "NotFound", "item: 'nothing'"),
        ("/users", 404, "NotFound", "/users"),
        ("/users//recommendations", 404, "NotFound", "/users//recommendations"),
        ("/users/a/b", 404, "NotFound", "/users/a/b"),
        ("/interactions", 405, "MethodNotAllowed", "GET /interactions"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told_by_field_and_value(
    served: Served, path: str, status: int, class_: str, told: str
) -> None:
    heard = served.get(path)
    assert refusal(heard) == (status, class_)
    assert told in heard.body["error"]["message"]


def test_a_wrong_method_is_told_the_right_ones(served: Served) -> None:
    for method in ("POST", "PUT", "PATCH", "OPTIONS"):
        heard = ask(served.port, "/users/u1", method)
        assert refusal(heard) == (405, "MethodNotAllowed")
        assert heard.headers["allow"] == "DELETE,GET,HEAD"


def test_a_worker_that_is_not_ready_says_so(served: Served) -> None:
    served.health.waiting_for = "catching up: 7 messages to go"
    try:
        for path in ("/users/u1", "/users/u1/recommendations", "/items/film-1/neighbours"):
            heard = served.get(path)
            assert refusal(heard) == (503, "Unavailable")
            assert "catching up: 7 messages to go" in heard.body["error"]["message"]
            assert int(heard.headers["retry-after"]) > 0
    finally:
        served.health.waiting_for = ""


def test_a_worker_whose_loop_hangs_says_so_and_is_asked_no_more(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_access, "PATIENCE_SECONDS", 0.2)
    asked: list[str] = []
    monkeypatch.setattr(lookup, "knows_user", lambda engine, user: bool(asked.append(user)))
    hang = threading.Event()
    served.loop.call_soon_threadsafe(hang.wait)
    try:
        assert refusal(served.get("/users/u1")) == (503, "Unavailable")
        assert served.get("/health/live").status == 200
    finally:
        hang.set()
    assert served.get("/users/u2").status == 200
    assert asked == ["u2"]


def test_what_goes_wrong_in_the_engine_is_logged_and_not_told(
    served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_arguments: object) -> None:
        raise RuntimeError("secret inside")

    monkeypatch.setattr(lookup, "recent", fail)
    heard = served.get("/users/u1")
    assert refusal(heard) == (500, "Internal")
    assert "secret inside" not in heard.body["error"]["message"]
    assert "secret inside" in caplog.text


def test_what_is_no_http_is_refused_without_a_word_in_the_log(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    for rubbish in (b"\x16\x03\x01\r\n\r\n", b"GET / HTTP/1.1\r\nHost: \x00\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", served.port), timeout=10) as connection:
            connection.sendall(rubbish)
            heard = connection.recv(10_000)
        assert heard.startswith(b"HTTP/1.0 400 ") or heard.startswith(b"HTTP/1.1 400 ")
        assert b"Traceback" not in heard
    assert served.get("/health/live").status == 200
    assert caplog.text == ""


def test_an_engine_is_not_asked_before_its_loop_runs_nor_after() -> None:
    async def ask_it(access: EngineAccess) -> int:
        return await access.ask(lambda: 7)

    access = EngineAccess()
    with pytest.raises(EngineUnavailableError, match="starting"):
        asyncio.run(ask_it(access))
    closed = asyncio.new_event_loop()
    closed.close()
    access.open(closed)
    with pytest.raises(EngineUnavailableError, match="ending"):
        asyncio.run(ask_it(access))


# ------------------------------------------------------------------ the document


def test_the_document_tells_every_route_and_none_else(served: Served) -> None:
    document = served.get("/openapi.json").body
    assert document["openapi"] == "3.1.0"
    told = {(m, path) for path, methods in document["paths"].items() for m in methods}
    assert told == {(each.method.lower(), each.path) for each in served.operations}
    assert told == {
        ("get", "/users/{user}"),
        ("delete", "/users/{user}"),
        ("get", "/users/{user}/recommendations"),
        ("get", "/items/{item}"),
        ("put", "/items/{item}"),
        ("patch", "/items/{item}"),
        ("delete", "/items/{item}"),
        ("get", "/items/{item}/neighbours"),
        ("get", "/items/{item}/similar"),
        ("get", "/popular"),
        ("get", "/trending"),
        ("get", "/workers"),
        ("get", "/forgetting"),
        ("post", "/interactions"),
    }
    schemas = document["components"]["schemas"]
    assert schemas["Interaction"]["properties"].keys() == set(Interaction.__struct_fields__)
    text = msgspec.json.encode(document).decode()
    for reference in text.split('"$ref":"#/components/schemas/')[1:]:
        assert reference.partition('"')[0] in schemas
