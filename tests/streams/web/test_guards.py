"""Whom the web server refuses."""

from __future__ import annotations

import msgspec
import pytest

from streams.brokers import EmbeddedBroker
from tests.streams.asking import ask
from tests.streams.conftest import interaction
from tests.streams.served import Served, refusal


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


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/items/m1"),
        ("PATCH", "/items/m1"),
        ("DELETE", "/items/m1"),
        ("DELETE", "/users/u1"),
    ],
)
def test_no_route_that_writes_is_open_to_others(
    served: Served, embedded: EmbeddedBroker, method: str, path: str
) -> None:
    for headers in (
        {"Origin": "http://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Host": "evil.example"},
    ):
        heard = ask(served.port, path, method, b'{"hidden": true}', headers)
        assert refusal(heard) == (403, "Forbidden")
    made = Served(embedded.bootstrap, token="sesame")
    try:
        assert refusal(ask(made.port, path, method, b"{}")) == (401, "Unauthorized")
    finally:
        made.close()


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
