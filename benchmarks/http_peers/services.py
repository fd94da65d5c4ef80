"""Contenders as running services: Millrace on a Kafka, gorse on SQLite."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.end_to_end import Bench
from benchmarks.http_peers.contenders import Gorse, HttpContender, MillraceApi
from engine.events import Interaction, Item
from streams.brokers.kafka import ROOT
from streams.messages.schemas import encode
from streams.processes import Child
from streams.settings import Settings, WebSettings
from streams.settings_io import as_environment

GORSE_VERSION = "v0.4.15"
GORSE = ROOT / ".cache" / "gorse" / "gorse-in-one"
START_SECONDS = 120.0
BATCH = 1_000
LOG_LINES = 15

# What makes gorse freshest: it looks for users to recommend to every second, and fits its models
# again as soon as it is told of ten seconds gone by. The rest is as in its documentation's example,
# without labels' click-through model. Data sets are of old: popularity looks at all of time.
GORSE_CONFIG = """\
[database]
data_store = "sqlite://{home}/data.db"
cache_store = "sqlite://{home}/cache.db"

[master]
port = {port}
host = "127.0.0.1"
http_port = {http_port}
http_host = "127.0.0.1"
n_jobs = {cores}

[server]
cache_expire = "1s"

[recommend.data_source]
positive_feedback_types = ["like"]
read_feedback_types = ["read"]

[recommend.popular]
popular_window = "876000h"

[recommend.user_neighbors]
neighbor_type = "related"

[recommend.item_neighbors]
neighbor_type = "related"

[recommend.collaborative]
model_fit_period = "10s"

[recommend.offline]
check_recommend_period = "1s"
enable_user_based_recommend = true
enable_item_based_recommend = true
enable_collaborative_recommend = true
enable_popular_recommend = true

[recommend.online]
fallback_recommend = ["item_based", "popular"]
"""


class MissingServiceError(Exception):
    """A contender cannot be run; says what to install."""


class ServiceError(Exception):
    """A contender that is installed does not run; says why."""


@dataclass
class Service:
    """A contender that runs.

    Attributes
    ----------
    contender
        To be asked over HTTP.
    feed_many
        Tells it of many events at once, by whatever way in it has for that.
    catch_up
        Waits until what was fed is in its answers, as far as it tells.
    processes
        Its processes, without databases and brokers that it stands on.
    settings
        Millrace's, for those who speak to its topics.
    """

    contender: HttpContender
    feed_many: Callable[[Sequence[Interaction]], None]
    catch_up: Callable[[], None]
    processes: list[psutil.Process]
    settings: Settings | None = None

    def resident_mb(self) -> float:
        """Memory of its processes now."""
        return round(sum(process.memory_info().rss for process in self.processes) / 1e6, 1)


@contextmanager
def millrace(bootstrap: str, mark: str, workers: int = 1) -> Iterator[Service]:
    """A worker, or two: then events go to the first one's API and queries to the other's.

    Raises
    ------
    ServiceError
        When they do not come to be ready.
    """
    bench = Bench(bootstrap, mark)
    ports = free_ports(workers)
    sent = 0

    def add_items(items: Iterable[Item]) -> None:
        for item in items:
            bench.producer.produce(bench.settings.topics.items, encode(item), item.item)
        bench.producer.flush()

    def feed_many(events: Sequence[Interaction]) -> None:
        nonlocal sent
        for event in events:
            bench.send(bench.settings.topics.interactions, event)
        bench.producer.flush()
        sent += len(events)

    def catch_up() -> None:
        bench.await_answered(sent, seconds=600)
        time.sleep(2 * bench.settings.worker.commit_seconds)  # another worker follows by then

    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="millrace-peers-")))
        log = stack.enter_context((home / "worker.log").open("wb"))
        children = []
        for port in ports:
            settings = bench.settings.model_copy(update={"web": WebSettings(port=port)})
            command = [sys.executable, "-m", "streams.cli", "worker"]
            environment = os.environ | as_environment(settings)
            children.append(stack.enter_context(Child(command, output=log, env=environment)))
        contender = MillraceApi(
            f"http://127.0.0.1:{ports[0]}",
            add_items,
            f"http://127.0.0.1:{ports[-1]}",
            *(
                ("Millrace", "one worker on a real Kafka")
                if workers == 1
                else ("Millrace, 2 workers", "on a real Kafka; one is fed, the other asked")
            ),
        )
        await_ready(contender, children, home / "worker.log")
        processes = [psutil.Process(child.pid) for child in children]
        yield Service(contender, feed_many, catch_up, processes, bench.settings)


def find_gorse() -> Path:
    """gorse's binary.

    Raises
    ------
    MissingServiceError
        If it is not built.
    """
    if not GORSE.exists():
        raise MissingServiceError("not run (it is not built): install Go 1.21, then `make gorse`")
    return GORSE


@contextmanager
def gorse(binary: Path) -> Iterator[Service]:
    """gorse's all-in-one server with a fresh SQLite database.

    Raises
    ------
    ServiceError
        When it does not come to be ready.
    """
    home = Path(tempfile.mkdtemp(prefix="millrace-gorse-"))
    port, http_port = free_ports(2)
    (home / "config.toml").write_text(
        GORSE_CONFIG.format(home=home, port=port, http_port=http_port, cores=os.cpu_count())
    )
    try:
        with (home / "gorse.log").open("wb") as log:
            command = [str(binary), "--config", str(home / "config.toml")]
            command += ["--cache-path", str(home / "one_cache.data")]
            child = Child(command, output=log, temporary=home)
        with child:
            contender = Gorse(
                f"http://127.0.0.1:{http_port}",
                f"{GORSE_VERSION}, SQLite; recommends anew every second, fits every 10 s",
            )
            await_ready(contender, [child], home / "gorse.log")

            def feed_many(events: Sequence[Interaction]) -> None:
                for start in range(0, len(events), BATCH):
                    contender.feed_many(events[start : start + BATCH])

            yield Service(contender, feed_many, contender.await_models, [psutil.Process(child.pid)])
    finally:
        shutil.rmtree(home, ignore_errors=True)


def await_ready(contender: HttpContender, children: Sequence[Child], log: Path) -> None:
    """Return once a contender is ready.

    Raises
    ------
    ServiceError
        If one of its processes ends, or it is not ready in time; with the end of its log.
    """
    deadline = time.monotonic() + START_SECONDS
    while not contender.ready():
        if time.monotonic() > deadline or not all(child.running for child in children):
            told = "\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES:])
            raise ServiceError(f"{contender.name} did not come to be ready; its log ends:\n{told}")
        time.sleep(0.1)


def free_ports(count: int) -> list[int]:
    """So many ports of 127.0.0.1 that nobody listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
