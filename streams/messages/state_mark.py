"""The header of an answer that says which state gave it.

An answer is a fold over the interactions, and over the catalogue, which has two topics of its own.
At which interaction a worker applied which message of the catalogue, no offset tells; nor with
which checkpoint its process began. With this header a later reader folds the same again
(`streams.tools.past`, docs/proof.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from streams.messages.schemas import Headers

HEADER = "millrace.state"
MOST_STEPS = 5_000
"""Steps that are kept between two answers, some 20 bytes each: a header must not become a load."""

CatalogueSource = Literal["items", "embeddings", "listed"]
"""Where a change of the catalogue came from. `listed`: from the embeddings, as a worker reads them
that starts, which takes items from them, too."""


class CatalogueStep(msgspec.Struct, frozen=True, array_like=True):
    """Messages of the catalogue that were applied one after the other.

    Attributes
    ----------
    at
        Where the worker stood: the next offset of the interactions, summed over its partitions.
    source, partition, end
        Of which topic and partition they are, and the offset after the last of them.
    """

    at: int
    source: CatalogueSource
    partition: int
    end: int


class StateMark(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an answer says of the state that gave it.

    Attributes
    ----------
    worker
        The process: what the names of its checkpoints end with.
    began
        The name of the checkpoint that it began with, without suffix; empty for an empty engine.
    steps
        What it applied of the catalogue since its last answer, in order.
    gap
        Whether there was more than that, which is not told.
    """

    worker: str
    began: str = ""
    steps: list[CatalogueStep] = []
    gap: bool = False


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(StateMark)


def read_mark(headers: Headers) -> StateMark | None:
    """The mark among an answer's headers; None of an answer that has none that can be read."""
    found = dict(headers).get(HEADER)
    try:
        return None if found is None else _DECODER.decode(found)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


class StateMarks:
    """Notes what a worker applies of the catalogue, and writes the header of each answer.

    Parameters
    ----------
    steps
        What had been applied before the checkpoint was cut, and no answer tells of yet.
    """

    def __init__(self, worker: str, began: str = "", steps: Sequence[CatalogueStep] = ()) -> None:
        self._worker, self._began = worker, began
        self._usual = _ENCODER.encode(StateMark(worker, began))
        self._steps = list(steps)
        self._gap = False

    @property
    def untold(self) -> list[CatalogueStep]:
        """What no answer tells of yet, for a checkpoint."""
        return list(self._steps)

    def applied(self, at: int, source: CatalogueSource, partition: int, end: int) -> None:
        """Note that a message of the catalogue was applied; as of `CatalogueStep`."""
        step = CatalogueStep(at, source, partition, end)
        if self._steps:
            last = self._steps[-1]
            if (last.at, last.source, last.partition) == (at, source, partition):
                self._steps[-1] = step
                return
        if len(self._steps) == MOST_STEPS:
            self._steps, self._gap = [], True
        self._steps.append(step)

    def next(self) -> bytes:
        """The header of the next answer."""
        if not self._steps and not self._gap:
            return self._usual
        mark = StateMark(self._worker, self._began, self._steps, self._gap)
        self._steps, self._gap = [], False
        return _ENCODER.encode(mark)
