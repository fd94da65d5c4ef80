"""The HTTP API over a real engine and a real broker, in this process: answers and refusals."""

from __future__ import annotations

import asyncio
import itertools
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from engine import Interaction, Item, Recommender, lookup
from engine.state import state_digest
from streams import clients
from streams.brokers import EmbeddedBroker
from streams.health import Health
from streams.messages import BadMessage, Model, decode_interaction
from streams.replay import partition_of
from streams.settings import Settings
from streams.web import engine_access, posting
from streams.web.api import Api
from streams.web.engine_access import EngineAccess, EngineUnavailableError
from streams.web.posting import InteractionWriter, kafka_headers
from streams.web.server import WebServer, serve
from tests.engine.builders import WITHOUT_TEXT, stream, took
from tests.streams.asking import Heard, ask, free_port, segment
from tests.streams.conftest import interaction

ODD = "a/b 🎬 {%2F}?#"
PARTITIONS = 4
JSON = {"Content-Type": "application/json"}
_marks = itertools.count()


def small_engine() -> Recommender:
    """Some invented users and items, one of either with an id that a URL has to encode."""
    made = Recommender(WITHOUT_TEXT)
    made.upsert_item(Item(item="film-1", title="The First"))
    made.upsert_item(Item(item=ODD, title="The Odd"))
    for number, event in enumerate(stream()):
        made.observe(event, answer=False)
        if number % 40 == 0:
            made.observe(took(ODD, event.item, number), answer=False)
    made.observe(took(ODD, ODD, 1000), answer=False)
    for user in (ODD, "nobody"):  # a first answer may have to compile kernels
        made.recommend(user)
    return made


class Served:
    """An API with an engine of its own, the worker's loop being a thread that runs one."""

    def __init__(self, bootstrap: str, embedded: bool = True, **web: str) -> None:
        self.port = free_port()
        topic = f"posted.{next(_marks)}"
        self.settings = Settings(
            broker={"bootstrap": bootstrap, "embedded": embedded},
            topics={"interactions": topic, "message_bytes": 65_536},
            web={"port": self.port} | web,
        )
        self.topic = topic
        self.engine = small_engine()
        self.health = Health(waiting_for="")
        self.loop = asyncio.new_event_loop()
        self.access = EngineAccess()
        self.access.open(self.loop)
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        writer = InteractionWriter(self.settings, PARTITIONS)
        model = Model("millrace-test", "1")
        api = Api(self.engine, model, self.access, self.health, writer, self.settings)
        self.operations = api.operations
        server = serve(self.settings, CollectorRegistry(), self.health, api.routes())
        assert server is not None
        self.server: WebServer = server

    def get(self, path: str, **headers: str) -> Heard:
        return ask(self.port, path, headers=headers)

    def post(self, body: bytes, **headers: str) -> Heard:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return ask(self.port, "/interactions", "POST", body, JSON | named)

    def close(self) -> None:
        self.server.close()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


@pytest.fixture(scope="module")
def served(embedded: EmbeddedBroker) -> Iterator[Served]:
    made = Served(embedded.bootstrap)
    embedded.create_topic(made.topic, PARTITIONS)
    yield made
    made.close()


def refusal(heard: Heard) -> tuple[int, str]:
    """Status and class of a refusal, which is JSON of one form and has one line."""
    assert heard.headers["content-type"] == "application/json"
    assert heard.body.keys() == {"error"}
    assert heard.body["error"].keys() == {"class", "message"}
    message = heard.body["error"]["message"]
    assert message
    assert "\n" not in message
    assert "Traceback" not in message
    return heard.status, heard.body["error"]["class"]


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
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        heard = ask(served.port, "/users/u1", method)
        assert refusal(heard) == (405, "MethodNotAllowed")
        assert heard.headers["allow"] == "GET,HEAD"


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


# ------------------------------------------------------------------ who is refused


def test_other_sites_pages_may_send_nothing(served: Served) -> None:
    event = msgspec.json.encode(interaction(1))
    for origin in (
        "http://evil.example",
        "null",
        f"http://127.0.0.1:{served.port + 1}",
        "http://[",
        "",
    ):
        assert refusal(served.post(event, Origin=origin)) == (403, "Forbidden")
    ours = f"http://127.0.0.1:{served.port}"
    assert served.post(event, Origin=ours).status == 202
    assert served.get("/users/u1", Origin="http://evil.example").status == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "[::1", "", "10.0.0.1"])
def test_this_machine_is_not_called_by_other_names(served: Served, host: str) -> None:
    for path in ("/users/u1", "/metrics", "/openapi.json"):
        assert refusal(served.get(path, Host=host)) == (403, "Forbidden")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "127.0.0.1:6066", "[::1]:6066"])
def test_this_machine_is_called_by_its_own_names(served: Served, host: str) -> None:
    assert served.get("/users/u1", Host=host).status == 200


def test_with_a_token_it_decides_and_not_the_name(embedded: EmbeddedBroker) -> None:
    made = Served(embedded.bootstrap, token="sesame")
    try:
        assert refusal(made.get("/users/u1")) == (401, "Unauthorized")
        right = {"Authorization": "Bearer sesame", "Host": "millrace.example"}
        assert made.get("/users/u1", **right).status == 200
        evil = right | {"Origin": "http://evil.example"}
        assert refusal(made.post(msgspec.json.encode(interaction(1)), **evil)) == (403, "Forbidden")
        document = made.get("/openapi.json", **right).body
        assert document["security"] == [{"token": []}]
        for methods in document["paths"].values():
            for operation in methods.values():
                assert {"401", "403"} <= operation["responses"].keys()
    finally:
        made.close()


# ------------------------------------------------------------------ interactions to Kafka


def posted(served: Served, heard: Heard) -> Any:
    """The message that an answer of 202 speaks of."""
    assert heard.status == 202, heard.body
    assert heard.body["topic"] == served.topic
    reader = clients.reader(served.settings, **{"enable.partition.eof": True})
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
    b'{"properties": ' + b"[" * 20_000,
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
    assert "topics.message_bytes = 65536" in heard.body["error"]["message"]
    many = {f"ce-x{n}": "x" * 4000 for n in range(5)}
    assert refusal(served.post(msgspec.json.encode(interaction(1)), **many)) == (413, "TooLong")


def test_kafka_is_not_waited_for_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posting, "PATIENCE_SECONDS", 0.5)
    made = Served(f"127.0.0.1:{free_port()}", embedded=False)
    try:
        heard = made.post(msgspec.json.encode(interaction(1)))
        assert refusal(heard) == (503, "Unavailable")
        assert "within 0.5 s" in heard.body["error"]["message"]
        assert int(heard.headers["retry-after"]) > 0
        assert made.get("/users/u1").status == 200  # which needs no Kafka
    finally:
        made.close()


# ------------------------------------------------------------------ the document


def test_the_document_tells_every_route_and_none_else(served: Served) -> None:
    document = served.get("/openapi.json").body
    assert document["openapi"] == "3.1.0"
    told = {(m, path) for path, methods in document["paths"].items() for m in methods}
    assert told == {(each.method.lower(), each.path) for each in served.operations}
    assert told == {
        ("get", "/users/{user}"),
        ("get", "/users/{user}/recommendations"),
        ("get", "/items/{item}/neighbours"),
        ("post", "/interactions"),
    }
    schemas = document["components"]["schemas"]
    assert schemas["Interaction"]["properties"].keys() == set(Interaction.__struct_fields__)
    text = msgspec.json.encode(document).decode()
    for reference in text.split('"$ref":"#/components/schemas/')[1:]:
        assert reference.partition('"')[0] in schemas
