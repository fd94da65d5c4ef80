"""The two questions to the past: were these answers right, and what was a user's list then."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import msgspec
from confluent_kafka import TopicPartition

from engine.recommender import Recommender
from streams.kafka import clients
from streams.messages.schemas import RankedItem
from streams.settings import Settings
from streams.tools.audit.comparison import Comparison
from streams.tools.audit.history import History
from streams.tools.audit.past import AuditError, Offsets, Past, starting_point
from streams.worker.delivery import last_written
from streams.worker.input_log import Input
from streams.worker.pins import model_of

OnProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class Range:
    """Which interactions are asked about; all, if nothing is said.

    Attributes
    ----------
    from_ms, to_ms
        When the broker had them, in milliseconds since the epoch: the first, and the last.
    last
        The last so many, an equal share of each partition.
    """

    from_ms: int | None = None
    to_ms: int | None = None
    last: int | None = None


def audit(
    settings: Settings,
    asked: Range,
    force: bool = False,
    on_progress: OnProgress = lambda done, total: None,
) -> dict[str, Any]:
    """Compute past answers again, and compare them with those on the output topic.

    Parameters
    ----------
    force
        Compare answers that another model gave, too.
    on_progress
        Called now and then with the interactions that were applied, and how many there are.

    Returns
    -------
    dict
        That of `Comparison`, and ``model``, ``start``, ``offsets``, ``applied_before``,
        ``seconds``, ``events_per_second`` (of all that was applied, from the first message read),
        ``repeated`` and ``unreadable``.

    Raises
    ------
    AuditError
        If there is no state to begin with, or another model gave the answers.
    """
    input_, model = Input.of(settings), model_of(settings)
    # Who asks while workers answer asks about what is answered.
    answered = {
        number: last_written(settings, number, input_.topic_id) + 1 for number in input_.highs
    }
    first, ends = _bounds(settings, input_, asked, answered)
    whole = asked == Range(to_ms=asked.to_ms)
    oldest = _same_model(settings, input_, first, ends, model.digest, force)
    start = starting_point(settings, input_, first, or_later=whole)
    past = Past(settings, input_, model, start, first)
    first = {number: max(at, past.offsets[number]) for number, at in first.items()}
    comparison = Comparison(settings.topics.recommendations, oldest)
    total = sum(max(0, ends[n] - at) for n, at in past.offsets.items())
    began, done = time.monotonic(), 0
    for entry, output in past.again(ends):
        done += 1
        if entry.record.offset >= first[entry.record.partition]:
            comparison.take(entry, output)
            if not force and entry.answer and entry.answer.model.digest != model.digest:
                raise _another_model(entry.answer.model.digest, model.digest)
        if done % 1_000 == 0:
            on_progress(done, total)
    seconds = time.monotonic() - began
    return comparison.report() | {
        "repeated": sum(history.repeated for history in past.histories),
        "unreadable": sum(history.unreadable for history in past.histories),
        "model": msgspec.to_builtins(model),
        "start": str(start.path) if start else "an empty engine",
        "offsets": {n: [first[n], ends[n]] for n in sorted(first)},
        "applied_before": done - comparison.messages,
        "seconds": round(seconds, 2),
        "events_per_second": round(done / seconds) if done else 0,
    }


def list_at(
    settings: Settings,
    moment_ms: int,
    user: str,
    k: int | None = None,
    without: Collection[str] = (),
    on_progress: OnProgress = lambda done, total: None,
) -> dict[str, Any]:
    """A user's list as it would have been at a moment: all that the broker had then is applied.

    Parameters
    ----------
    without
        Ids of events of the user's that are left out of the log, as if they had never been.

    Returns
    -------
    dict
        ``user``, ``known`` (whether the user was), ``items``, ``model``, ``start``, ``applied``,
        ``without``.

    Raises
    ------
    AuditError
        If there is no state to begin with, or such an event has no answer.
    """
    input_, model = Input.of(settings), model_of(settings)
    ends = _offsets_at(settings, input_, moment_ms + 1)
    before = _before(settings, input_, user, without, ends)
    start = starting_point(settings, input_, before)
    left_out = [(user, event_id) for event_id in without]
    past = Past(settings, input_, model, start, ends, left_out)
    total = sum(max(0, ends[n] - at) for n, at in past.offsets.items())
    done = 0
    for done, _ in enumerate(past.again(ends), 1):
        if done % 1_000 == 0:
            on_progress(done, total)
    past.catalogue.advance_to_time(moment_ms)
    return _list(past.engine, user, k) | {
        "model": msgspec.to_builtins(model),
        "start": str(start.path) if start else "an empty engine",
        "applied": done,
        "without": list(without),
    }


def _before(
    settings: Settings, input_: Input, user: str, events: Collection[str], ends: Offsets
) -> Offsets:
    """Offsets that these events are not below: the state has to begin there or earlier.

    Raises
    ------
    AuditError
        If one has no answer on the topic, which is looked through for it.
    """
    before, wanted = dict(ends), set(events)
    for number in ends if wanted else ():
        history = History(settings, number, input_.topic_id)
        with closing(history.answers(0)) as answers:
            for given, _ in answers:
                if given.source.offset >= ends[number] or not wanted:
                    break
                if given.user == user and given.event_id in wanted:
                    wanted.discard(given.event_id)
                    before[number] = min(before[number], given.source.offset)
    if wanted:
        raise AuditError(
            f"no answer to event {min(wanted)!r} of user {user!r} stands on topic "
            f"{settings.topics.recommendations} before that time"
        )
    return before


def _list(engine: Recommender, user: str, k: int | None) -> dict[str, Any]:
    items = [RankedItem(*ranked) for ranked in engine.recommend(user, k).items]
    known = engine.users.find(user) is not None
    return {"user": user, "known": known, "items": msgspec.to_builtins(items)}


def _bounds(
    settings: Settings, input_: Input, asked: Range, answered: Offsets
) -> tuple[Offsets, Offsets]:
    """The first interaction of each partition that is asked about, and the one after the last."""
    lows = input_.lows
    ends = {n: max(low, min(answered[n], input_.highs[n])) for n, low in lows.items()}
    first = dict(lows)
    if asked.to_ms is not None:
        until = _offsets_at(settings, input_, asked.to_ms + 1)
        ends = {n: max(lows[n], min(end, until[n])) for n, end in ends.items()}
    if asked.from_ms is not None:
        since = _offsets_at(settings, input_, asked.from_ms)
        first = {n: min(since[n], ends[n]) for n in first}
    elif asked.last is not None:
        share = -(-asked.last // len(first))
        first = {n: max(lows[n], ends[n] - share) for n in first}
    return first, ends


def _offsets_at(settings: Settings, input_: Input, moment_ms: int) -> Offsets:
    """The first interaction of each partition that the broker had at a moment or later."""
    topic = settings.topics.interactions
    reader = clients.reader(settings)
    try:
        asked = [TopicPartition(topic, number, moment_ms) for number in input_.highs]
        found = reader.offsets_for_times(asked, timeout=clients.TIMEOUT_SECONDS)
    finally:
        reader.close()
    return {
        place.partition: place.offset if place.offset >= 0 else input_.highs[place.partition]
        for place in found
    }


def _same_model(
    settings: Settings, input_: Input, first: Offsets, ends: Offsets, digest: str, force: bool
) -> Offsets:
    """The interaction of the oldest answer of each partition; looks at who gave the first ones.

    Raises
    ------
    AuditError
        If the first answer of the range, or its last, is of another model.
    """
    oldest: Offsets = {}
    for number in first:
        history = History(settings, number, input_.topic_id)
        found = history.first_answer(0)
        oldest[number] = found.source.offset if found else ends[number]
        for at in (first[number], ends[number] - 1):
            found = history.first_answer(max(0, at))
            inside = found is not None and found.source.offset < ends[number]
            if found and inside and found.model.digest != digest and not force:
                raise _another_model(found.model.digest, digest)
    return oldest


def _another_model(given: str, digest: str) -> AuditError:
    return AuditError(
        f"answers of the range were given by model {given or '(without a digest)'}, and these "
        f"settings and this version are {digest}: run the version that gave them with its "
        "settings, choose a later range (--from, --last), or compare all the same with --force"
    )
