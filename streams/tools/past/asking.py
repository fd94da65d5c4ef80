"""What every question to the past needs: the log, who answered it, and processes done again."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from confluent_kafka import TopicPartition

from streams.kafka import clients
from streams.kafka.record import Record
from streams.messages.schemas import Model
from streams.settings import Settings
from streams.tools.past.answers import AnswerLog
from streams.tools.past.beginnings import Beginnings
from streams.tools.past.fold import Fold
from streams.tools.past.processes import EarlierError, Processes
from streams.tools.past.reruns import Place, Rerun, Wanted, plan
from streams.worker.delivery import Output, last_written
from streams.worker.input_log import Input
from streams.worker.pins import model_of

OnProgress = Callable[[int, int], None]
Applied = Iterator[tuple[Record, Output | None]]
"""Interactions that are applied one by one, each with what is written for it now."""


def no_progress(_done: int, _total: int) -> None:
    """Tell nobody."""


@dataclass
class Past:
    """The log, and those who answered it.

    Attributes
    ----------
    answers
        By partition.
    ends
        By partition, the offset after the last interaction that is answered.
    applied
        How many interactions were applied so far.
    rebuilt
        For each rebuild without forgotten users, whether its digest is that which the worker told.
    starts
        The checkpoints that were begun with; an empty string for an empty engine.
    """

    settings: Settings
    input: Input
    model: Model
    answers: dict[int, AnswerLog]
    beginnings: Beginnings
    ends: dict[int, int]
    on_progress: OnProgress = no_progress
    applied: int = 0
    rebuilt: list[bool] = field(default_factory=list)
    starts: list[str] = field(default_factory=list)

    def plan(
        self, firsts: Mapping[int, int], wanted: Callable[[Processes], Mapping[str, Wanted]]
    ) -> list[Rerun]:
        """What has to be done again for what is wanted from interactions on.

        Parameters
        ----------
        firsts
            Those, by partition; of others, the last that is answered.
        wanted
            What that is, by worker, when it is known who answered.
        """
        begins = dict(self.ends) | dict(firsts)
        while True:
            processes = Processes(self.answers, begins)
            try:
                return plan(processes, self.beginnings, wanted(processes), self.input.lows)
            except EarlierError as error:
                earlier = error.begins if error.begins is not None else dict.fromkeys(begins, 0)
                begins |= {number: min(at, begins[number]) for number, at in earlier.items()}

    def open(
        self,
        rerun: Rerun,
        firsts: Mapping[int, int],
        left_out: Collection[tuple[str, str]] = (),
        ends: Mapping[int, Sequence[int]] | None = None,
    ) -> Fold:
        """The state with which a process begins; arguments as of `Fold`."""
        place = self.beginnings.place(rerun.start) if rerun.start else ""
        if place or not rerun.start:
            self.starts.append(place)
        return Fold(
            self.settings, self.input, self.model, rerun, self.beginnings, firsts, left_out, ends
        )

    def run(self, fold: Fold, rerun: Rerun, total: int) -> Applied:
        """Do a part of a process again, and save what others begin with; `total` is for who
        watches."""
        yield from self.counted(fold.run(rerun.end, rerun.steps), total)
        if rerun.save:
            fold.save(self.beginnings.anew(rerun.save))
        self.rebuilt += fold.rebuilt

    def counted(self, applied: Applied, total: int) -> Applied:
        """The same, counted."""
        for pair in applied:
            self.applied += 1
            if self.applied % 1_000 == 0:
                self.on_progress(self.applied, total)
            yield pair

    @contextmanager
    def before(
        self,
        target: Place,
        left_out: Mapping[tuple[str, str], Place] | None = None,
    ) -> Iterator[tuple[Fold, Output | None]]:
        """The state that the worker had which answered the interaction before an offset.

        Parameters
        ----------
        target
            Its partition, and that offset.
        left_out
            User and id of an event of the same partition that shall not have been, and where it
            first stands.

        Yields
        ------
        The state, and what is written for that interaction.
        """
        partition, end = target
        gone = next(iter((left_out or {}).values()), None)
        firsts = {partition: min(max(0, end - 1), gone[1] if gone else end)}
        chosen: dict[str, Wanted] = {}

        def wanted(processes: Processes) -> dict[str, Wanted]:
            chosen.clear()
            worker = processes.answering(partition, end - 1)
            number = processes.by_worker[worker].number(partition, end)
            chosen[worker] = Wanted(max(0, number - 1), number, gone)
            return chosen

        reruns = self.plan(firsts, wanted)
        total = self.applied + sum(rerun.end - rerun.done[0] for rerun in reruns)
        for rerun in reruns:
            asked = rerun.process.worker in chosen and not rerun.save
            ends = {partition: [end]} if asked else {}
            with closing(self.open(rerun, {partition: end - 1}, left_out or (), ends)) as fold:
                output = None
                left = self.counted(fold.finish(partition), total)
                for record, written in chain(self.run(fold, rerun, total), left):
                    if (record.partition, record.offset) == (partition, end - 1):
                        output = written
                if asked:
                    yield fold, output
                    return


@contextmanager
def the_past(settings: Settings, on_progress: OnProgress = no_progress) -> Iterator[Past]:
    """The past of the topic of interactions, as it is now."""
    input_ = Input.of(settings)
    ends = {
        number: max(low, min(last_written(settings, number, input_.topic_id) + 1,
                             input_.highs[number]))
        for number, low in input_.lows.items()
    }  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="millrace-past-") as anew:
        yield Past(
            settings,
            input_,
            model_of(settings),
            {number: AnswerLog(settings, number, input_.topic_id) for number in ends},
            Beginnings(settings, input_, Path(anew)),
            ends,
            on_progress,
        )


def offset_at(past: Past, partition: int, moment_ms: int) -> int:
    """The first interaction of a partition that the broker had at a moment or later; at most the
    end of what is answered."""
    with closing(clients.reader(past.settings)) as reader:
        asked = [TopicPartition(past.settings.topics.interactions, partition, moment_ms)]
        [found] = reader.offsets_for_times(asked, timeout=clients.TIMEOUT_SECONDS)
    end = past.ends[partition]
    return found.offset if 0 <= found.offset <= end else end
