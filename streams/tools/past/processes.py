"""The worker processes that gave answers, and what each of them did, as their answers tell."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from itertools import groupby, pairwise

from streams.messages.state_mark import Cut, Step
from streams.tools.past.answers import AnswerLog
from streams.tools.past.error import PastError


@dataclass
class Process:
    """One worker process.

    Attributes
    ----------
    worker
        Its id, which is part of its checkpoints' names; empty for answers without a mark.
    began
        The name of the checkpoint that it began with; empty for an empty engine.
    cut
        Where that was cut in the life of the process that wrote it, if its answers tell.
    answers
        Of each that it gave and that was read: how many it had given before, partition and offset
        of the interaction. In order, after `sort`.
    steps
        What it did beside answering, by number.
    gaps
        Answers (by how many it had given before) before which it did more than they tell.
    """

    worker: str
    began: str
    cut: Cut | None = None
    answers: list[tuple[int, int, int]] = field(default_factory=list)
    steps: dict[int, Step] = field(default_factory=dict)
    gaps: list[int] = field(default_factory=list)

    def has_all(self, first: int, end: int) -> bool:
        """Whether each of these answers was read, by how many were given before."""
        low = bisect_right(self.answers, (first, -1, -1))
        return bisect_right(self.answers, (end, -1, -1)) - low >= end - first

    def number(self, partition: int, end: int) -> int:
        """How many answers it had given when it had answered a partition up to before an offset."""
        given = (n + 1 for n, p, offset in self.answers if p == partition and offset < end)
        return max(given, default=0)


@dataclass(frozen=True)
class Stretch:
    """Interactions of a partition, from one offset to before another, that a worker answered."""

    worker: str
    partition: int
    first: int
    end: int


class Processes:
    """All of them that answered interactions from an offset of each partition on.

    Attributes
    ----------
    begins
        Those offsets, by partition.
    by_worker
        The processes.
    """

    def __init__(self, logs: Mapping[int, AnswerLog], begins: Mapping[int, int]) -> None:
        self.begins = dict(begins)
        self.by_worker: dict[str, Process] = {}
        self._firsts: dict[int, list[int]] = {}
        self._workers: dict[int, list[str]] = {}
        for partition, log in logs.items():
            self._read(partition, log)
        for process in self.by_worker.values():
            process.answers.sort()

    def _read(self, partition: int, log: AnswerLog) -> None:
        firsts = self._firsts[partition] = list[int]()
        workers = self._workers[partition] = list[str]()
        with closing(log.since(self.begins[partition])) as answers:
            for answer in answers:
                mark = answer.mark
                worker = mark.worker if mark else ""
                if not workers or workers[-1] != worker:
                    firsts.append(answer.offset)
                    workers.append(worker)
                began = mark.began if mark else ""
                process = self.by_worker.setdefault(worker, Process(worker, began))
                if mark is None:
                    continue
                process.answers.append((mark.n, partition, answer.offset))
                process.steps |= dict(enumerate(mark.steps, mark.first))
                process.cut = process.cut or mark.cut
                if mark.gap:
                    process.gaps.append(mark.n)

    def answering(self, partition: int, offset: int) -> str:
        """The worker that answered an interaction; if nobody did, the one that answered the last
        before it in its partition, or else the first there.

        Raises
        ------
        PastError
            If there is no answer.
        EarlierError
            If an earlier one may tell.
        """
        place = bisect_right(self._firsts[partition], offset) - 1
        if place < 0 and self.begins[partition]:
            raise EarlierError
        if not self._firsts[partition]:
            raise PastError(
                f"there are no answers to interactions of partition {partition} on the output topic"
            )
        return self._workers[partition][max(0, place)]

    def stretches(self, partition: int, first: int, end: int) -> Iterator[Stretch]:
        """Who answered these interactions of a partition, one after the other."""
        cuts = [at for at in self._firsts[partition] if first < at < end]
        edges = [first, *cuts, end] if first < end else []
        named = [
            (self.answering(partition, begin), begin, until) for begin, until in pairwise(edges)
        ]
        for worker, group in groupby(named, key=lambda each: each[0]):
            parts = list(group)
            yield Stretch(worker, partition, parts[0][1], parts[-1][2])


class EarlierError(Exception):
    """Answers of earlier interactions have to be read, too.

    Attributes
    ----------
    begins
        From where, by partition; all of them, unless told.
    """

    def __init__(self, begins: Mapping[int, int] | None = None) -> None:
        super().__init__()
        self.begins = begins
