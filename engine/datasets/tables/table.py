"""What every table has: columns, its first rows as a sample, and its rows one at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

from engine.datasets.problems import Problems
from engine.datasets.sources import OnRead, Source

SAMPLE = 200
"""Rows by which columns are recognised."""

Row = Sequence[Any]


class Table(ABC):
    """One table.

    Attributes
    ----------
    source
        The stream that holds it.
    columns
        Names; of JSON, a field ``f`` of an object ``o`` is ``o.f``.
    sample
        Its first rows, in the order of the columns, as far as they can be read.
    layout
        The format in words, for people.
    """

    layout: str

    def __init__(self, source: Source, columns: Sequence[str], sample: Sequence[Row]) -> None:
        self.source = source
        self.columns = tuple(columns)
        self.sample = sample

    @abstractmethod
    def rows(
        self, columns: Sequence[str], problems: Problems, on_read: OnRead | None = None
    ) -> Iterator[tuple[int, Row]]:
        """Yield (number of the row's first line, its values in the order of `columns`).

        Rows that cannot be read are recorded in ``problems``. What a row does not have is None.
        """

    def values(self, column: str) -> list[Any]:
        """The sample's values of a column."""
        place = self.columns.index(column)
        return [row[place] for row in self.sample]
