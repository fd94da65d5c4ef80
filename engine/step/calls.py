"""How the interpreter calls the step: one compiled entry for all that is asked of it.

What one entry calls is optimised as a whole, and again for each entry: so there is one, which
takes a third of the time to compile that seven took, and a contest has the same bytes whoever asks
for it. Where a part of an event is not compiled (a device that aggregates, a review's text,
candidates of a large catalogue, rules of a list), `engine.recommender` calls its parts one by one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.compiled import kernel, part
from engine.graph import recent_ids
from engine.step.events import EVENT, STAGES, observe, purge
from engine.step.model import (
    holds_contest,
    place,
    score_contest,
    score_trending,
    take_away,
    tell,
    tell_best,
)
from engine.step.tables import Hold

_OBSERVE, _PURGE, _SCORE, _TELL_BEST, _TELL, _TRENDING = range(6)
_NO_ITEM = np.int64(-1)
_EVERY = -1
_NO_EVENTS = np.empty(0, EVENT)
_NO_LISTS = np.empty((0, 3, 0))
_NO_STAGES = np.empty((0, len(STAGES)), np.int64)
_NO_NUMBERS, _NO_SCORES = np.empty(0, np.int32), np.empty(0, np.float32)


@kernel
def _call(  # type: ignore[no-untyped-def]
    held, what, user, now, history, n, exact, k, events, first, told, found, stages, numbers, scores
):
    t = held.tables
    if what == _OBSERVE:
        return observe(t, events, first, history, n, exact, k, told, found, stages)
    if what == _PURGE:
        purge(t, user, _NO_ITEM)
    elif what == _TRENDING:
        place(t.position, numbers)
        score_trending(t, user, numbers, t.position, scores)
        take_away(t.position, numbers)
    else:
        return _of_contest(t, what, user, now, history, n, exact, k, told, numbers)
    return 0


@part
def _of_contest(t, what, user, now, history, n, exact, k, told, numbers):  # type: ignore[no-untyped-def]
    s = t.scratch
    own = s.history[: recent_ids(t.users, user, history, 0, s.history)]
    if what == _SCORE:
        if not holds_contest(s, user, now):
            score_contest(t, user, own, n, exact, now)
        return s.kept[1]
    if what == _TELL_BEST:
        return tell_best(t, own, n, exact, k, told[0])
    tell(t, own, n, exact, numbers, told[0])
    return len(numbers)


def observe_events(
    held: Hold,
    events: NDArray[np.void],
    first: int,
    history: int,
    k: int,
    told: NDArray[np.float64],
    found: NDArray[np.int32],
    stages: NDArray[np.int64],
) -> int:
    """Take in the events from `first` on, all items competing, and answer each that asks for it.

    Parameters
    ----------
    events : EVENT[n]
    history
        How many of a user's items are read.
    told : float64[n, 3, k]
        Written: what is told of each answer's items (`engine.step.model.tell`).
    found : int32[n]
        Written: how many items each answer has.
    stages : int64[n, 5]
        Written: nanoseconds of each stage.

    Returns
    -------
    int
        How many events were taken in: fewer than n if the next needs more room than there is, which
        `scratch.demand` tells; nothing of it is done then.
    """
    return int(
        _call(
            held, _OBSERVE, -1, 0, history, _EVERY, True, k, events, first, told, found, stages,
            _NO_NUMBERS, _NO_SCORES,
        )
    )  # fmt: skip


def take_in_one(
    held: Hold, events: NDArray[np.void], history: int, n: int, exact: bool, laps: NDArray[np.int64]
) -> bool:
    """Learn from a single event (EVENT[1]) and note it, n candidates competing, and no more.

    laps : int64[5], written. False if there is no room for it.
    """
    return bool(
        _call(
            held, _OBSERVE, -1, 0, history, n, exact, 0, events, 0, _NO_LISTS, _NO_NUMBERS,
            laps[None], _NO_NUMBERS, _NO_SCORES,
        )
    )  # fmt: skip


def purge_user(held: Hold, user: int) -> None:
    """Drop what left from the rows that an answer for a user reads."""
    _ask(held, _PURGE, user)


def score_for(held: Hold, user: int, now: int, history: int, n: int, exact: bool) -> int:
    """Score n candidates for a user at a time (ms), unless the scratch holds that contest.

    Returns the contest's n.
    """
    return _ask(held, _SCORE, user, history, n, exact, now=now)


def tell_best_for(
    held: Hold, user: int, history: int, n: int, exact: bool, k: int, told: NDArray[np.float64]
) -> int:
    """`tell_best` of the user's contest: written to `told`, float64[3, k]."""
    return _ask(held, _TELL_BEST, user, history, n, exact, k, told[None])


def tell_for(
    held: Hold,
    user: int,
    history: int,
    n: int,
    exact: bool,
    best: NDArray[np.int32],
    told: NDArray[np.float64],
) -> None:
    """`tell` of the positions `best` (int32[k]) of the user's contest: to `told`, float64[3, k]."""
    _ask(held, _TELL, user, history, n, exact, 0, told[None], best)


def trending_for(
    held: Hold, user: int, candidates: NDArray[np.int32], scores: NDArray[np.float32]
) -> None:
    """`score_trending` of any candidates (int32[n]), for a user or for -1: to `scores`."""
    _ask(held, _TRENDING, user, numbers=candidates, scores=scores)


def _ask(
    held: Hold,
    what: int,
    user: int,
    history: int = 0,
    n: int = 0,
    exact: bool = True,
    k: int = 0,
    told: NDArray[np.float64] = _NO_LISTS,
    numbers: NDArray[np.int32] = _NO_NUMBERS,
    scores: NDArray[np.float32] = _NO_SCORES,
    now: int = 0,
) -> int:
    return int(
        _call(
            held, what, user, now, history, n, exact, k, _NO_EVENTS, 0, told, _NO_NUMBERS,
            _NO_STAGES, numbers, scores,
        )
    )  # fmt: skip
