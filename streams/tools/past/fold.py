"""A worker's life, folded again: the checkpoint that it began with, and the log applied to it.

Events go through the worker's own pipeline; what it would write is handed out instead. Nothing is
written to Kafka, no group is joined, no checkpoint of the workers is touched.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from operator import attrgetter
from pathlib import Path

from engine.recommender import Recommender
from streams.kafka.record import Record
from streams.kafka.stretch import records_between
from streams.messages.bad_message import BadMessage
from streams.messages.decoding import decode_interaction
from streams.messages.dialect import Dialect
from streams.messages.schemas import Model
from streams.settings import Settings
from streams.tools.past.catalogue_log import CatalogueLog
from streams.tools.past.error import PastError
from streams.tools.past.lives import Life
from streams.worker.checkpoints import Checkpoint, Notes
from streams.worker.delivery import Output, OutputQueue
from streams.worker.durations import Histogram
from streams.worker.input_log import Input
from streams.worker.partition import Partition
from streams.worker.pipeline import Pipeline


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
    """The state of a worker that goes through the log again.

    Parameters
    ----------
    start
        The checkpoint to begin with; None for an empty engine.
    first
        The first offset whose output is wanted: what is before is only applied.
    left_out
        User and id of each event that shall not have been.

    Attributes
    ----------
    engine, catalogue
        As of what was applied last.
    pipeline
        Its arms are those of the settings.
    """

    def __init__(
        self,
        settings: Settings,
        input_: Input,
        model: Model,
        number: int,
        life: Life,
        start: Checkpoint | None,
        first: int,
        left_out: Collection[tuple[str, str]] = (),
    ) -> None:
        self._settings, self._input, self._life = settings, input_, life
        self._left_out, self._dialect = frozenset(left_out), Dialect.of(settings)
        self.engine = start.engine if start else Recommender.new(settings.engine)
        self.pipeline = Pipeline(self.engine, settings, model, input_.topic_id)
        self._collector = Collector(first)
        self._partition = Partition(
            number=number, window=settings.worker.duplicate_window, writer=self._collector
        )
        if start:
            self._partition.resume(start.notes.partitions[number])
        self.catalogue = CatalogueLog(
            settings,
            self.engine,
            start.notes.catalogue if start else {},
            start.notes.items if start else {},
        )
        self._step = 0

    @property
    def offset(self) -> int:
        """The next interaction to apply."""
        return self._partition.next_offset

    def run(self, end: int) -> Iterator[tuple[Record, Output | None]]:
        """Apply the interactions up to before an offset: each, and what is written for it now."""
        topic, number = self._settings.topics.interactions, self._partition.number
        runs = records_between(self._settings, topic, number, self.offset, end)
        for run in runs if self.offset < end else ():
            records = run
            while records:
                self._apply_catalogue(records[0].offset)
                steps = self._life.steps
                until = steps[self._step].at if self._step < len(steps) else end
                cut = max(1, bisect_left(records, until, key=attrgetter("offset")))
                yield from self._apply(records[:cut])
                records = records[cut:]
        self._partition.next_offset = max(self.offset, end)

    def _apply_catalogue(self, offset: int) -> None:
        """Apply what the worker had applied before the interaction at an offset."""
        steps = self._life.steps
        while self._step < len(steps) and steps[self._step].at <= offset:
            self.catalogue.apply(steps[self._step])
            self._step += 1

    def _apply(self, records: Sequence[Record]) -> Iterator[tuple[Record, Output | None]]:
        for gap in self._life.gaps:
            if records[0].offset <= gap <= records[-1].offset:
                raise PastError(
                    f"before interaction {gap} more of the catalogue was applied than an answer "
                    "can tell: choose a range behind the next checkpoint"
                )
        if self._left_out:
            records = [record for record in records if self._named(record) not in self._left_out]
        self.pipeline.handle(self._partition, records)
        outputs = self._collector.take()
        for record in records:
            yield record, outputs.get(record.offset)

    def _named(self, record: Record) -> tuple[str, str] | None:
        """User and id of an interaction; None of what is none."""
        try:
            event = decode_interaction(
                record.value, record.headers, record.timestamp_ms, self._dialect
            )
        except BadMessage:
            return None
        return event.user, event.event_id

    def save(self, path: Path) -> None:
        """Write the state as a checkpoint."""
        partitions = {self._partition.number: self._partition.notes()}
        self.engine.save(path, Notes(self._input.name, partitions, *self.catalogue.positions))

    def close(self) -> None:
        """End its readers."""
        self.catalogue.close()
