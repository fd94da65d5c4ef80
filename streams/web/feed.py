"""What the page shows, collected beside the event path.

The event path only appends what was applied to a deque. The web server's thread does the rest,
twice a second: counts, percentiles by second, the prequential measures. Besides, it is woken only
by events of a user whom somebody watches: while it holds Python's lock, an event waits. Memory is
bounded, whatever the number of users and items.
"""

from __future__ import annotations

import asyncio
import time
from array import array
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.evaluation.served_lists import Prequential
from engine.events import Interaction
from streams.experiments.comparison import ArmFigures, Comparison
from streams.messages import dead_letters
from streams.messages.schemas import Model, Recommendation
from streams.tools.answer_stats import STAGES
from streams.worker.health import Health
from streams.worker.pipeline import News, Pipeline

HISTORY_SECONDS = 600
"""Seconds of history that a page gets when it is opened."""
WINDOW_SECONDS = 5
"""Seconds that the latest percentiles are of."""
_HELD = 20_000
"""Most outputs that wait to be counted; more are dropped, and the page's means are those of the
rest."""
_TICK = 0.5
"""Seconds between two counts of new outputs."""
_MOST_USERS, _MOST_ITEMS = 4_096, 50_000
"""Users and items that the prequential measures remember, the latest and the most taken."""
_ACTIVE, _DEAD = 12, 8
_MOST_WATCHERS = 64


class Second(msgspec.Struct, array_like=True, frozen=True):
    """A second of the history.

    Attributes
    ----------
    time
        Its end, in s since the epoch.
    events
        Received in it.
    p50, p99
        Of `total`, in µs; None without answers.
    stages
        The mean of each but the first and the last of `STAGES`, in µs: they add up to the time of
        an event, but for what lies between them.
    ndcg, popularity
        Both NDCG@10 since the worker's start.
    lag
        Messages that wait at its end.
    """

    time: int
    events: int
    p50: int | None
    p99: int | None
    stages: list[int] | None
    ndcg: float | None
    popularity: float | None
    lag: int


class DeadLetter(msgspec.Struct, frozen=True):
    """A dead letter as its headers describe it, and when it was written."""

    error_class: str
    message: str
    topic: str
    partition: int
    offset: int
    time: float


class Figures(msgspec.Struct, kw_only=True, frozen=True):
    """What the page shows of the worker now.

    Attributes
    ----------
    stream_ms
        Timestamp of the latest event, in ms since the epoch: of a replay, long ago.
    stages
        p50 and p99 of each stage in µs over the last `WINDOW_SECONDS`; none without events.
    lag
        Messages that wait, by partition of this worker's.
    active
        The users of the latest events, latest first.
    second
        The last whole second.
    experiments
        How the arms compare; none without experiments.
    """

    ready: str
    received: int
    followed: int
    recommendations: int
    duplicates: int
    late: int
    stream_ms: int
    stages: dict[str, tuple[int, int]]
    queries: int
    ndcg: float
    popularity: float
    lag: dict[str, int]
    dead: dict[str, int]
    dead_last: list[DeadLetter]
    active: list[str]
    second: Second | None
    experiments: list[ArmFigures]


class Latest(NamedTuple):
    """A user's latest event, and the answer to it where this worker wrote that."""

    interaction: Interaction
    answer: Recommendation | None


class TooManyWatchersError(Exception):
    """The most pages that are served are open."""


class Watcher:
    """One open page: what it has not been sent yet, the latest of each kind."""

    def __init__(self, user: str) -> None:
        self.user = user
        self.figures: bytes | None = None
        self.latest: Latest | None = None
        self.wake = asyncio.Event()


class Feed:
    """Counts what a pipeline applied, and sends it to the open pages.

    `run` and `watching` are for one event loop, the web server's.

    Parameters
    ----------
    health
        Which knows the lag of each partition.
    """

    def __init__(self, pipeline: Pipeline, health: Health, model: Model) -> None:
        self.model = model
        self.since_ms = int(time.time() * 1000)
        self._pipeline = pipeline
        self._health = health
        self._news: deque[News] = deque(maxlen=_HELD)
        pipeline.on_news = self.hear
        self._history: deque[Second] = deque(maxlen=HISTORY_SECONDS)
        self._quality = Prequential(_MOST_USERS, _MOST_ITEMS)
        self.arms = pipeline.arms
        self.comparison = Comparison(self.arms.names())
        self._active: OrderedDict[str, None] = OrderedDict()
        self._dead: deque[DeadLetter] = deque(maxlen=_DEAD)
        self._now = int(time.time())
        self._received = pipeline.counts.received
        self._sample = array("d")
        self._samples: deque[NDArray[np.float64]] = deque(maxlen=WINDOW_SECONDS)
        self._stages_of: tuple[int, dict[str, tuple[int, int]]] = (0, {})
        self._watchers: set[Watcher] = set()
        self._watched: frozenset[str] = frozenset()
        self._woken = asyncio.Event()
        self._wake: Callable[[], object] = self._woken.set
        self._closed = False

    def hear(self, news: News) -> None:
        """Keep an output for the next count; one of a watched user is sent at once. For the event
        path."""
        self._news.append(news)
        if isinstance(news, dead_letters.DeadLetter):
            return
        if news[0].user in self._watched:
            with suppress(RuntimeError):  # the web server has ended
                self._wake()

    async def run(self) -> None:
        """Count new outputs until cancelled."""
        self._wake = partial(asyncio.get_running_loop().call_soon_threadsafe, self._woken.set)
        told = 0
        while True:
            now = time.time()
            self.look(now)
            if told != (told := int(now / _TICK)) and self._watchers:
                figures = msgspec.json.encode(self.figures())
                for watcher in self._watchers:
                    watcher.figures = figures
                    watcher.wake.set()
            with suppress(TimeoutError):
                # Just after a second's end, so that seconds are whole.
                async with asyncio.timeout(_TICK - time.time() % _TICK + 0.001):
                    await self._woken.wait()
            self._woken.clear()

    def close(self) -> None:
        """End every page's stream."""
        self._closed = True
        for watcher in self._watchers:
            watcher.wake.set()

    @property
    def closed(self) -> bool:
        """Whether the server is shutting down."""
        return self._closed

    @contextmanager
    def watching(self, user: str) -> Iterator[Watcher]:
        """A page that shows this user, while it is open.

        Raises
        ------
        TooManyWatchersError
            If too many are open already.
        """
        if len(self._watchers) >= _MOST_WATCHERS:
            raise TooManyWatchersError(f"{_MOST_WATCHERS} pages are open, which is the most")
        watcher = Watcher(user)
        self._watchers.add(watcher)
        self._watched = frozenset(each.user for each in self._watchers)
        try:
            yield watcher
        finally:
            self._watchers.remove(watcher)
            self._watched = frozenset(each.user for each in self._watchers)

    # ------------------------------------------------------------------ what came

    def look(self, now: float) -> None:
        """Count what came since the last call; `now` is in seconds since the epoch."""
        if int(now) != self._now:
            self._end_second()
            self._now = int(now)
        for _ in range(len(self._news)):
            news = self._news.popleft()
            if isinstance(news, dead_letters.DeadLetter):
                self._dead.append(_dead_letter(news, now))
            else:
                self._applied(*news)

    def _applied(self, interaction: Interaction, answer: Recommendation | None) -> None:
        ranked = None
        if answer is not None:
            us = answer.latency_us
            self._sample.extend(
                (us.queue, us.decode, us.learn, us.graph, us.propagate, us.text, us.rank, us.emit,
                 us.total)
            )  # fmt: skip
            ranked = [entry.item for entry in answer.items]
        user = interaction.user
        gain = self._quality.take(user, interaction.item, ranked, interaction.kind)
        if gain is not None:
            self.comparison.add(self.arms.of(user), user, gain)
        self._active.pop(user, None)
        if interaction.kind != "forget":
            self._active[user] = None
            if len(self._active) > _ACTIVE:
                self._active.popitem(last=False)
        for watcher in self._watchers:
            if watcher.user == user:
                watcher.latest = Latest(interaction, answer)
                watcher.wake.set()

    def _end_second(self) -> None:
        received = self._pipeline.counts.received
        sample = np.frombuffer(self._sample, np.float64).reshape(-1, len(STAGES))
        p50 = p99 = stages = None
        if len(sample):
            p50, p99 = (round(us) for us in np.percentile(sample[:, -1], (50, 99)).tolist())
            stages = [round(us) for us in sample[:, 1:-1].mean(0).tolist()]
        asked = self._quality.model.queries > 0
        self._history.append(
            Second(
                time=self._now + 1,
                events=received - self._received,
                p50=p50,
                p99=p99,
                stages=stages,
                ndcg=round(self._quality.model.ndcg, 5) if asked else None,
                popularity=round(self._quality.popularity.ndcg, 5) if asked else None,
                lag=sum(self._health.waiting.values()),
            )
        )
        self._samples.append(sample)
        self._sample, self._received = array("d"), received

    # ------------------------------------------------------------------ what is shown

    def history(self, since: int) -> dict[str, Any]:
        """What does not change, and the history after `since` (s since the epoch)."""
        return {
            "model": self.model,
            "since_ms": self.since_ms,
            "stages": STAGES,
            "seconds": [second for second in self._history if second.time > since],
        }

    def figures(self) -> Figures:
        """The figures of now."""
        counts = self._pipeline.counts
        return Figures(
            ready=self._health.reason,
            received=counts.received,
            followed=counts.followed,
            recommendations=counts.recommendations,
            duplicates=counts.duplicates,
            late=counts.late,
            stream_ms=counts.newest_ms,
            stages=self._stages(),
            queries=self._quality.model.queries,
            ndcg=round(self._quality.model.ndcg, 5),
            popularity=round(self._quality.popularity.ndcg, 5),
            lag={str(number): lag for number, lag in sorted(self._health.waiting.items())},
            dead=dict(counts.dead_letters + counts.item_dead_letters),
            dead_last=list(reversed(self._dead)),
            active=list(reversed(self._active)),
            second=self._history[-1] if self._history else None,
            experiments=self.comparison.figures(),
        )

    def _stages(self) -> dict[str, tuple[int, int]]:
        if self._stages_of[0] != self._now:  # once a second: it is most of what a page costs
            sample = np.concatenate(self._samples) if self._samples else np.empty((0, len(STAGES)))
            found = {}
            if len(sample):
                p50, p99 = np.percentile(sample, (50, 99), axis=0).round().astype(int).tolist()
                found = {stage: (p50[n], p99[n]) for n, stage in enumerate(STAGES)}
            self._stages_of = self._now, found
        return self._stages_of[1]


def _dead_letter(letter: dead_letters.DeadLetter, now: float) -> DeadLetter:
    headers = {name: (value or b"").decode(errors="replace") for name, value in letter.headers}
    return DeadLetter(
        error_class=headers["error.class"],
        message=headers["error.message"],
        topic=headers["origin.topic"],
        partition=int(headers["origin.partition"]),
        offset=int(headers["origin.offset"]),
        time=now,
    )
