"""Errors of data sets: those that cannot be used, and malformed rows."""

from __future__ import annotations

from typing import NamedTuple

KEPT_ROWS = 20


class DatasetError(Exception):
    """A data set that cannot be used. The message is one line and says what to do next."""


class MalformedRow(NamedTuple):
    """One row of a source file that is no interaction or item. Lines count from 1."""

    file: str
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.file} line {self.line}: {self.reason}"


class Problems:
    """The malformed rows of one data set: how many, and the first 20 of them.

    Parameters
    ----------
    strict
        Raise :class:`DatasetError` at the first malformed row.

    Attributes
    ----------
    malformed : list of MalformedRow
        The first of them, at most 20 for each file and 20 in all.
    notes : list of MalformedRow
        Remarks on whole files, at their first line; they count no row as malformed.
    """

    def __init__(self, *, strict: bool = False) -> None:
        self.strict = strict
        self.notes: list[MalformedRow] = []
        self.malformed: list[MalformedRow] = []
        self._counts: dict[str, int] = {}

    @property
    def rows(self) -> list[MalformedRow]:
        """The notes, then the first malformed rows."""
        return self.notes + self.malformed

    def note(self, file: str, line: int, reason: str) -> None:
        """Add a remark on a whole file; it counts no row as malformed."""
        self.notes.append(MalformedRow(file, line, reason))

    @property
    def count(self) -> int:
        """Malformed rows met so far, over all files."""
        return sum(self._counts.values())

    def start(self, file: str) -> None:
        """Forget what an earlier reading of ``file`` met, so that no row counts twice."""
        self._counts[file] = 0
        self.malformed = [row for row in self.malformed if row.file != file]

    def add(self, file: str, line: int, reason: str) -> None:
        """Record one malformed row; with ``strict``, raise DatasetError instead."""
        row = MalformedRow(file, line, reason)
        if self.strict:
            raise DatasetError(
                f"{row}; mend or delete the row, or read without strict to skip such rows"
            )
        self._counts[file] = self._counts.get(file, 0) + 1
        if len(self.malformed) < KEPT_ROWS:
            self.malformed.append(row)
