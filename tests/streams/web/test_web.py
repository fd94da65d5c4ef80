"""The worker's web server, asked over HTTP, and the command that asks it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator

import pytest
from prometheus_client import CollectorRegistry, Counter
from typer.testing import CliRunner

from streams.cli.app import app
from streams.settings import Settings, SettingsError, WebSettings
from streams.web.server import WebServer, serve
from streams.worker.health import Health
from tests.ports import free_port

TOKEN = "open-sesame"


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def health() -> Health:
    return Health()


@pytest.fixture
def started(port: int, health: Health) -> Iterator[Callable[..., WebServer]]:
    """Starts the server on `port` with these settings."""
    servers = []
    registry = CollectorRegistry()
    Counter("millrace_cups", "Cups of tea.", registry=registry).inc(3)

    def start(**settings: str) -> WebServer:
        server = serve(Settings(web={"port": port} | settings), registry, health)
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.close()


def get(port: int, path: str, token: str | None = None) -> tuple[int, str]:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_metrics_and_health_are_answered(
    port: int, health: Health, started: Callable[..., WebServer]
) -> None:
    started()
    status, text = get(port, "/metrics")
    assert (status, "millrace_cups_total 3.0" in text) == (200, True)
    assert get(port, "/health/live") == (200, '{"status": "live"}')
    status, text = get(port, "/health/ready")
    assert (status, json.loads(text)) == (503, {"status": "not ready", "reason": "starting"})
    health.waiting_for = ""
    assert get(port, "/health/ready") == (200, '{"status": "ready"}')


def test_a_token_guards_all_but_health(
    port: int, health: Health, started: Callable[..., WebServer]
) -> None:
    started(token=TOKEN)
    for token in (None, "", "open", TOKEN + "!", "öffne dich"):
        status, text = get(port, "/metrics", token and token.encode().decode("latin-1"))
        assert (status, "millrace_cups" in text, TOKEN in text) == (401, False, False)
    assert get(port, "/no/such/page")[0] == 401
    assert get(port, "/metrics", TOKEN)[0] == 200
    health.waiting_for = ""
    assert get(port, "/health/live")[0] == get(port, "/health/ready")[0] == 200


def test_only_this_machine_is_answered_unless_told_otherwise(
    port: int, started: Callable[..., WebServer]
) -> None:
    started()
    with socket.socket() as other:  # 127.0.0.2 is another address, and free: nothing took them all
        other.bind(("127.0.0.2", port))


def test_a_port_that_is_taken_is_told(port: int, started: Callable[..., WebServer]) -> None:
    started()
    with pytest.raises(SettingsError, match=rf"web.port = {port}: .*in use"):
        started()


def test_where_no_port_is_set_the_next_free_one_is_taken(
    health: Health, caplog: pytest.LogCaptureFixture
) -> None:
    first = free_port()
    web = WebSettings.model_construct(**WebSettings().model_dump() | {"port": first})
    web.model_fields_set.clear()
    settings = Settings().model_copy(update={"web": web})
    servers = [serve(settings, CollectorRegistry(), health) for _ in range(3)]
    try:
        assert servers[0].port == first
        assert len({server.port for server in servers}) == 3
        assert all(first < server.port < first + 16 for server in servers[1:])
        assert f"port {first} is taken" in caplog.text
        assert get(servers[2].port, "/health/live")[0] == 200
    finally:
        for server in servers:
            server.close()


def test_a_child_that_outlives_the_worker_does_not_keep_the_port(port: int) -> None:
    code = """
import os, signal, socket, sys, time
from prometheus_client import CollectorRegistry
from streams.worker.health import Health
from streams.settings import Settings
from streams.web.server import serve
port = int(sys.argv[1])
server = serve(Settings(web={"port": port}), CollectorRegistry(), Health())
forked, say = os.pipe()
child = os.fork()
if not child:
    os.write(say, b"!")
    time.sleep(60)
os.read(forked, 1)
server.close()
try:
    socket.create_server(("127.0.0.1", port)).close()
    print("free")
finally:
    os.kill(child, signal.SIGKILL)
"""
    command = [sys.executable, "-c", code, str(port)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "free\n", done.stderr


def test_the_command_says_what_the_worker_says(
    port: int, health: Health, started: Callable[..., WebServer]
) -> None:
    def ask(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["health", *arguments, "--set", f"web.port={port}"])
        return result.exit_code, result.output.replace("\n", " ")

    status, told = ask()
    assert (status, f"no worker answers at http://127.0.0.1:{port}" in told) == (1, True)
    server = started(token=TOKEN)
    assert ask() == (1, "millrace: starting ")
    assert ask("--live") == (0, "live ")
    health.waiting_for = ""
    assert ask() == (0, "ready ")
    server.close()
    assert ask()[0] == 1
    result = CliRunner().invoke(app, ["health", "--set", "web.port=0"])
    assert (result.exit_code, "web.port = 0" in result.output) == (2, True)
