"""The HTTP API over a real engine and a real broker, in this process."""

from __future__ import annotations

import asyncio
import itertools
import threading

from prometheus_client import CollectorRegistry

from engine import Item, Recommender
from streams.kafka.group import Member
from streams.messages.schemas import Model
from streams.settings import Settings
from streams.web.api import Api
from streams.web.engine_access import EngineAccess
from streams.web.forwarding import Forwarding
from streams.web.message_writer import MessageWriter
from streams.web.server import serve
from streams.web.workers import Workers
from streams.worker.exact_forgetting import ForgettingStatus
from streams.worker.health import Health
from tests.engine.builders import WITHOUT_TEXT, stream, took
from tests.ports import free_port
from tests.streams.asking import Heard, ask

ODD = "a/b 🎬 {%2F}?#"
PARTITIONS = 4
JSON = {"Content-Type": "application/json"}
_marks = itertools.count()


def small_engine() -> Recommender:
    """Some invented users and items, one of either with an id that a URL has to encode."""
    made = Recommender(WITHOUT_TEXT.model_copy(update={"recommend_unlisted": True}))
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


def nobody_is_forgotten() -> ForgettingStatus:
    return ForgettingStatus("quick", {}, 0, False)


class Served:
    """An API with an engine of its own, the worker's loop being a thread that runs one."""

    def __init__(self, bootstrap: str, embedded: bool = True, **web: str) -> None:
        self.port = free_port()
        mark = next(_marks)
        topic = f"posted.{mark}"
        self.settings = Settings(
            broker={"bootstrap": bootstrap, "embedded": embedded},
            topics={"interactions": topic, "items": f"items.{mark}", "message_bytes": 65_536},
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
        writer = MessageWriter(self.settings, lambda: PARTITIONS)
        model = Model("millrace-test", "1")
        workers = Workers(lambda: [Member("", list(range(PARTITIONS)))])
        forwarding = Forwarding({}, workers, self.health)
        api = Api(
            self.engine, model, self.access, self.health, writer, self.settings, workers,
            forwarding, nobody_is_forgotten,
        )  # fmt: skip
        self.operations = api.operations
        self.server = serve(self.settings, CollectorRegistry(), self.health, api.routes())

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
