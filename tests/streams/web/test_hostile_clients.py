"""What hostile clients do, and that others are answered all the while."""

from __future__ import annotations

import gzip
import logging
import socket
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from streams.brokers import EmbeddedBroker
from streams.settings import Settings
from streams.web.server import serve
from streams.worker.health import Health
from tests.ports import free_port
from tests.streams.conftest import interaction
from tests.streams.served import Served, refusal
from tests.streams.waiting import until

EVENT = msgspec.json.encode(interaction(1))


@pytest.fixture
def serving(embedded: EmbeddedBroker) -> Iterator[Callable[..., Served]]:
    """Starts an API with these settings of `[web]`."""
    with ExitStack() as opened:

        def start(**web: object) -> Served:
            made = Served(embedded.bootstrap, **web)  # type: ignore[arg-type]
            opened.callback(made.close)
            return made

        yield start


def connected(served: Served, sent: bytes = b"") -> socket.socket:
    client = socket.create_connection(("127.0.0.1", served.port), timeout=20)
    client.sendall(sent)
    return client


def gone(client: socket.socket) -> bool:
    """Whether the server ends the connection without an answer."""
    try:
        return client.recv(1) == b""
    except ConnectionError:
        return True


def test_idle_connections_make_room_for_others(serving: Callable[..., Served]) -> None:
    served = serving(connections=8)
    idle = [connected(served) for _ in range(40)]
    assert served.get("/users/u1").status == 200
    assert all(gone(client) for client in idle[:32])
    for client in idle:
        client.close()


def test_connections_that_make_room_before_their_handler_begins_are_no_failure(
    serving: Callable[..., Served], caplog: pytest.LogCaptureFixture
) -> None:
    served = serving(connections=4, body_seconds=0.3)
    head = b"POST /interactions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n{"
    clients = []
    for _ in range(300):
        with suppress(ConnectionError):
            clients.append(connected(served, head))

    def is_answered() -> bool:
        with suppress(ConnectionError):
            return served.get("/users/u1").status == 200
        return False

    until(is_answered, 60, "places are free")
    assert not caplog.records
    for client in clients:
        client.close()


@pytest.mark.parametrize("sent", [b"", b"GET /users/u1 HTTP/1.1\r\nHost: local"])
def test_a_connection_without_a_whole_header_is_closed(
    serving: Callable[..., Served], sent: bytes
) -> None:
    served = serving(idle_seconds=0.3)
    client = connected(served, sent)
    assert gone(client)
    client.close()


def test_a_request_in_work_keeps_its_connection(serving: Callable[..., Served]) -> None:
    served = serving(connections=1, body_seconds=20)
    head = b"POST /interactions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    # One whose answer to `Expect` shows that its handler is at work.
    busy = connected(served, head + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n"
                     % len(EVENT))  # fmt: skip
    assert busy.recv(100).startswith(b"HTTP/1.1 100")
    refused = connected(served)
    assert gone(refused)
    busy.sendall(EVENT)
    assert busy.recv(100).startswith(b"HTTP/1.1 202")
    busy.close()
    until(lambda: served.get("/users/u1").status == 200, 60, "the place is free")


def test_a_body_that_does_not_come_is_not_waited_for(serving: Callable[..., Served]) -> None:
    served = serving(body_seconds=0.3)
    client = connected(
        served, b"POST /interactions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n{"
    )
    assert client.recv(1000).startswith(b"HTTP/1.1 408")
    client.close()


def test_bodies_are_limited_before_they_are_read_and_as_they_are_unpacked(
    serving: Callable[..., Served],
) -> None:
    served = serving(body_bytes=20_000)
    client = connected(
        served,
        b"POST /interactions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20001\r\n\r\n",
    )
    assert client.recv(1000).startswith(b"HTTP/1.1 413")  # nothing of the body was sent
    client.close()
    packed = {"Content_Encoding": "gzip"}
    bomb = gzip.compress(b" " * 20_000_000, mtime=0)
    assert len(bomb) < 20_000
    assert refusal(served.post(bomb, **packed)) == (413, "TooLong")
    assert served.post(gzip.compress(EVENT, mtime=0), **packed).status == 202


@pytest.mark.parametrize(
    "body",
    [
        b"no gzip at all",
        gzip.compress(EVENT, mtime=0)[:-20] + b"\0" * 20,
        gzip.compress(EVENT, mtime=0)[:-20],
        gzip.compress(EVENT, mtime=0) + b"more",
    ],
    ids=["none", "damaged", "cut", "followed"],
)
def test_a_malformed_gzip_is_the_senders_fault(
    serving: Callable[..., Served], body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    served = serving()
    status, _ = refusal(served.post(body, Content_Encoding="gzip"))
    assert status == 400
    assert not caplog.records


def test_what_is_packed_is_unpacked_or_refused_by_the_name_of_its_encoding(
    serving: Callable[..., Served],
) -> None:
    served = serving()
    middle = len(EVENT) // 2
    members = gzip.compress(EVENT[:middle], mtime=0) + gzip.compress(EVENT[middle:], mtime=0)
    assert served.post(members, Content_Encoding="gzip").status == 202
    assert served.post(zlib.compress(EVENT), Content_Encoding="deflate").status == 202
    assert served.post(EVENT, Content_Encoding="identity").status == 202
    heard = served.post(EVENT, Content_Encoding="br")
    assert heard.status == 415
    assert "Content-Encoding: 'br' is not known" in heard.body["error"]["message"]


def test_a_malformed_late_chunk_is_answered(serving: Callable[..., Served]) -> None:
    # aiohttp's parser stops without a word to who waits for the body: time runs out.
    served = serving(body_seconds=0.5)
    client = connected(
        served,
        b"POST /interactions HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n",
    )
    assert client.recv(100).startswith(b"HTTP/1.1 100")
    client.sendall(b"1\r\n{\r\nno size\r\n")
    assert client.recv(1000).startswith(b"HTTP/1.1 408")
    client.close()


def test_an_address_has_so_many_requests_a_second(serving: Callable[..., Served]) -> None:
    served = serving(requests_per_second=5)
    heard = [served.get("/users/u1") for _ in range(30)]
    assert {one.status for one in heard[:5]} == {200}
    late = [one for one in heard if one.status != 200]
    assert len(late) > 10
    assert {refusal(one) for one in late} == {(429, "TooManyRequests")}
    assert {one.headers["retry-after"] for one in late} == {"2"}
    until(lambda: served.get("/users/u1").status == 200, 60, "the bucket fills again")


def test_a_browser_says_that_another_site_sends(serving: Callable[..., Served]) -> None:
    served = serving()
    for site in ("cross-site", "same-site", "Cross-Site"):
        assert refusal(served.post(EVENT, Sec_Fetch_Site=site)) == (403, "Forbidden")
    assert served.post(EVENT, Sec_Fetch_Site="same-origin").status == 202


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_is_written_in_any_case(serving: Callable[..., Served], scheme: str) -> None:
    served = serving(token="sesame")
    assert served.get("/users/u1", Authorization=f"{scheme} sesame").status == 200
    for wrong in ("Basic sesame", "sesame", f"{scheme} Sesame", scheme):
        assert served.get("/users/u1", Authorization=wrong).status == 401


@pytest.mark.parametrize(("token", "warned"), [("", True), ("sesame", False)])
def test_an_open_door_is_warned_of(
    token: str, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings(web={"host": "0.0.0.0", "port": free_port(), "token": token})
    with caplog.at_level(logging.WARNING, logger="millrace.web"):
        serve(settings, CollectorRegistry(), Health()).close()
    assert ("without a token" in caplog.text) is warned
