"""Were these answers right: they are computed again, and compared."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import msgspec

from streams.settings import Settings
from streams.tools.past.answers import Answer, Given
from streams.tools.past.asking import OnProgress, Past, no_progress, offset_at, the_past
from streams.tools.past.comparison import Comparison
from streams.tools.past.error import PastError
from streams.tools.past.lives import Lives, Need


@dataclass(frozen=True)
class Range:
    """Which interactions are asked about; all, if nothing is said.

    Attributes
    ----------
    from_ms, to_ms
        When the broker had them, in milliseconds since the epoch: the first, and the last.
    last
        The last so many.
    """

    from_ms: int | None = None
    to_ms: int | None = None
    last: int | None = None


def audit(
    settings: Settings,
    asked: Range,
    force: bool = False,
    on_progress: OnProgress = no_progress,
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
        That of `Comparison`, and ``model``, ``starts`` (the checkpoints that were begun with),
        ``offsets``, ``workers`` (how many gave these answers), ``applied``, ``seconds``,
        ``events_per_second`` (of all that was applied), ``repeated`` and ``unreadable``.

    Raises
    ------
    PastError
        If they cannot be computed, or another model gave the answers.
    """
    with the_past(settings, on_progress) as past:
        first, end = _bounds(past, asked)
        comparison = Comparison(settings.topics.recommendations)
        began = time.monotonic()
        workers = _compare(past, first, end, comparison, force) if first < end else 0
        seconds = time.monotonic() - began
        return comparison.report() | {
            "repeated": past.answers.repeated,
            "unreadable": past.answers.unreadable,
            "model": msgspec.to_builtins(past.model),
            "starts": past.starts,
            "offsets": [first, end],
            "workers": workers,
            "applied": past.applied,
            "seconds": round(seconds, 2),
            "events_per_second": round(past.applied / seconds) if past.applied else 0,
        }


def _compare(past: Past, first: int, end: int, comparison: Comparison, force: bool) -> int:
    """Fold the life of each worker that gave answers of the range; returns how many these are."""
    asked: dict[str, Need] = {}

    def needs(lives: Lives) -> dict[str, Need]:
        asked.clear()
        for worker, begins, ends in lives.stretches(first, end):
            need = asked.setdefault(worker, Need(begins, ends))
            need.end = ends
        return asked

    lives, legs = past.legs(first, needs)
    total = sum(max(0, leg.end - leg.begins) for leg in legs)
    for leg in legs:
        worker, answers = leg.life.worker, _Answers(past, first, force)
        with closing(past.open(leg, first)) as fold, closing(answers):
            for record, output in past.run(fold, leg, total):
                if not first <= record.offset < end:
                    continue
                given = answers.of(record.offset)
                if lives.answering(record.offset) == worker:
                    comparison.take(record, output, given)
    return len(asked)


class _Answers:
    """The answers to interactions that are asked for in their order."""

    def __init__(self, past: Past, first: int, force: bool) -> None:
        self._answers = past.answers.since(first)
        self._next: Answer | None = next(self._answers, None)
        self._digest, self._force = past.model.digest, force

    def of(self, offset: int) -> Given | None:
        """That of an interaction, if it has one.

        Raises
        ------
        PastError
            If another model gave it, and that is not to be compared.
        """
        while self._next is not None and self._next.offset < offset:
            self._next = next(self._answers, None)
        if self._next is None or self._next.offset != offset:
            return None
        given = self._next.given
        if given.model.digest != self._digest and not self._force:
            raise PastError(
                f"answers of the range were given by model {given.model.digest or '(no digest)'}, "
                f"and these settings and this version are {self._digest}: run the version that "
                "gave them with its settings, choose a later range (--from, --last), or compare "
                "all the same with --force"
            )
        return given

    def close(self) -> None:
        """End the reader."""
        self._answers.close()


def _bounds(past: Past, asked: Range) -> tuple[int, int]:
    """The first interaction that is asked about, and the one after the last."""
    first, end = past.low, past.end
    oldest = past.answers.first()
    if oldest is not None and past.answers.expired:
        first = max(first, oldest.offset)
    if asked.to_ms is not None:
        end = offset_at(past, asked.to_ms + 1)
    if asked.from_ms is not None:
        first = max(first, offset_at(past, asked.from_ms))
    elif asked.last is not None:
        first = max(first, end - asked.last)
    return min(first, end), end
