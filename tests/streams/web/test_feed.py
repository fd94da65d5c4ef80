"""What the page's feed makes of a pipeline's news, without a browser or Kafka."""

from __future__ import annotations

import asyncio
import time

import msgspec
import numpy as np
import pytest

from engine.recommender import Recommender
from engine.settings import EngineSettings
from streams.kafka.record import Record
from streams.messages.schemas import Model, encode
from streams.settings import Settings
from streams.tools.answer_stats import STAGES
from streams.web.feed import HISTORY_SECONDS, Feed, TooManyWatchersError
from streams.worker.health import Health
from streams.worker.partition import Partition
from streams.worker.pipeline import Pipeline
from streams.worker.transactional import TransactionalWriter
from tests.streams.conftest import FIRST_MS, interaction

START = 1_700_000_000


class Fed:
    """A pipeline, of which partition 1 was answered before it was taken over, and its feed."""

    def __init__(self) -> None:
        settings = Settings(engine={"model": "gnn"})
        model = Model("millrace-gnn", "0")
        self.pipeline = Pipeline(Recommender(EngineSettings(model="gnn")), settings, model)
        self.partitions = [
            Partition(
                number=n, window=1000, writer=TransactionalWriter(settings, n, "", 0), ours=True
            )
            for n in (0, 1)
        ]
        self.partitions[1].writer.queue.written = 1_000
        self.health = Health()
        self.feed = Feed(self.pipeline, self.health, model)
        self.now = float(START)
        self.feed.look(self.now)
        self.offsets = [0, 0]

    def send(self, value: bytes, partition: int = 0) -> None:
        # The broker took each in a minute after the last.
        offset = self.offsets[partition]
        record = Record(partition, offset, FIRST_MS + 60_000 * offset, b"", value, ())
        self.offsets[partition] += 1
        self.pipeline.handle(self.partitions[partition], [record])

    def pass_seconds(self, seconds: float) -> None:
        self.now += seconds
        self.feed.look(self.now)


@pytest.fixture
def fed() -> Fed:
    return Fed()


def test_a_second_tells_of_what_came_in_it(fed: Fed) -> None:
    for n in range(50):
        fed.send(encode(interaction(n, user=f"u{n % 5}", item=f"m{n % 13}")))
    fed.send(b"rubbish")
    fed.health.waiting = {0: 3, 2: 4}
    fed.pass_seconds(0.5)
    written = [
        msgspec.json.decode(o.value or b"")
        for o in fed.partitions[0].writer.queue.send()
        if o.offset < 50
    ]
    fed.pass_seconds(0.5)
    (second,) = [s for s in fed.feed.history(START)["seconds"] if s.events]
    latency = {stage: [answer["latency_us"][stage] for answer in written] for stage in STAGES}
    assert (second.time, second.events, second.lag) == (START + 1, 51, 7)
    assert [second.p50, second.p99] == np.percentile(latency["total"], (50, 99)).round().tolist()
    assert second.stages == [round(np.mean(latency[stage])) for stage in STAGES[1:-1]]
    figures = fed.feed.figures()
    assert figures.stages == {
        stage: tuple(np.percentile(latency[stage], (50, 99)).round()) for stage in STAGES
    }
    assert (figures.received, figures.recommendations) == (51, 50)
    assert figures.lag == {"0": 3, "2": 4}
    assert figures.stream_ms == FIRST_MS + 49 * 60_000
    assert figures.active[:5] == ["u4", "u3", "u2", "u1", "u0"]
    assert (figures.dead, figures.second) == ({"NotJson": 1}, second)
    (letter,) = figures.dead_last
    assert (letter.error_class, letter.partition, letter.offset) == ("NotJson", 0, 50)
    assert letter.topic == "millrace.interactions"
    assert "rubbish" in letter.message
    # 5 users took 10 items each; the first list of each judged nothing.
    assert figures.queries == 45
    assert figures.ndcg > 0
    fed.pass_seconds(1.0)
    assert fed.feed.figures().second.p50 is None
    assert fed.feed.figures().ndcg == figures.ndcg


def test_a_page_hears_of_its_user_alone(fed: Fed) -> None:
    with fed.feed.watching("ann") as ann, fed.feed.watching("bob") as bob:
        fed.send(encode(interaction(1, user="ann", item="m1")))
        fed.pass_seconds(0.1)
        assert ann.wake.is_set()
        assert not bob.wake.is_set()
        assert ann.latest.answer.event_id == "e1"
        fed.send(encode(interaction(2, user="ann", item="m2")))
        fed.send(encode(interaction(3, user="bob", item="m2")), partition=1)
        fed.pass_seconds(0.1)
        assert ann.latest.answer.event_id == "e2"  # only the latest is kept
        assert (bob.latest.interaction.event_id, bob.latest.answer) == ("e3", None)
    fed.send(encode(interaction(4, user="ann", item="m4")))
    fed.pass_seconds(0.1)
    assert ann.latest.answer.event_id == "e2"


def test_who_is_forgotten_is_not_named_any_more(fed: Fed) -> None:
    fed.send(encode(interaction(1, user="ann", item="m1")))
    fed.send(encode(interaction(2, user="bob", item="m1")))
    fed.send(encode(interaction(3, user="ann", item="m1", kind="forget")))
    fed.pass_seconds(0.1)
    assert fed.feed.figures().active == ["bob"]
    assert list(fed.feed._quality._lists) == ["bob"]


def test_ten_minutes_are_kept_and_those_asked_for_are_told(fed: Fed) -> None:
    for _ in range(HISTORY_SECONDS + 5):
        fed.pass_seconds(1.0)
    seconds = fed.feed.history(0)["seconds"]
    assert [s.time for s in seconds] == list(range(START + 6, START + HISTORY_SECONDS + 6))
    assert len(msgspec.json.encode(fed.feed.history(0))) < 60_000
    assert [s.time for s in fed.feed.history(START + 600)["seconds"]] == [
        START + n for n in range(601, 606)
    ]


def test_so_many_pages_and_no_more(fed: Fed) -> None:
    with pytest.raises(TooManyWatchersError, match="64 pages are open"):
        watch_again(fed, 65)
    with fed.feed.watching("ann"):  # all of those have gone
        pass


def watch_again(fed: Fed, more: int) -> None:
    if more:
        with fed.feed.watching(""):
            watch_again(fed, more - 1)


def test_news_of_a_watched_user_wakes_and_others_do_not(fed: Fed) -> None:
    async def told() -> list[bool]:
        following = asyncio.create_task(fed.feed.run())
        found = []
        with fed.feed.watching("ann") as ann:
            for user in ("bob", "ann"):
                await asyncio.wait([following], timeout=0.5 - time.time() % 0.5 + 0.05)
                ann.wake.clear()
                fed.send(encode(interaction(len(found), user=user)))
                await asyncio.wait([following], timeout=0.1)  # the next look is due in 0.4 s
                found.append(ann.wake.is_set())
        following.cancel()
        await asyncio.wait([following])
        return found

    assert asyncio.run(told()) == [False, True]
    fed.send(b"rubbish")
    fed.send(encode(interaction(9, user="ann")))  # to a loop that is closed
    assert fed.pipeline.counts.recommendations == 3
