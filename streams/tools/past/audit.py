"""Were these answers right: they are computed again, and compared."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import chain
from typing import Any

import msgspec

from streams.settings import Settings
from streams.tools.past.answers import Answer, Given
from streams.tools.past.asking import OnProgress, Past, no_progress, offset_at, the_past
from streams.tools.past.comparison import Comparison
from streams.tools.past.error import PastError
from streams.tools.past.processes import Process, Processes, Stretch
from streams.tools.past.reruns import Wanted


@dataclass(frozen=True)
class Range:
    """Which interactions are asked about; all, if nothing is said.

    Attributes
    ----------
    from_ms, to_ms
        When the broker had them, in milliseconds since the epoch: the first, and the last.
    last
        The last so many of each partition.
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
        ``events_per_second`` (of all that was applied), ``repeated``, ``unreadable`` and
        ``rebuilt`` (how many rebuilds without forgotten users have the digest that the worker
        told, and how many another).

    Raises
    ------
    PastError
        If they cannot be computed, or another model gave the answers.
    """
    with the_past(settings, on_progress) as past:
        ranges = {number: _bounds(past, number, asked) for number in past.ends}
        comparison = Comparison(settings.topics.recommendations)
        began = time.monotonic()
        workers = _compare(past, ranges, comparison, force)
        seconds = time.monotonic() - began
        rebuilt = past.rebuilt
        report = comparison.report() | {
            "rebuilt": {"equal": sum(rebuilt), "different": len(rebuilt) - sum(rebuilt)},
            "repeated": sum(log.repeated for log in past.answers.values()),
            "unreadable": sum(log.unreadable for log in past.answers.values()),
            "model": msgspec.to_builtins(past.model),
            "starts": past.starts,
            "offsets": {number: list(bounds) for number, bounds in ranges.items()},
            "workers": workers,
            "applied": past.applied,
            "seconds": round(seconds, 2),
            "events_per_second": round(past.applied / seconds) if past.applied else 0,
        }
        return report | {"all_equal": report["all_equal"] and all(rebuilt)}


def _compare(
    past: Past, ranges: dict[int, tuple[int, int]], comparison: Comparison, force: bool
) -> int:
    """Do again what each worker did that gave answers of the ranges; returns how many these are."""
    firsts = {number: first for number, (first, end) in ranges.items() if first < end}
    if not firsts:
        return 0
    stretches: dict[str, list[Stretch]] = {}

    def wanted(processes: Processes) -> dict[str, Wanted]:
        stretches.clear()
        for number in firsts:
            for stretch in processes.stretches(number, *ranges[number]):
                stretches.setdefault(stretch.worker, []).append(stretch)
        return {
            worker: _wanted(processes.by_worker[worker], of_it)
            for worker, of_it in stretches.items()
        }

    reruns = past.plan(firsts, wanted)
    total = sum(rerun.end - rerun.done[0] for rerun in reruns)
    for rerun in reruns:
        mine: dict[int, list[Stretch]] = {}
        for stretch in stretches.get(rerun.process.worker, ()):
            mine.setdefault(stretch.partition, []).append(stretch)
        answers = {number: _Answers(past, number, firsts[number], force) for number in mine}
        ends = {number: [each.end for each in of_it] for number, of_it in mine.items()}
        with closing(past.open(rerun, firsts, ends=ends)) as fold, ExitStack() as stack:
            for each in answers.values():
                stack.callback(each.close)
            left = [
                past.counted(fold.finish(number), total)
                for number in mine
                if not rerun.save  # else another part goes on
            ]
            for record, output in chain(past.run(fold, rerun, total), *left):
                if any(s.first <= record.offset < s.end for s in mine.get(record.partition, ())):
                    given = answers[record.partition].of(record.offset)
                    comparison.take(record, output, given)
    return len(stretches)


def _wanted(process: Process, stretches: list[Stretch]) -> Wanted:
    """Which of a process's answers are those of stretches, or lie before them."""
    firsts = [process.number(each.partition, each.first) for each in stretches]
    ends = [process.number(each.partition, each.end) for each in stretches]
    inside = [
        n for n, partition, offset in process.answers
        if any(s.partition == partition and s.first <= offset < s.end for s in stretches)
    ]  # fmt: skip
    return Wanted(min(inside or firsts), max(ends))


class _Answers:
    """The answers to interactions that are asked for in their order."""

    def __init__(self, past: Past, partition: int, first: int, force: bool) -> None:
        self._answers = past.answers[partition].since(first)
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


def _bounds(past: Past, partition: int, asked: Range) -> tuple[int, int]:
    """The first interaction of a partition that is asked about, and the one after the last."""
    first, end = past.input.lows[partition], past.ends[partition]
    answers = past.answers[partition]
    oldest = answers.first()
    if oldest is not None and answers.expired:
        first = max(first, oldest.offset)
    if asked.to_ms is not None:
        end = offset_at(past, partition, asked.to_ms + 1)
    if asked.from_ms is not None:
        first = max(first, offset_at(past, partition, asked.from_ms))
    elif asked.last is not None:
        first = max(first, end - asked.last)
    return min(first, end), end
