"""The state made anew from the whole log, as if users who asked to be forgotten had never been.

It is what a worker would have that starts without a checkpoint and reads a log in which nothing of
them stands. `python -m streams.worker.rebuild JOB` makes it in a process of its own, beside the
worker that goes on with it (`streams.worker.exact_forgetting`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import msgspec

from engine.events import Interaction
from engine.recommender import Recommender
from engine.state.snapshot import read_notes, state_digest
from streams.kafka.record import Record
from streams.kafka.stretch import records_between
from streams.messages.schemas import Model
from streams.messages.state_mark import Rebuilt, Round
from streams.settings import Settings
from streams.settings_io import load_settings
from streams.worker.catalogue_log import CatalogueLog
from streams.worker.input_log import Input
from streams.worker.partition import Partition, PartitionNotes, Progress
from streams.worker.pins import model_of
from streams.worker.pipeline import LeavesOut, Pipeline

PARTITION = 0
"""A state is made anew of a topic of one partition: events of several have no order to keep to."""
_NICENESS = 10


class Job(msgspec.Struct, frozen=True):
    """What the process is asked for: a first round, and the file to write the state to."""

    round: Round
    file: str


class RebuildNotes(msgspec.Struct):
    """What a file says beside the engine's state."""

    told: Rebuilt
    partition: PartitionNotes


class Rebuild:
    """A state that is being made anew.

    Attributes
    ----------
    engine, progress
        As of what was applied last.
    told
        What was applied, and who was left out.
    """

    def __init__(
        self,
        settings: Settings,
        input_: Input,
        model: Model,
        engine: Recommender,
        leaves_out: LeavesOut,
    ) -> None:
        self._settings = settings
        self.engine = engine
        self.progress = Progress(number=PARTITION, window=settings.worker.duplicate_window)
        self.told = Rebuilt(0, "", [])
        self._pipeline = Pipeline(engine, settings, model, input_.topic_id)
        self._pipeline.leaves_out = leaves_out

    @classmethod
    def begin(
        cls, settings: Settings, input_: Input, model: Model, round_: Round, leaves_out: LeavesOut
    ) -> Rebuild:
        """The first round: without those who asked before its end.

        Parameters
        ----------
        leaves_out
            What else shall not have been.
        """
        asked = _who_asked(settings, input_, model, round_.end)

        def gone(record: Record, event: Interaction) -> bool:
            return record.offset < asked.get(event.user, 0) or leaves_out(record, event)

        made = cls(settings, input_, model, Recommender.new(settings.engine), gone)
        made.go_on(round_)
        made.told = Rebuilt(len(asked), state_digest(made.engine), [round_])
        return made

    @classmethod
    def load(cls, settings: Settings, input_: Input, model: Model, file: Path) -> Rebuild:
        """One that was saved.

        Raises
        ------
        SavedStateError
            If it is damaged.
        """
        notes = read_notes(file, RebuildNotes)
        engine = Recommender.load(file, settings.engine)
        made = cls(settings, input_, model, engine, lambda record, event: False)
        made.progress.resume(notes.partition)
        made.told = notes.told
        return made

    def save(self, file: Path) -> None:
        """Write it, for `load`."""
        self.engine.save(file, RebuildNotes(self.told, self.progress.notes()))

    def go_on(self, round_: Round) -> None:
        """Apply more of the logs."""
        self.follow_catalogue(round_.embeddings, round_.items)
        topic = self._settings.topics.interactions
        first = self.progress.next_offset
        for records in records_between(self._settings, topic, PARTITION, first, round_.end):
            self.learn(records)
        self.progress.next_offset = round_.end  # behind what is no record, as the ends of a batch
        self._note(round_.end)

    def follow_catalogue(self, embeddings: dict[int, int], items: dict[int, int]) -> None:
        """Apply the catalogue up to these offsets."""
        rounds = self.told.rounds
        at = (rounds[-1].embeddings, rounds[-1].items) if rounds else ({}, {})
        if at == (embeddings, items):
            return
        with closing(CatalogueLog(self._settings, self.engine, *at)) as catalogue:
            catalogue.apply_to(embeddings, items, begins=not rounds)
        rounds.append(Round(embeddings, items, self.progress.next_offset))

    def learn(self, records: Sequence[Record]) -> None:
        """Apply the interactions that follow."""
        self._pipeline.learn(self.progress, records)
        self._note(self.progress.next_offset)

    def _note(self, end: int) -> None:
        rounds = self.told.rounds
        last = msgspec.structs.replace(rounds[-1], end=end)
        if len(rounds) == 1 and self.told.digest:  # the first says who had asked: it stays
            rounds.append(last)
        else:
            rounds[-1] = last

    def take_over(self, engine: Recommender, partition: Partition) -> None:
        """Have an engine and a partition of equal position go on with this state.

        Raises
        ------
        ValueError
            If the partition stands elsewhere.
        """
        if partition.next_offset != self.progress.next_offset:
            raise ValueError(f"{partition.next_offset} != {self.progress.next_offset}")
        engine.exchange(self.engine)
        partition.exchange(self.progress)


def _who_asked(settings: Settings, input_: Input, model: Model, end: int) -> dict[str, int]:
    """Users who asked to be forgotten before an offset: the one after their last request."""
    reading = Pipeline(Recommender(settings.engine), settings, model, input_.topic_id)
    progress = Progress(number=PARTITION, window=settings.worker.duplicate_window)
    topic, low = settings.topics.interactions, input_.lows[PARTITION]
    return {
        event.user: record.offset + 1
        for records in records_between(settings, topic, PARTITION, low, end)
        for record, event in reading.events(progress, records)
        if event.kind == "forget"
    }


def main() -> None:
    """Do the job that the command line names, under the settings of the environment."""
    os.nice(_NICENESS)
    job = msgspec.json.decode(sys.argv[1], type=Job)
    settings = load_settings()
    input_ = Input.of(settings)
    made = Rebuild.begin(
        settings, input_, model_of(settings), job.round, lambda record, event: False
    )
    made.save(Path(job.file))


if __name__ == "__main__":
    main()
