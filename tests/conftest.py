"""What many tests need: brokers (a real Kafka where Java and Maven are), Verilator."""

from __future__ import annotations

import os

# As `streams.cli` sets it for workers: how many threads add up a sum decides its last bits.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import shutil
import signal
import subprocess
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
from numpy.typing import NDArray
from xdist.scheduler import LoadFileScheduling

from engine.text.encoder import TextEncoder
from engine.text.tokens import TokenEncoder
from overlays.sim.model import missing_tool
from streams.brokers import BrokerError, EmbeddedBroker, KafkaServer
from streams.brokers.kafka import find_jars
from streams.settings import Settings

# A kernel's first call may compile it.
hypothesis.settings.register_profile("millrace", deadline=None)
hypothesis.settings.load_profile("millrace")

# A shell starts background jobs with SIGINT ignored, and child processes inherit that. Python keeps
# it ignored, so that the tests' Ctrl-C would do nothing.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).parents[1]
TOPICS = (
    "interactions", "items", "item_embeddings", "item_deltas", "recommendations", "dead_letters",
)  # fmt: skip


SLOW_FIRST = (
    "overlays/board/", "worker/test_exact_forgetting.py", "overlays/test_core.py",
    "worker/test_worker.py", "retrieval/test_large_catalogue.py", "tools/test_past.py",
    "tools/test_demo.py", "evaluation/paper/", "tools/test_past_partitions.py",
    "kafka/test_security.py", "cli/test_cli.py", "overlays/test_mutants.py",
    "worker/test_stores.py", "test_streams_guard.py", "engine/test_compiled.py",
    "worker/test_watchdog.py", "web/test_live_page.py", "state/test_save.py",
    "kafka/test_brokers.py", "state/test_eviction.py", "kafka/test_topics.py",
    "worker/test_topic_watch.py", "tests/test_examples.py", "worker/test_leased.py",
    "evaluation/test_quality.py", "engine/test_recommender.py", "engine/test_rules.py",
    "step/test_events.py", "datasets/test_real_files.py", "engine/test_warm_up.py",
    "engine/test_lookup.py", "worker/test_item_deltas.py", "tests/test_distribution.py",
)  # fmt: skip
"""Files that take longest: several processes end together when these are not begun last."""
TOGETHER = ("overlays/board/", "engine/evaluation/paper/")
"""Folders whose files share a state of their process: pynq's devices, a whole run."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With pytest-xdist, slow files come first."""
    if not config.getoption("numprocesses", None) and not hasattr(config, "workerinput"):
        return

    def place(item: pytest.Item) -> int:
        return next((n for n, part in enumerate(SLOW_FIRST) if part in str(item.path)), 99)

    items.sort(key=place)


class FileScheduling(LoadFileScheduling):
    """A file's tests go to one process, as do those of a folder of `TOGETHER`.

    xdist's `loadgroup` would read the same from marks, but writes them into `Item._nodeid`, which
    pytest 9.2 does not read: each test is a group of its own.
    """

    def _split_scope(self, nodeid: str) -> str:
        folder = next((part for part in TOGETHER if part in nodeid), None)
        return folder or super()._split_scope(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FileScheduling:
    return FileScheduling(config, log)


class SharedKafka(KafkaServer):
    """One that another process has started, and will stop."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap


_SHARED = pytest.StashKey[KafkaServer]()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """With pytest-xdist, one Kafka serves all processes: each would take as much as a test does."""
    if _SHARED not in node.config.stash:
        try:
            server = node.config.stash[_SHARED] = KafkaServer()
        except BrokerError:  # its fixture says why
            return
        node.config.add_cleanup(server.close)
    node.workerinput["kafka"] = node.config.stash[_SHARED].bootstrap


_EMBEDDED: dict[str, NDArray[np.float32]] = {}
_EMBED = TextEncoder._embed
_LOAD = {kind: kind.__init__ for kind in (TextEncoder, TokenEncoder)}


@cache
def _loaded(kind: type[TextEncoder | TokenEncoder]) -> dict[str, Any]:
    """The attributes of the one encoder of a kind that is loaded in this process."""
    first = kind.__new__(kind)
    _LOAD[kind](first)
    return vars(first)


@pytest.fixture(autouse=True)
def _models_are_loaded_and_texts_encoded_once(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One real encoder of each kind, half a second to load, and what it makes of a text, 15 ms of
    work, serve all engines of this process; but for the tests of the encoders themselves."""

    def load_texts(encoder: TextEncoder, cache: int = 50_000) -> None:
        vars(encoder).update(_loaded(TextEncoder), _cache=OrderedDict(), _capacity=cache)

    def load_tokens(encoder: TokenEncoder) -> None:
        vars(encoder).update(_loaded(TokenEncoder))

    def embed(encoder: TextEncoder, text: str) -> NDArray[np.float32]:
        if text not in _EMBEDDED:
            _EMBEDDED[text] = _EMBED(encoder, text)
        return _EMBEDDED[text].copy()

    if "engine/text/" not in str(request.path):
        monkeypatch.setattr(TextEncoder, "__init__", load_texts)
        monkeypatch.setattr(TextEncoder, "_embed", embed)
        monkeypatch.setattr(TokenEncoder, "__init__", load_tokens)


@pytest.fixture(scope="session")
def verilator() -> None:
    """Verilator and g++ are there; without them the test is skipped, and fails in CI."""
    if missing := missing_tool():
        if os.environ.get("CI"):
            pytest.fail(f"CI is set, so the tests of the core must run: {missing}")
        pytest.skip(missing)


@pytest.fixture(scope="session")
def kafka_jars() -> Path:
    """Kafka's jars, fetched when they are not there; without Java or Maven the test is skipped."""
    try:
        return find_jars()
    except BrokerError as error:
        reason = error
    if shutil.which("java") and shutil.which("mvn") and shutil.which("make"):
        subprocess.run(["make", "kafka-jars"], cwd=ROOT, check=True)
        return find_jars()
    if os.environ.get("CI"):
        pytest.fail(f"CI is set, so the tests with a real Kafka must run: {reason}")
    pytest.skip(str(reason))


@pytest.fixture(scope="session")
def kafka(request: pytest.FixtureRequest) -> Iterator[KafkaServer]:
    """One Kafka for all tests. Tests that stop it start their own."""
    shared = getattr(request.config, "workerinput", {}).get("kafka")
    if shared is not None:
        yield SharedKafka(shared)
        return
    request.getfixturevalue("kafka_jars")
    with KafkaServer() as server:
        yield server


@pytest.fixture(scope="session")
def embedded() -> Iterator[EmbeddedBroker]:
    """One embedded broker for all tests."""
    with EmbeddedBroker() as broker:
        yield broker


_WITH_KAFKA = shutil.which("java") and shutil.which("mvn")


@pytest.fixture(
    scope="session",
    params=[pytest.param("embedded", marks=pytest.mark.long if _WITH_KAFKA else ()), "kafka"],
)
def broker(request: pytest.FixtureRequest) -> EmbeddedBroker | KafkaServer:
    """Each broker in turn, the embedded one among the long tests where there is a Kafka.

    ``parametrize("broker", ["kafka"], indirect=True)`` asks for one.
    """
    found: EmbeddedBroker | KafkaServer = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def settings(broker: EmbeddedBroker | KafkaServer, tmp_path: Path) -> Callable[..., Settings]:
    """Settings on ``broker`` with topics and a group of this test's own.

    The factory takes sections as dicts, as in ``settings(topics={"partitions": 2})``.
    """
    return settings_on(broker, tmp_path)


def settings_on(broker: EmbeddedBroker | KafkaServer, folder: Path) -> Callable[..., Settings]:
    """What `settings` gives, for a fixture that lives longer than a test."""
    mark = uuid.uuid4().hex[:8]

    def make(**sections: dict[str, Any]) -> Settings:
        own: dict[str, dict[str, Any]] = {
            "broker": {"bootstrap": broker.bootstrap, "embedded": broker.embedded},
            "topics": {name: f"{name.replace('_', '-')}.{mark}" for name in TOPICS},
            "worker": {
                "group": f"group.{mark}",
                "checkpoints": str(folder / "checkpoints"),
            },
            "web": {"port": 0},
        }
        for section, values in sections.items():
            own[section] = own.get(section, {}) | values
        return Settings(**own)

    return make
