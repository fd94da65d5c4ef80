"""The header of an answer that says which state gave it.

Answers are given by a fold over the log, and what is folded at one moment the log alone does not
tell: partitions interleave, and the catalogue has topics of its own. With this header a later
reader can put them in the order in which the worker took them (docs/audit.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

HEADER = "millrace.state"


class StateMark(NamedTuple):
    """What is in the state, besides the event itself, when an answer is given.

    Attributes
    ----------
    progress
        How many offsets of the interactions, of all partitions together, lie below it.
    items, embeddings
        The next offset of each partition of the catalogue's two topics.
    """

    progress: int
    items: tuple[int, ...]
    embeddings: tuple[int, ...]


def catalogue_mark(items: Mapping[int, int], embeddings: Mapping[int, int]) -> str:
    """The part of the header that tells the catalogue's offsets, in order of partition."""
    return ";".join(
        ",".join(str(positions[number]) for number in sorted(positions))
        for positions in (items, embeddings)
    )


def read_mark(header: bytes) -> StateMark:
    """What a header says: ``40123;1682;1682``.

    Raises
    ------
    ValueError
        If it is none.
    """
    progress, items, embeddings = header.decode().split(";")
    return StateMark(int(progress), _offsets(items), _offsets(embeddings))


def _offsets(written: str) -> tuple[int, ...]:
    return tuple(map(int, written.split(","))) if written else ()
