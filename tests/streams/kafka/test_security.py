"""Clients of a broker with TLS, SASL and access rights: who gets in, what the others are told."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path as FilePath
from typing import Any

import pytest

from streams.brokers import BrokerError, topic_partitions
from streams.brokers.errors import RefusedError
from streams.kafka import rights, topics
from streams.kafka.security import for_librdkafka
from streams.messages.schemas import Source
from streams.processes import Child
from streams.settings import SecuritySettings, Settings, SettingsError
from streams.settings_io import as_environment
from streams.web.errors import RefusedRequest
from streams.web.message_writer import MessageWriter
from tests.conftest import TOPICS
from tests.streams.commands import millrace
from tests.streams.conftest import Path, interaction
from tests.streams.secured import USERS, Secured, start
from tests.streams.waiting import until

MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
WRONG = "hunter2-and-a-half"


@pytest.fixture(scope="module")
def secured(kafka_jars: FilePath, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """One broker with a listener for each way in."""
    found = start(tmp_path_factory.mktemp("secured"))
    yield found
    found.server.close()


@pytest.fixture
def login(secured: Secured) -> Callable[..., Settings]:
    """Settings of a user on the listener with TLS and SASL, with topics of this test's own."""
    mark = uuid.uuid4().hex[:8]

    def make(user: str = "ann", password: str | None = None, **security: Any) -> Settings:
        return Settings(
            broker={"bootstrap": secured.both},
            topics={name: f"{name.replace('_', '-')}.{mark}" for name in TOPICS}
            | {"partitions": 1},
            worker={"group": f"group.{mark}"},
            web={"port": 0},
            security={
                "protocol": "sasl_ssl",
                "ca": str(secured.folder / "ca.pem"),
                "user": user,
                "password": password or USERS[user],
            }
            | security,
        )

    return make


def worker(settings: Settings) -> subprocess.CompletedProcess[str]:
    """One that ends by itself."""
    return subprocess.run(
        [sys.executable, "-m", "streams.cli", "worker"],
        env=os.environ | as_environment(settings) | {"COLUMNS": "1000"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


# ------------------------------------------------------------------ who gets in


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("listener", [pytest.param("both", marks=pytest.mark.long), "sasl"])
def test_each_mechanism_lets_a_user_in(
    secured: Secured, login: Callable[..., Settings], listener: str, mechanism: str
) -> None:
    security = login(mechanism=mechanism).security
    if listener == "sasl":
        security = security.model_copy(update={"protocol": "sasl_plaintext", "ca": ""})
    assert topic_partitions(getattr(secured, listener), security=security) is not None


def test_all_commands_work_over_tls_and_sasl(
    secured: Secured, login: Callable[..., Settings]
) -> None:
    """The subscriber is a guest, who has the rights to read that docs/security.md names."""
    settings, guest = login(), login("guest")
    created = millrace("topics", "create", settings=settings)
    assert created.stdout.count("made ") == len(TOPICS), created.stderr
    checked = millrace("topics", "check", settings=settings)
    assert checked.exit_code == 0, checked.stdout + checked.stderr
    for name, operations in rights.of_watch(settings).items():
        for operation in operations:
            secured.allow("guest", operation.name, topic=name)
    secured.allow("guest", "READ", group=settings.worker.group)
    with Path(settings).worker():
        replayed = millrace("replay", "--synthetic", "20", "--json", settings=settings)
        assert replayed.exit_code == 0, replayed.stderr
        assert json.loads(replayed.stdout.splitlines()[-1])["interactions"] == 20
        command = [sys.executable, "-m", "streams.cli", "watch", "--json", "--from-beginning"]
        environment = os.environ | as_environment(guest)
        with Child(command, stdout=subprocess.PIPE, env=environment) as subscriber:
            assert subscriber.process.stdout is not None
            answers = [json.loads(subscriber.process.stdout.readline()) for _ in range(20)]
    assert [answer["source"]["offset"] for answer in answers] == list(range(20))


def test_a_worker_answers_over_mutual_tls(secured: Secured, login: Callable[..., Settings]) -> None:
    certificate = str(secured.folder / "ann.pem")
    settings = login().model_copy(
        update={
            "broker": login().broker.model_copy(update={"bootstrap": secured.mutual}),
            "security": SecuritySettings(
                protocol="ssl",
                ca=str(secured.folder / "ca.pem"),
                certificate=certificate,
                key=certificate,
            ),
        }
    )
    path = Path(settings)
    path.send(interaction(1), interaction(2))
    with path.worker():
        assert [answer["event_id"] for answer in path.answers(2)] == ["e1", "e2"]


# ------------------------------------------------------------------ who does not


def test_a_wrong_password_is_one_line_within_seconds_and_nowhere_written(
    login: Callable[..., Settings],
) -> None:
    settings = login(password=WRONG)
    started = time.monotonic()
    ended = worker(settings)
    assert time.monotonic() - started < 30
    assert ended.returncode == 2
    [line] = ended.stderr.splitlines()
    assert settings.broker.bootstrap in line
    assert "refuses user 'ann' by SCRAM-SHA-512" in line
    assert "MILLRACE_SECURITY__PASSWORD" in line
    assert WRONG not in ended.stdout + ended.stderr


@pytest.mark.parametrize(
    ("listener", "changes", "told"),
    [
        (
            "both",
            {"ca": "strange.pem"},
            r"not to be trusted: unable to get local issuer.*security\.ca",
        ),
        ("both", {"host": "127.0.0.1"}, r"not to be trusted: .* not valid for '127\.0\.0\.1'"),
        ("mutual", {"protocol": "ssl", "user": ""}, "refuses a client without a certificate"),
        ("both", {"mechanism": "PLAIN", "password": WRONG}, "refuses user 'ann' by PLAIN"),
    ],
    ids=["strange authority", "wrong host name", "no certificate of ours", "PLAIN"],
)
def test_what_is_refused_is_told(
    secured: Secured,
    login: Callable[..., Settings],
    listener: str,
    changes: dict[str, str],
    told: str,
) -> None:
    changes = dict(changes)
    bootstrap = getattr(secured, listener).replace("localhost", changes.pop("host", "localhost"))
    ca = str(secured.folder / changes.pop("ca", "ca.pem"))
    security = SecuritySettings(**login().security.model_dump() | {"ca": ca} | changes)
    with pytest.raises(RefusedError, match=told) as error:
        topic_partitions(bootstrap, security=security, seconds=1.5)
    assert WRONG not in str(error.value)


def test_another_protocol_than_the_listeners_is_told(secured: Secured) -> None:
    with pytest.raises(BrokerError, match=r"security\.protocol = plaintext\?") as error:
        topic_partitions(secured.both, seconds=1.5)
    assert not isinstance(error.value, RefusedError)  # it may be a broker that starts


def test_a_user_without_rights_is_told_each_that_is_missing(
    secured: Secured, login: Callable[..., Settings]
) -> None:
    settings = login("guest")
    names, group = settings.topics, settings.worker.group
    refused = millrace("topics", "create", settings=settings)
    assert refused.exit_code == 2
    assert f"does not grant user 'guest': Create on topic '{names.interactions}'" in refused.stderr
    topics.create(login())
    secured.allow("guest", "READ", topic=names.interactions)
    secured.allow("guest", "READ", topic=names.recommendations)
    ended = worker(settings)
    assert ended.returncode == 2
    [line] = ended.stderr.splitlines()
    missing = {
        *(f"Read on topic '{name}'" for name in
          (names.items, names.item_embeddings, names.item_deltas, names.dead_letters)),
        *(f"Write on topic '{name}'" for name in
          (names.item_embeddings, names.item_deltas, names.recommendations,
           names.dead_letters)),
        f"Read on group '{group}'",
        f"Read on group '{group}-reader'",
    }  # fmt: skip
    assert set(re.findall(r"\w+ on \w+ '[^']+'", line)) == missing


def test_a_subscriber_is_asked_for_the_rights_to_read_and_no_more(
    secured: Secured, login: Callable[..., Settings]
) -> None:
    topics.create(login())
    guest = login("guest")
    names = guest.topics
    for name in (names.recommendations, names.dead_letters, names.item_embeddings):
        secured.allow("guest", "READ", topic=name)
    with pytest.raises(RefusedError, match=f"Read on group '{guest.worker.group}-reader'"):
        rights.require(guest, rights.of_watch(guest))
    secured.allow("guest", "READ", group=guest.worker.group)
    rights.require(guest, rights.of_watch(guest))
    with pytest.raises(RefusedError, match=f"Write on topic '{names.items}'"):
        rights.require(guest, rights.of_replay(guest, resume=False))


def test_who_may_not_write_to_the_input_is_told_by_the_api_alone(
    secured: Secured, login: Callable[..., Settings]
) -> None:
    """A worker starts without that right, and takes what is posted once it is given."""
    topics.create(login())
    guest = login("guest")
    name = guest.topics.interactions
    secured.allow("guest", "READ", topic=name)
    assert rights.of_worker(guest)[name] == {rights.READ}
    writer = MessageWriter(guest, partitions=lambda: 1)

    async def post() -> Source:
        return await writer.interaction("ann", b"{}", [])

    for topic in (name, guest.topics.recommendations):
        if topic != name:  # now its producer gets an id; before, librdkafka gave it up
            secured.allow("guest", "WRITE", topic=topic)
        with pytest.raises(RefusedRequest, match=f"'guest' Write on topic '{name}'") as refused:
            asyncio.run(post())
        assert refused.value.status == 403
    secured.allow("guest", "WRITE", topic=name)

    def written() -> Source | None:
        with suppress(RefusedRequest):  # the broker hears of its own rules a moment later
            return asyncio.run(post())
        return None

    assert until(written, 20) == Source(name, 0, 0)


# ------------------------------------------------------------------ settings


def test_a_file_that_is_none_is_told(tmp_path: FilePath) -> None:
    missing = SecuritySettings(protocol="ssl", ca=str(tmp_path / "none.pem"))
    with pytest.raises(SettingsError, match=r"security\.ca = '.*none\.pem': No such file"):
        for_librdkafka(missing)
    text = tmp_path / "text.pem"
    text.write_text("no certificate")
    with pytest.raises(
        SettingsError, match=r"security\.ca = '.*text\.pem': this is no file in PEM"
    ):
        for_librdkafka(SecuritySettings(protocol="ssl", ca=str(text)))


def test_a_certificate_without_its_key_is_told(secured: Secured) -> None:
    wrong = SecuritySettings(
        protocol="ssl",
        certificate=str(secured.folder / "ann.pem"),
        key=str(secured.folder / "broker.pem"),
    )
    with pytest.raises(SettingsError, match=r"ann\.pem.*broker\.pem.*no certificate and its key"):
        for_librdkafka(wrong)
