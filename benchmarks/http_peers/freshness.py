"""How soon an answer knows what has just happened.

Two things are timed, each from the moment that the contender has accepted the event:

- own feedback: a user takes the first of the ten items shown; until the ten are others. All
  contenders leave out what was taken, so the answer must change.
- what others taught: four users take the same five items; then an item that is new to the catalogue
  is taken by three of them. Until it is among the ten of the fourth.

Answers are polled back to back, so a time is at least that of one query; `floor_ms` is that.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.http_peers.contenders import HttpContender
from engine.events import Interaction, Item

ALIKE = 5
"""Items that users who are like each other have in common."""
LIKED_BY = 3
MOMENT_SECONDS = 1.0
"""After that long the next try begins, and those still open are asked after in turn."""
PAUSE_SECONDS = 0.1
"""Between two such turns once all have begun: polling shall not take what learning needs."""


class Events:
    """Invented events, each later than the one before.

    Parameters
    ----------
    mark
        Part of their ids, and of those of invented users and items, that nothing else shares.
    timestamp
        In milliseconds; the first is a second later.

    Attributes
    ----------
    now : int
        The timestamp of the last one.
    """

    def __init__(self, mark: str, timestamp: int) -> None:
        self.mark = mark
        self.now = timestamp
        self._count = 0

    def took(self, user: str, item: str) -> Interaction:
        """A user takes an item, with the best rating."""
        self._count += 1
        self.now += 1000
        return Interaction(
            event_id=f"{self.mark}-{self._count}", user=user, item=item,
            timestamp=self.now, kind="rating", value=5.0,
        )  # fmt: skip

    def item(self, number: int) -> Item:
        """A new item."""
        name = f"{self.mark}-new-{number}"
        return Item(item=name, title=f"New {number}", timestamp=self.now)


def own_feedback(
    contender: HttpContender,
    users: Sequence[str],
    events: Events,
    tries: int,
    patience: float,
    seed: int = 0,
) -> dict[str, Any]:
    """Users take what they are shown, one at a time.

    Returns
    -------
    dict
        `accepted_ms` (acceptance to changed answer) and `sent_ms` (sending to changed answer), each
        p50, p99 and max; `moved_share`: of the first changed answers, those in which more than the
        taken item's place was others'; `n`, `unchanged` after `patience` seconds; `floor_ms`.
    """
    rng = np.random.default_rng(seed)
    accepted_ms, sent_ms, moved = [], [], 0
    unchanged = 0
    for user in rng.choice(np.array(users), tries).tolist():
        before = contender.query(user)
        if not before:
            unchanged += 1
            continue
        sent = time.perf_counter()
        contender.feed(events.took(user, before[0]))
        accepted = time.perf_counter()
        while (after := contender.query(user)) == before:
            if time.perf_counter() > accepted + patience:
                break
        now = time.perf_counter()
        if after == before:
            unchanged += 1
            continue
        accepted_ms.append((now - accepted) * 1e3)
        sent_ms.append((now - sent) * 1e3)
        moved += before[1:] != after[: len(before) - 1]
    return {
        "accepted_ms": spread(accepted_ms),
        "sent_ms": spread(sent_ms),
        "moved_share": round(moved / len(accepted_ms), 3) if accepted_ms else None,
        "n": len(accepted_ms),
        "unchanged": unchanged,
        "floor_ms": floor(contender, users, tries, seed),
    }


def floor(
    contender: HttpContender, users: Sequence[str], queries: int, seed: int = 0
) -> dict[str, float]:
    """Milliseconds of a query while nothing is fed: what polling costs at least."""
    rng = np.random.default_rng(seed)
    took = []
    for user in rng.choice(np.array(users), queries).tolist():
        started = time.perf_counter()
        contender.query(user)
        took.append((time.perf_counter() - started) * 1e3)
    return spread(took)


def what_others_taught(
    contender: HttpContender,
    histories: Mapping[str, Sequence[str]],
    events: Events,
    tries: int,
    patience: float,
    seed: int = 0,
) -> dict[str, Any]:
    """New items that three users liked, and a fourth who is like them.

    Parameters
    ----------
    histories
        Whom it knows and what they took, oldest first: the five items are some user's latest.
    patience
        Seconds after which an item counts as never offered.

    Returns
    -------
    dict
        `accepted_ms`, from the third like's acceptance, p50, p99 and max; `n`; `never`.
    """
    rng = np.random.default_rng(seed)
    sources = [user for user, taken in histories.items() if len(taken) >= ALIKE]
    waiting: dict[str, tuple[str, float]] = {}
    took: list[float] = []

    def ask(until: float, pause: float = 0.0) -> None:
        """Ask after what is awaited, in turns, until all is there or it is time."""
        while waiting and time.perf_counter() < until:
            time.sleep(pause)
            for user, (item, since) in list(waiting.items()):
                if item in contender.query(user):
                    took.append((time.perf_counter() - since) * 1e3)
                    del waiting[user]

    for number in range(tries):
        alike = list(histories[sources[int(rng.integers(len(sources)))]][-ALIKE:])
        *likers, fourth = [f"{events.mark}-{number}-{place}" for place in range(LIKED_BY + 1)]
        new = events.item(number)
        contender.add_items([new])
        for user in (*likers, fourth):
            for item in alike:
                contender.feed(events.took(user, item))
        for user in likers:
            contender.feed(events.took(user, new.item))
        accepted = time.perf_counter()
        waiting[fourth] = new.item, accepted
        ask(accepted + MOMENT_SECONDS)
    ask(time.perf_counter() + patience, PAUSE_SECONDS)
    return {"accepted_ms": spread(took), "n": len(took), "never": len(waiting)}


def spread(milliseconds: Sequence[float]) -> dict[str, float]:
    """p50, p99 and max of a sample, in its own unit; empty for none."""
    if not milliseconds:
        return {}
    p50, p99 = np.percentile(milliseconds, [50, 99])
    return {"p50": round(p50, 2), "p99": round(p99, 2), "max": round(max(milliseconds), 2)}
