"""The header of an answer that says which state gave it.

The offset of an interaction does not determine its answer: a worker also applies the catalogue and
other workers' deltas of items, from topics of their own; it takes the events of its partitions in
an order that no offset tells; and it may have started from a checkpoint. With this header a later
reader repeats the same steps (`streams.tools.past`, docs/proof.md).
"""

from __future__ import annotations

from typing import Literal

import msgspec

from streams.messages.schemas import Headers
from streams.messages.validation import UNREADABLE

HEADER = "millrace.state"
MOST_STEPS = 5_000
"""Most steps that are kept between two answers, some 20 bytes each: this bounds the header."""

CatalogueSource = Literal["items", "embeddings", "listed"]
"""The origin of a change of the catalogue. `listed`: the embeddings, which a starting worker reads,
and from which it takes items, too."""
StepKind = (
    CatalogueSource
    | Literal["learnt", "delta", "collected", "assigned", "taken", "told", "forgot", "rebuilt"]
)


class Step(msgspec.Struct, frozen=True, array_like=True):
    """Something that a worker process did to its state between two answers.

    Attributes
    ----------
    at
        How many answers the process had given.
    kind
        `items`, `embeddings`, `listed`: messages of the catalogue were applied. `learnt`: events of
        a partition that another process had answered. `delta`: messages on the topic of item
        deltas. `collected`: what own events taught was taken out, to be told. `assigned`: these
        partitions are ours, others are not. `taken`: a partition's users, from a checkpoint.
        `told`: events of a partition below an offset teach the items nothing. `forgot`: some of
        the users that left. `rebuilt`: the state was rebuilt without forgotten users.
    partition
        The partition of the step's topic.
    end
        The offset after the last message of the step; of `collected`, the number of the delta.
    name
        Of `taken`, a `Taken` in JSON; of `assigned`, the partitions; of `collected`, the most rows
        of a kind that were; of `rebuilt`, a `Rebuilt` in JSON.
    """

    at: int
    kind: StepKind
    partition: int = 0
    end: int = 0
    name: str = ""


class Round(msgspec.Struct, frozen=True, array_like=True):
    """How far a rebuild read the logs in one go: first the catalogue, then the interactions.

    Attributes
    ----------
    embeddings, items
        The offsets, by partition, before which the catalogue's topics were read.
    end
        The offset before which the interactions were read.
    """

    embeddings: dict[int, int]
    items: dict[int, int]
    end: int


class Rebuilt(msgspec.Struct, frozen=True):
    """A rebuild of the state from the whole log, without forgotten users.

    Attributes
    ----------
    users
        How many users had asked to be forgotten before the end of the first round.
    digest
        The digest of the state after the first round (`engine.state.snapshot.state_digest`).
    rounds
        What was read, in order. Events of these users are left out in the first round; the later
        ones read what was written meanwhile.
    """

    users: int
    digest: str
    rounds: list[Round]


class Cut(msgspec.Struct, frozen=True):
    """Which answers and steps of its process a checkpoint holds.

    Attributes
    ----------
    answers, steps
        How many they are.
    untold
        The last of these steps, which no answer has reported.
    """

    answers: int
    steps: int
    untold: list[Step] = []


class Taken(msgspec.Struct, frozen=True, omit_defaults=True):
    """The checkpoint that a partition's users came from.

    Attributes
    ----------
    name
        Its name, without suffix.
    cut
        Where it was cut, if it tells.
    """

    name: str
    cut: Cut | None = None


class StateMark(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an answer says of the state that gave it.

    Attributes
    ----------
    worker
        The id of the process, which is part of its checkpoints' names.
    began
        The name of the checkpoint that it began with, without suffix; empty for an empty engine.
    n
        How many answers the process had given before this one.
    first
        How many steps it had reported before these.
    steps
        What it did since its last answer, in order.
    gap
        Whether steps are missing between the last answer and this one.
    cut
        On a process's first answer, where the checkpoint that it began with was cut.
    """

    worker: str
    began: str = ""
    n: int = 0
    first: int = 0
    steps: list[Step] = []
    gap: bool = False
    cut: Cut | None = None


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(StateMark)


def read_mark(headers: Headers) -> StateMark | None:
    """The mark in an answer's headers; None if there is none, or it cannot be read."""
    found = dict(headers).get(HEADER)
    try:
        return None if found is None else _DECODER.decode(found)
    except UNREADABLE:
        return None


class StateMarks:
    """Notes what a worker process does to its state, and writes the header of each answer.

    Parameters
    ----------
    cut
        Where the checkpoint was cut that it begins with, if it begins with one.
    """

    def __init__(self, worker: str, began: str = "", cut: Cut | None = None) -> None:
        self._worker, self._began, self._cut = worker, began, cut
        usual = _ENCODER.encode(StateMark(worker, began))
        self._usual = usual.removesuffix(b"}") + b',"n":%d}'
        self._answers = self._told = 0
        self._steps: list[Step] = []
        self._gap = False
        self._grows = True

    def cut(self) -> Cut:
        """Where a checkpoint of now is cut; `end_step` is to be called before."""
        return Cut(self._answers, self._told + len(self._steps), list(self._steps))

    def end_step(self) -> None:
        """End the last step, so that a checkpoint has it whole: a later note begins another."""
        self._grows = False

    def note(self, kind: StepKind, partition: int = 0, end: int = 0, name: str = "") -> None:
        """Note a step; parameters as of `Step`."""
        step = Step(self._answers, kind, partition, end, name)
        if self._steps and self._grows and kind in _GROWING:
            last = self._steps[-1]
            if (last.at, last.kind, last.partition) == (step.at, kind, partition):
                self._steps[-1] = step
                return
        self._grows = True
        if len(self._steps) == MOST_STEPS:
            self.lose()
        self._steps.append(step)

    def lose(self) -> None:
        """Note that the steps since the last answer are not known."""
        self._told += len(self._steps)
        self._steps, self._gap = [], True

    def next(self) -> bytes:
        """The header of the next answer."""
        n, self._answers = self._answers, self._answers + 1
        if not self._steps and not self._gap and self._cut is None:
            return self._usual % n
        mark = StateMark(
            self._worker, self._began, n, self._told, self._steps, self._gap, self._cut
        )
        self._told += len(self._steps)
        self._steps, self._gap, self._cut = [], False, None
        return _ENCODER.encode(mark)


_GROWING = ("items", "embeddings", "listed", "learnt", "delta")
"""Kinds of steps of which two in a row are merged into one."""
