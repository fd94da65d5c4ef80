"""What every question to the past needs: the log, who answered it, and folds of their lives."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from confluent_kafka import TopicPartition

from streams.kafka import clients
from streams.kafka.record import Record
from streams.messages.schemas import Model
from streams.settings import Settings
from streams.tools.past.answers import AnswerLog
from streams.tools.past.error import PastError
from streams.tools.past.fold import Fold
from streams.tools.past.lives import Beginnings, EarlierError, Leg, Lives, Need, legs, offset_of
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
    """The log of one partition, and those who answered it.

    Attributes
    ----------
    number
        The partition.
    low, end
        The first interaction that the log still has; the one after the last that is answered.
    applied
        How many interactions were applied so far.
    starts
        The checkpoints that folds began with; an empty string for an empty engine.
    """

    settings: Settings
    input: Input
    model: Model
    number: int
    answers: AnswerLog
    beginnings: Beginnings
    low: int
    end: int
    on_progress: OnProgress = no_progress
    applied: int = 0
    starts: list[str] = field(default_factory=list)

    def legs(
        self, first: int, needs: Callable[[Lives], Mapping[str, Need]]
    ) -> tuple[Lives, list[Leg]]:
        """What has to be folded for what is needed from an interaction on.

        Parameters
        ----------
        needs
            What that is, by worker, when it is known who answered.
        """
        begins = offset_of(self.beginnings.before(first) or "")
        while True:
            lives = Lives(self.answers, begins)
            try:
                return lives, legs(lives, self.beginnings, needs(lives), self.low)
            except EarlierError as error:
                begins = error.offset

    def open(self, leg: Leg, first: int, left_out: Collection[tuple[str, str]] = ()) -> Fold:
        """The state with which a leg begins; arguments as of `Fold`."""
        start = self.beginnings.load(leg.start) if leg.start else None
        if (place := self.beginnings.place(leg.start) if leg.start else "") or not leg.start:
            self.starts.append(place)
        return Fold(
            self.settings, self.input, self.model, self.number, leg.life, start, first, left_out
        )

    def run(self, fold: Fold, leg: Leg, total: int) -> Applied:
        """Fold a leg to its end, and save what others begin with; `total` is for who watches."""
        stops = [*leg.saves, (leg.end, "")]
        for end, name in stops:
            for pair in fold.run(end):
                self.applied += 1
                if self.applied % 1_000 == 0:
                    self.on_progress(self.applied, total)
                yield pair
            if name:
                fold.save(self.beginnings.anew(name))

    @contextmanager
    def before(
        self,
        target: int,
        left_out: Mapping[tuple[str, str], int] | None = None,
        answered: bool = False,
    ) -> Iterator[tuple[Fold, Output | None]]:
        """The state that the worker had which answered the interaction before `target`.

        Parameters
        ----------
        left_out
            User and id of each event that shall not have been, and where it first stands.
        answered
            Whether what is written for that interaction is wanted, too.

        Yields
        ------
        The state, and what is written for that interaction.
        """
        early = min([target - answered, *(left_out or {}).values()])
        wanted: dict[str, Need] = {}

        def needs(lives: Lives) -> dict[str, Need]:
            wanted.clear()
            wanted[lives.answering(target - 1)] = Need(early, target)
            return wanted

        _, found = self.legs(min(early, target - 1), needs)
        total = self.applied + sum(max(0, leg.end - leg.begins) for leg in found)
        for leg in found:
            with closing(self.open(leg, target - 1, left_out or ())) as fold:
                output = None
                for record, written in self.run(fold, leg, total):
                    output = written if record.offset == target - 1 else None
                if leg.life.worker in wanted:
                    yield fold, output
                    return


@contextmanager
def the_past(settings: Settings, on_progress: OnProgress = no_progress) -> Iterator[Past]:
    """The past of the topic of interactions, as it is now.

    Raises
    ------
    PastError
        If the topic has several partitions: of these nothing tells in which order a worker took
        them.
    """
    input_ = Input.of(settings)
    if len(input_.highs) > 1:
        raise PastError(
            f"topic {settings.topics.interactions} has {len(input_.highs)} partitions, and in "
            "which order workers took their events is not recorded: only the past of a topic of "
            "one partition can be computed again"
        )
    [number] = input_.highs
    low = input_.lows[number]
    answered = last_written(settings, number, input_.topic_id) + 1
    with tempfile.TemporaryDirectory(prefix="millrace-past-") as anew:
        yield Past(
            settings,
            input_,
            model_of(settings),
            number,
            AnswerLog(settings, number, input_.topic_id),
            Beginnings(settings, input_, Path(anew)),
            low,
            max(low, min(answered, input_.highs[number])),
            on_progress,
        )


def offset_at(past: Past, moment_ms: int) -> int:
    """The first interaction that the broker had at a moment or later; at most `past.end`."""
    with closing(clients.reader(past.settings)) as reader:
        asked = [TopicPartition(past.settings.topics.interactions, past.number, moment_ms)]
        [found] = reader.offsets_for_times(asked, timeout=clients.TIMEOUT_SECONDS)
    return found.offset if 0 <= found.offset <= past.end else past.end
