"""A state of the past: a checkpoint, or an empty engine, and the log applied to it again.

Events go through the worker's own pipeline; what it would write is handed out instead. Nothing is
written to Kafka, no group is joined, no checkpoint is touched.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from engine.recommender import Recommender
from engine.state.container import SavedStateError
from engine.state.snapshot import read_notes
from streams.kafka.record import Record
from streams.messages.bad_message import BadMessage
from streams.messages.decoding import decode_interaction
from streams.messages.dialect import Dialect
from streams.messages.schemas import Model
from streams.messages.state_mark import StateMark, begun_at
from streams.settings import Settings
from streams.tools.audit.catalogue_log import CatalogueLog
from streams.tools.audit.history import Entry, History, in_order
from streams.worker.checkpoints import Checkpoint, Notes, folder_of, newest_first
from streams.worker.delivery import Output, OutputQueue
from streams.worker.durations import Histogram
from streams.worker.input_log import Input
from streams.worker.partition import Partition
from streams.worker.pipeline import Pipeline

log = logging.getLogger("millrace.audit")

_BATCH = 500

Offsets = dict[int, int]
"""An offset of the interactions of each partition."""


class AuditError(ValueError):
    """Why the past cannot be computed, in one line."""


class Collector:
    """What the pipeline would write of a partition; a `streams.worker.delivery.Writer`.

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


class Past:
    """A state that goes through the log again.

    Parameters
    ----------
    start
        The checkpoint to go on from; None for an empty engine.
    first
        The first offset of each partition whose output is wanted: what is before is only applied.
    left_out
        User and id of each event that shall not have been.

    Attributes
    ----------
    engine, catalogue
        As of what was applied last.
    offsets
        Where the partitions stood at the beginning.
    histories
        The partitions' logs.
    """

    def __init__(
        self,
        settings: Settings,
        input_: Input,
        model: Model,
        start: Checkpoint | None,
        first: Offsets,
        left_out: Collection[tuple[str, str]] = (),
    ) -> None:
        self._settings, self._input, self._model = settings, input_, model
        self._first = first
        self._left_out, self._dialect = frozenset(left_out), Dialect.of(settings)
        self.engine = start.engine if start else Recommender.new(settings.engine)
        self._pipeline = Pipeline(self.engine, settings, model, input_.topic_id)
        self._collectors = {number: Collector(first[number]) for number in input_.highs}
        self._partitions = {
            number: Partition(
                number=number, window=settings.worker.duplicate_window, writer=collector
            )
            for number, collector in self._collectors.items()
        }
        notes = start.notes if start else None
        for number, partition in self._partitions.items():
            if notes is not None and number in notes.partitions:
                partition.resume(notes.partitions[number])
        self.catalogue = CatalogueLog(
            settings,
            self.engine,
            notes.catalogue if notes else None,
            notes.items if notes else None,
        )
        self.offsets = {number: part.next_offset for number, part in self._partitions.items()}
        self.histories = [History(settings, n, input_.topic_id) for n in self._partitions]
        self._life, self._progress = b"", 0
        self._lives: set[bytes] = set()
        self._catalogues = [(0, self.catalogue.mark)]
        """From which progress on which catalogue was in the state."""

    def again(self, ends: Offsets) -> Iterator[tuple[Entry, Output | None]]:
        """Apply the log up to before these offsets: each entry, and what is written for it now."""
        run: list[Entry] = []
        for entry in in_order(
            history.entries(self.offsets[history.number], ends[history.number])
            for history in self.histories
            if self.offsets[history.number] < ends[history.number]
        ):
            if self._left_out and self._named(entry) in self._left_out:
                continue
            mark = entry.mark
            if mark is not None:
                moves = (mark.catalogue, mark.life) != (self.catalogue.mark, self._life)
            else:  # without a mark so far, as of answers that are gone, time has to tell
                moves = not self._life
            other = run and run[0].record.partition != entry.record.partition
            if moves or other or len(run) == _BATCH:
                yield from self._applied(run)
                run = []
            if moves and mark is not None:
                self._move(entry.record, mark)
            elif moves:
                self.catalogue.advance_to_time(entry.record.timestamp_ms)
            if mark is not None:
                self._progress = mark.progress
            run.append(entry)
        yield from self._applied(run)

    def _move(self, record: Record, mark: StateMark) -> None:
        """Have the catalogue, and the process, that this answer was given by."""
        begun = begun_at(mark.life)
        if self._lives and mark.life not in self._lives:
            if self._progress >= begun and self._catalogue_at(begun) != mark.catalogue:
                self._learn_again(begun, record, mark)
            self.catalogue.begin_again()
        self.catalogue.advance(mark.catalogue)
        self._life = mark.life
        self._lives.add(mark.life)
        if mark.catalogue != self._catalogues[-1][1]:
            self._catalogues.append((mark.progress, mark.catalogue))

    def _catalogue_at(self, progress: int) -> bytes:
        return next(mark for at, mark in reversed(self._catalogues) if at <= progress)

    def _learn_again(self, begun: int, record: Record, mark: StateMark) -> None:
        """Do as a worker that went on from a checkpoint, with the catalogue of now.

        It learnt again what is between its checkpoint and this record, which was learnt with an
        older catalogue the first time. In which order several partitions are learnt again nothing
        tells: their states stay as they are.
        """
        if len(self._partitions) > 1:
            return
        [number] = self._partitions
        reachable = self.offsets if self._left_out else {number: begun}
        start = starting_point(self._settings, self._input, reachable)
        then = Past(
            self._settings, self._input, self._model, start, {number: record.offset},
            self._left_out,
        )  # fmt: skip
        for _ in then.again({number: begun}):
            pass
        then.catalogue.begin_again()
        then.catalogue.advance(mark.catalogue)
        again = then.histories[0].entries(begun, record.offset)
        while run := list(islice(again, _BATCH)):
            for _ in then._applied([e for e in run if self._named(e) not in self._left_out]):
                pass
        self.engine, self._pipeline, self.catalogue = then.engine, then._pipeline, then.catalogue
        self._partitions, self._collectors = then._partitions, then._collectors
        self._collectors[number].queue.written = self._first[number] - 1

    def _named(self, entry: Entry) -> tuple[str, str] | None:
        """User and id of an interaction; None of what is none."""
        if entry.answer is not None:
            return entry.answer.user, entry.answer.event_id
        record = entry.record
        try:
            event = decode_interaction(
                record.value, record.headers, record.timestamp_ms, self._dialect
            )
        except BadMessage:
            return None
        return event.user, event.event_id

    def _applied(self, run: Sequence[Entry]) -> Iterator[tuple[Entry, Output | None]]:
        if not run:
            return
        number = run[0].record.partition
        self._pipeline.handle(self._partitions[number], [entry.record for entry in run])
        outputs = self._collectors[number].take()
        for entry in run:
            yield entry, outputs.get(entry.record.offset)


def starting_point(
    settings: Settings, input_: Input, first: Offsets, or_later: bool = False
) -> Checkpoint | None:
    """The nearest state from which these offsets can be reached; None for an empty engine.

    Parameters
    ----------
    or_later
        Whether, if there is none, the oldest checkpoint will do.

    Raises
    ------
    AuditError
        If there is neither a checkpoint that fits nor a log from its beginning.
    """
    whole = not any(input_.lows.values())
    found = _found(settings, input_)
    fitting = [each for each in found if _reaches(each.notes, input_, first)]
    if or_later and not fitting and not whole:
        fitting = [each for each in reversed(found) if _reaches(each.notes, input_, input_.highs)]
    for each in fitting:
        try:
            engine = Recommender.load(each.path, settings.engine)
        except (SavedStateError, OSError) as error:
            log.warning("checkpoint passed over: %s", error)
        else:
            return Checkpoint(each.path, engine, each.notes)
    if whole:
        return None
    gone = ", ".join(f"partition {n} begins at {low}" for n, low in input_.lows.items() if low)
    kept = ", ".join(str(each.notes.progress) for each in found) or "none"
    raise AuditError(
        f"no state to begin with: the log of {settings.topics.interactions} is gone from its "
        f"beginning ({gone}), and no checkpoint of "
        f"{folder_of(settings, input_.name)} is early enough (at offsets: {kept}); a later --from, "
        "or a larger worker.checkpoints_kept from now on"
    )


@dataclass(frozen=True)
class _Found:
    path: Path
    notes: Notes


def _found(settings: Settings, input_: Input) -> list[_Found]:
    """The checkpoints that go with this log, newest first."""
    if not settings.worker.checkpoints or settings.broker.embedded:
        return []
    found = []
    for path in newest_first(folder_of(settings, input_.name)):
        try:
            notes = read_notes(path, Notes)
        except (SavedStateError, OSError) as error:
            log.warning("checkpoint passed over: %s", error)
            continue
        if reason := input_.fits(notes):
            log.warning("checkpoint passed over: %s: %s", path, reason)
        else:
            found.append(_Found(path, notes))
    return found


def _reaches(notes: Notes, input_: Input, first: Offsets) -> bool:
    """Whether the log still has all from a checkpoint on, and it is not behind `first`."""
    return all(
        low <= at <= first[number]
        for number, low in input_.lows.items()
        for at in [notes.partitions[number].next_offset if number in notes.partitions else 0]
    )
