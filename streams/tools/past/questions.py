"""What was a user's list then, why, and what would it have been without an event of theirs."""

from __future__ import annotations

from typing import Any

import msgspec

from engine import lookup
from engine.step.ranking import Ranked
from streams.experiments.lists import explain as features_of
from streams.experiments.lists import recommend
from streams.kafka.partitioner import partition_of
from streams.messages.schemas import RankedItem
from streams.settings import Settings
from streams.tools.past.answers import Answer, Given, read_answer
from streams.tools.past.asking import OnProgress, Past, no_progress, offset_at, the_past
from streams.tools.past.comparison import are_equal, items_of
from streams.tools.past.error import PastError
from streams.tools.past.fold import Fold


def list_at(
    settings: Settings,
    moment_ms: int,
    user: str,
    k: int | None = None,
    on_progress: OnProgress = no_progress,
) -> dict[str, Any]:
    """A user's list as it would have been at a moment: all that the broker had then is applied.

    Returns
    -------
    dict
        ``user``, ``known`` (whether the user was), ``items``, ``model``, ``starts``, ``applied``.

    Raises
    ------
    PastError
        If it cannot be computed.
    """
    with the_past(settings, on_progress) as past:
        partition = partition_of(user, len(past.ends))
        target = offset_at(past, partition, moment_ms + 1)
        with past.before((partition, target)) as (fold, _):
            fold.catalogue.apply_until(moment_ms)
            items = _asked(fold, user, moment_ms, "asked", k)
            known = fold.engine.users.find(user) is not None
        return {"user": user, "known": known, "items": items} | _how(past)


def explain(
    settings: Settings,
    event_id: str,
    without: str | None = None,
    on_progress: OnProgress = no_progress,
) -> dict[str, Any]:
    """Why an event was answered so, and what the list would be without another event of the user.

    Parameters
    ----------
    without
        The id of that event, which may be the same.

    Returns
    -------
    dict
        ``event_id``, ``user``, ``timestamp``, ``items``, each with its ``features``, and in
        ``goes_with`` those of the user's items with which it goes; ``equal``,
        whether the list that was computed again is the answer; ``other``, the list without the
        event, if that was asked for; ``model``, ``starts``, ``applied``.

    Raises
    ------
    PastError
        If it cannot be computed, or there is no answer to these events.
    """
    with the_past(settings, on_progress) as past:
        answer = _answer(past, event_id)
        given = answer.given
        with past.before((answer.partition, answer.offset + 1)) as (fold, output):
            again = read_answer(output.value or b"") if output else None
            listed = items_of(given)
            features = _features(fold, given, listed)
            goes_with = [
                msgspec.to_builtins(lookup.origins(fold.engine, given.user, item.item))
                for item in listed
            ]
        found = {
            "event_id": event_id,
            "user": given.user,
            "timestamp": given.timestamp,
            "equal": again is not None and are_equal(given, again),
            "items": [
                msgspec.to_builtins(item) | {"features": parts, "goes_with": own}
                for item, parts, own in zip(listed, features, goes_with, strict=True)
            ],
        }
        if without is not None:
            found |= {"without": without, "other": _without(past, answer, without)}
        return found | _how(past)


def _without(past: Past, answer: Answer, event_id: str) -> list[dict[str, Any]]:
    """The list that the event of an answer would have had without another of its user's."""
    given, gone = answer.given, _answer(past, event_id)
    if gone.given.user != given.user:
        raise PastError(f"event {event_id!r} is of user {gone.given.user!r}, not {given.user!r}")
    if gone.offset > answer.offset:
        raise PastError(f"event {event_id!r} came after event {given.event_id!r}")
    if gone.partition != answer.partition:
        raise PastError(f"event {event_id!r} came in another partition than {given.event_id!r}")
    left_out = {(given.user, event_id): (gone.partition, gone.offset)}
    with past.before((answer.partition, answer.offset + 1), left_out) as (fold, _):
        return _asked(fold, given.user, given.timestamp, given.event_id)


def _answer(past: Past, event_id: str) -> Answer:
    of_each = (log.of_event(event_id) for log in past.answers.values())
    found = next(filter(None, of_each), None)
    if found is None:
        topic = past.settings.topics.recommendations
        raise PastError(f"no answer to event {event_id!r} stands on topic {topic}")
    return found


def _asked(
    fold: Fold, user: str, now: int, seed: str, k: int | None = None
) -> list[dict[str, Any]]:
    arms = fold.pipeline.arms
    found = recommend(fold.engine, arms.treatment(arms.of(user)), user, now, seed, k)
    built: list[dict[str, Any]] = msgspec.to_builtins([RankedItem(*each) for each in found.items])
    return built


def _features(fold: Fold, given: Given, listed: list[RankedItem]) -> list[dict[str, float]]:
    arms = fold.pipeline.arms
    treatment = arms.treatment(arms.of(given.user))
    ranked = [Ranked(item.item, item.score, item.reason) for item in listed]
    return features_of(fold.engine, treatment, given.user, ranked, given.timestamp)


def _how(past: Past) -> dict[str, Any]:
    return {
        "model": msgspec.to_builtins(past.model),
        "starts": past.starts,
        "applied": past.applied,
    }
