"""Rebuilds the state from the whole log, without the users who asked to be forgotten.

The result is the state of a worker that starts without a checkpoint and reads a log without the
events of these users. `python -m streams.worker.rebuild JOB` rebuilds it in a process of its own;
the worker then takes it over (`streams.worker.exact_forgetting`).
"""

from __future__ import annotations

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
from streams.worker.pipeline import LeavesOut, Pipeline, leaves_out_none

PARTITION = 0
"""Only a topic of one partition is supported: no offset orders the events of several."""
_CLOSE = 100
"""Messages that the process leaves to the worker, which learns them beside its event path."""


class Job(msgspec.Struct, frozen=True):
    """The argument of the process.

    Attributes
    ----------
    round
        The first round.
    file
        Where to write the state.
    position
        A file with a `Round`, which the worker replaces as it goes on: how far it is.
    """

    round: Round
    file: str
    position: str


class RebuildNotes(msgspec.Struct):
    """What the file holds beside the engine's state."""

    told: Rebuilt
    partition: PartitionNotes


class Rebuild:
    """A state that is being rebuilt.

    Attributes
    ----------
    engine, progress
        The state, and up to where the interactions are in it.
    told
        The rounds that were applied, how many users were left out, and the digest.
    """

    def __init__(
        self,
        settings: Settings,
        input_: Input,
        model: Model,
        engine: Recommender,
    ) -> None:
        self._settings = settings
        self.engine = engine
        self.progress = Progress(number=PARTITION, window=settings.worker.duplicate_window)
        self.told = Rebuilt(0, "", [])
        self._pipeline = Pipeline(engine, settings, model, input_.topic_id)

    @classmethod
    def begin(
        cls, settings: Settings, input_: Input, model: Model, round_: Round,
        leaves_out: LeavesOut = leaves_out_none,
    ) -> Rebuild:  # fmt: skip
        """The state after the first round, without the users who asked before its end.

        Parameters
        ----------
        leaves_out
            Which other events to leave out (`Pipeline.leaves_out`).
        """
        asked = _who_asked(settings, input_, model, round_.end)

        def gone(record: Record, event: Interaction) -> bool:
            return record.offset < asked.get(event.user, 0) or leaves_out(record, event)

        made = cls(settings, input_, model, Recommender.new(settings.engine))
        made._pipeline.leaves_out = gone
        made.go_on(round_)
        made.told = Rebuilt(len(asked), state_digest(made.engine), [round_])
        return made

    @classmethod
    def load(cls, settings: Settings, input_: Input, model: Model, file: Path) -> Rebuild:
        """The state that a file of `save` holds.

        Raises
        ------
        SavedStateError
            If it is damaged.
        """
        notes = read_notes(file, RebuildNotes)
        made = cls(settings, input_, model, Recommender.load(file, settings.engine))
        made.progress.resume(notes.partition)
        made.told = notes.told
        return made

    def save(self, file: Path) -> None:
        """Write it, for `load`."""
        self.engine.save(file, RebuildNotes(self.told, self.progress.notes()))

    def go_on(self, round_: Round) -> None:
        """Apply the logs up to the ends of a round."""
        self.follow_catalogue(round_.embeddings, round_.items)
        topic = self._settings.topics.interactions
        first = self.progress.next_offset
        for records in records_between(self._settings, topic, PARTITION, first, round_.end):
            self.learn(records)
        self.progress.next_offset = round_.end  # markers of transactions are no records
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
        # The end of the first round says whose requests count: later events begin a second one.
        if len(rounds) == 1 and self.told.digest:
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
            raise ValueError(
                f"the rebuilt state is at offset {self.progress.next_offset}, the worker's at "
                f"{partition.next_offset}"
            )
        engine.exchange(self.engine)
        partition.exchange(self.progress)


def _who_asked(settings: Settings, input_: Input, model: Model, end: int) -> dict[str, int]:
    """By user who asked to be forgotten before `end`: the offset after their last request."""
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
    job = msgspec.json.decode(sys.argv[1], type=Job)
    settings = load_settings()
    input_ = Input.of(settings)
    rebuild = Rebuild.begin(settings, input_, model_of(settings), job.round)
    _catch_up(rebuild, Path(job.position))
    rebuild.save(Path(job.file))


def _catch_up(rebuild: Rebuild, file: Path) -> None:
    """Go on until the worker, which tells in a file how far it is, is close, or comes no closer."""
    before = sys.maxsize
    while True:
        position = msgspec.json.decode(file.read_bytes(), type=Round)
        behind = _behind(rebuild.told.rounds[-1], position)
        if behind <= _CLOSE or behind > before / 2:
            return
        before = behind
        rebuild.go_on(position)


def _behind(round_: Round, position: Round) -> int:
    """How many messages one is behind another."""
    catalogue = [(position.embeddings, round_.embeddings), (position.items, round_.items)]
    missing = [end - at.get(number, 0) for ends, at in catalogue for number, end in ends.items()]
    return position.end - round_.end + sum(missing)


if __name__ == "__main__":
    main()
