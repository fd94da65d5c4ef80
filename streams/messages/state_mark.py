"""The header of an answer that says which state gave it: ``40123;1682;1682;30011.9c2e``.

Answers are given by a fold over the log, and what is folded at one moment the log alone does not
tell: partitions interleave, the catalogue has topics of its own, and a worker that begins again
learns what is behind its checkpoint with the catalogue of then. With this header a later reader
can do the same in the same order (docs/audit.md).
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
    catalogue
        The next offset of each partition of the catalogue's two topics; see `catalogue_offsets`.
    life
        Which process gave it; see `begun_at`.
    """

    progress: int
    catalogue: bytes
    life: bytes


def catalogue_mark(items: Mapping[int, int], embeddings: Mapping[int, int]) -> str:
    """The part of the header that tells the catalogue's offsets, in order of partition."""
    return ";".join(
        ",".join(str(positions[number]) for number in sorted(positions))
        for positions in (items, embeddings)
    )


def read_mark(header: bytes) -> StateMark:
    """What a header says.

    Raises
    ------
    ValueError
        If it is none.
    """
    progress, items, embeddings, life = header.split(b";")
    return StateMark(int(progress), items + b";" + embeddings, life)


def catalogue_offsets(catalogue: bytes) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The next offsets of the items, and of their embeddings, in order of partition."""
    items, embeddings = catalogue.split(b";")
    return _offsets(items), _offsets(embeddings)


def begun_at(life: bytes) -> int:
    """The progress of the checkpoint that a process began with; 0 without one."""
    return int(life.partition(b".")[0])


def _offsets(written: bytes) -> tuple[int, ...]:
    return tuple(map(int, written.split(b","))) if written else ()
