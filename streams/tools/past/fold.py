"""What a worker process did, done again: the checkpoint that it began with, and the logs since.

Events go through the worker's own pipeline; what it would write is handed out instead. Nothing is
written to Kafka, no group is joined, no checkpoint of the workers is touched.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import deque
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from engine.recommender import Recommender
from streams.kafka.record import Record
from streams.kafka.stretch import records_between
from streams.messages.schemas import Model
from streams.messages.state_mark import Rebuilt, Step, Taken
from streams.settings import Settings
from streams.tools.past.beginnings import Beginnings
from streams.tools.past.delta_log import DeltaLog
from streams.tools.past.error import PastError
from streams.tools.past.reruns import Rerun
from streams.worker.catalogue_log import CatalogueLog
from streams.worker.checkpoints import Notes
from streams.worker.delivery import Output, OutputQueue
from streams.worker.durations import Histogram
from streams.worker.engine_thread import EngineThread
from streams.worker.input_log import Input
from streams.worker.item_deltas import ItemDeltas
from streams.worker.ledger import Ledger
from streams.worker.partition import Partition
from streams.worker.pipeline import Pipeline
from streams.worker.rebuild import Rebuild
from streams.worker.user_side import UserSide


class Collector:
    """Keeps what the pipeline would write; a `streams.worker.delivery.Writer`.

    Parameters
    ----------
    first
        The first offset whose output is wanted.
    """

    may_reopen = False

    def __init__(self, first: int) -> None:
        self.queue = OutputQueue(first)
        self.queue.written = first - 1
        self.durations = Histogram()
        self.failure: Exception | None = None
        self._outputs: dict[int, Output] = {}

    def put(self, outputs: Sequence[Output], handled: int) -> None:
        """Keep these."""
        self._outputs |= {output.offset: output for output in outputs}

    def take(self) -> dict[int, Output]:
        """What was kept, by the offset it is of."""
        taken, self._outputs = self._outputs, {}
        return taken

    def open(self, stopping: threading.Event) -> None:
        """Nothing: there is nothing to write to."""

    def advance(self) -> None:
        """Nothing."""

    def reopen(self, stopping: threading.Event) -> None:
        """Nothing."""

    def close(self, seconds: float) -> None:
        """Nothing."""


class Fold:
    """The state of a worker process that does again what it did.

    Parameters
    ----------
    first
        By partition, the first offset whose output is wanted: what is before is only applied. Of
        other partitions no output is wanted.
    left_out
        User and id of each event that shall not have been.
    ends
        By partition, the offsets before which all is the process's: what is left there without an
        answer is applied before it gives the partition up.

    Attributes
    ----------
    engine, catalogue
        As of what was applied last.
    pipeline
        Its arms are those of the settings.
    rebuilt
        For each rebuild without forgotten users, whether its digest is that which the worker told.
    """

    def __init__(
        self,
        settings: Settings,
        input_: Input,
        model: Model,
        rerun: Rerun,
        beginnings: Beginnings,
        first: Mapping[int, int],
        left_out: Collection[tuple[str, str]] = (),
        ends: Mapping[int, Sequence[int]] | None = None,
    ) -> None:
        self._ends = {number: deque(sorted(of_it)) for number, of_it in (ends or {}).items()}
        self._settings, self._input, self._process = settings, input_, rerun.process
        self._model, self._beginnings = model, beginnings
        self.rebuilt: list[bool] = []
        start = beginnings.load(rerun.start) if rerun.start else None
        notes = start.notes if start else Notes(input_.name, {}, {})
        self.engine = start.engine if start else Recommender.new(settings.engine)
        self.pipeline = Pipeline(self.engine, settings, model, input_.topic_id)
        gone = frozenset(left_out)
        self.pipeline.leaves_out = lambda _, event: (event.user, event.event_id) in gone
        self._collectors = {n: Collector(first.get(n, input_.highs[n])) for n in input_.highs}
        window = settings.worker.duplicate_window
        self._partitions = {
            number: Partition(number=number, window=window, writer=collector)
            for number, collector in self._collectors.items()
        }
        for number, of_partition in notes.partitions.items():
            self._partitions[number].resume(of_partition)
            self._partitions[number].held = True
        self.catalogue = CatalogueLog(settings, self.engine, notes.catalogue, notes.items)
        self._records = _Records(settings, input_.highs)
        self._answers, self._steps = self._begun, _ = rerun.done
        self._next = bisect_left(self._process.answers, (self._answers, -1, -1))
        self._numbers = sorted(self._process.steps)
        self._drop_reached()
        self._shared = self._share(notes) if len(self._partitions) > 1 else None

    def _share(self, notes: Notes) -> _Shared:
        """Items are shared, as `streams.worker.app.Worker` has it."""
        self.pipeline.settles = True
        worker, counts = self._process.worker, self.pipeline.counts
        deltas = ItemDeltas(
            self._settings, self._input.topic_id, self.engine, self._partitions, counts, worker
        )
        deltas.open(Ledger(notes.positions, notes.owners), notes.deltas)
        users = UserSide(
            self.engine, self._partitions, None, self._settings.engine, EngineThread(),
            lambda: self._input.fits,
        )  # fmt: skip
        users.resume()
        return _Shared(deltas, DeltaLog(self._settings, deltas), users)

    def _drop_reached(self) -> None:
        """Drop ends of partitions that the process had given up before it begins here."""
        for number, ends in self._ends.items():
            while (
                ends
                and not self._partitions[number].held
                and 0 < self._process.number(number, ends[0]) <= self._begun
            ):
                ends.popleft()

    # ------------------------------------------------------------------ doing it again

    def run(self, answers: int, steps: int | None = None) -> Iterator[tuple[Record, Output | None]]:
        """Apply all that the process did until it had given so many answers: each interaction, and
        what is written for it now.

        Parameters
        ----------
        steps
            And until it had done so many steps; those before the last answer, unless told.

        Raises
        ------
        PastError
            If something of it is not known, or no more.
        """
        given = self._process.answers
        while True:
            step = self._process.steps.get(self._steps)
            if step is not None and step.at <= self._answers:
                if self._answers == answers and (steps is None or self._steps >= steps):
                    return
                yield from self._do(step)
                self._steps += 1
                continue
            self._check_steps()
            if self._next == len(given) or given[self._next][0] >= answers:
                return
            until = answers if step is None else min(answers, step.at)
            number, partition, offset = given[self._next]
            if number >= until:  # what was answered before the step stands nowhere
                self._answers = until
                continue
            while number < until:  # one call for those that follow each other in a partition
                self._next += 1
                self._answers, last = number + 1, offset
                if self._next == len(given) or given[self._next][1] != partition:
                    break
                number, _, offset = given[self._next]
            self._check_gaps(given[self._next - 1][0])
            yield from self.rest(partition, last + 1)

    def finish(self, partition: int) -> Iterator[tuple[Record, Output | None]]:
        """Apply what is left of a partition before an end that is known of it, once all answers
        before that are given."""
        ends = self._ends.get(partition)
        while ends and self._process.number(partition, ends[0]) <= self._answers:
            yield from self.rest(partition, ends.popleft())

    def rest(self, partition: int, end: int) -> Iterator[tuple[Record, Output | None]]:
        """Apply what is left of a partition before an offset."""
        at = self._partitions[partition]
        for records in self._records.take(partition, at.next_offset, end):
            self.pipeline.handle(at, records)
            outputs = self._collectors[partition].take()
            for record in records:
                yield record, outputs.get(record.offset)

    def _check_steps(self) -> None:
        """Whether a step was missed, whose answer is lost: a later one is due."""
        place = bisect_left(self._numbers, self._steps)
        later = self._numbers[place] if place < len(self._numbers) else self._steps
        if later > self._steps and self._process.steps[later].at <= self._answers:
            raise PastError(
                f"what worker {self._process.worker} did before its answer {self._answers} is told "
                "by an answer that is not on the output topic: choose a range behind the next "
                "checkpoint"
            )

    def _check_gaps(self, answer: int) -> None:
        if any(self._begun <= gap <= answer for gap in self._process.gaps):
            raise PastError(
                f"between two answers worker {self._process.worker} did more than an answer can "
                "tell: choose a range behind the next checkpoint"
            )

    def _do(self, step: Step) -> Iterator[tuple[Record, Output | None]]:
        """Do a step again; `learnt` applies interactions."""
        if step.kind in ("items", "embeddings", "listed"):
            self.catalogue.apply(step)
        elif step.kind == "learnt":
            yield from self.rest(step.partition, step.end)
        elif step.kind == "rebuilt":
            yield from self._rebuild(step)
        elif self._shared is None:
            raise PastError(
                f"worker {self._process.worker} answered while the topic had other partitions"
            )
        elif step.kind == "assigned":
            kept = set(map(int, step.name.split()))
            for partition in self._partitions.keys() - kept:
                yield from self.finish(partition)
            self._shared.users.assign(kept)
        else:
            self._do_shared(self._shared, step)

    def _rebuild(self, step: Step) -> Iterator[tuple[Record, Output | None]]:
        """Rebuild the state without forgotten users and take it over, as the worker did."""
        told = msgspec.json.decode(step.name, type=Rebuilt)
        yield from self.rest(step.partition, told.rounds[-1].end)
        rebuild = Rebuild.begin(
            self._settings, self._input, self._model, told.rounds[0], self.pipeline.leaves_out
        )
        self.rebuilt.append(rebuild.told.digest == told.digest)
        for round_ in told.rounds[1:]:
            rebuild.go_on(round_)
        rebuild.take_over(self.engine, self._partitions[step.partition])

    def _do_shared(self, shared: _Shared, step: Step) -> None:
        """A step of a worker among several partitions."""
        if step.kind == "delta":
            shared.log.apply_to(step.end)
        elif step.kind == "collected":
            shared.deltas.take_out(step.end, int(step.name or 1 << 30))
        elif step.kind == "taken":
            name = msgspec.json.decode(step.name, type=Taken).name
            shared.users.take_in(self._partitions[step.partition], self._beginnings.load(name))
        elif step.kind == "told":
            partition = self._partitions[step.partition]
            partition.held, partition.told = True, step.end
        elif step.kind == "forgot":
            shared.users.let_some_go()

    def save(self, path: Path) -> None:
        """Write the state as the checkpoint that was cut here."""
        partitions = {n: each.notes() for n, each in self._partitions.items() if each.held}
        if self._shared is None:
            partitions = {n: each.notes() for n, each in self._partitions.items()}
        notes = Notes(self._input.name, partitions, *self.catalogue.positions)
        if self._shared is not None:
            ledger = self._shared.deltas.ledger
            notes.told, notes.owners = self._shared.deltas.positions, dict(ledger.owners)
            notes.deltas, notes.deltas_id = self._shared.log.position, self._input.deltas_id
        self.engine.save(path, notes)

    def close(self) -> None:
        """End its readers."""
        self.catalogue.close()
        self._records.close()
        if self._shared is not None:
            self._shared.log.close()


@dataclass(frozen=True)
class _Shared:
    """What a worker among several partitions has besides."""

    deltas: ItemDeltas
    log: DeltaLog
    users: UserSide


class _Records:
    """The interactions of each partition, read once where they are asked for in order."""

    def __init__(self, settings: Settings, highs: Mapping[int, int]) -> None:
        self._settings, self._highs = settings, highs
        self._runs: dict[int, Generator[list[Record], None, None]] = {}
        self._ahead: dict[int, deque[Record]] = {}
        self._at: dict[int, int] = {}

    def take(self, partition: int, first: int, end: int) -> Iterator[list[Record]]:
        """Those of a partition from an offset to before another, in runs."""
        if first >= end:
            return
        if self._at.get(partition) != first:
            self._open(partition, first)
        ahead = self._ahead[partition]
        while True:
            if not ahead:
                ahead.extend(next(self._runs[partition], ()))
            run = []
            while ahead and ahead[0].offset < end:
                run.append(ahead.popleft())
            if not run:
                break
            self._at[partition] = run[-1].offset + 1
            yield run

    def _open(self, partition: int, first: int) -> None:
        if partition in self._runs:
            self._runs[partition].close()
        topic, high = self._settings.topics.interactions, self._highs[partition]
        self._runs[partition] = records_between(self._settings, topic, partition, first, high)
        self._ahead[partition] = deque()

    def close(self) -> None:
        for runs in self._runs.values():
            runs.close()
