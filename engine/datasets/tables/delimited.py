"""Delimited text, read by Python's csv, with its separator and header recognised."""

from __future__ import annotations

import csv
import re
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing

from engine.datasets.problems import Problems
from engine.datasets.sources import OnRead, Source, numbered_lines
from engine.datasets.tables.table import SAMPLE, Row, Table

_SEPARATORS = ("\t", "::", ";", "|", ",")
_WORDS = {"\t": "tabs", "::": "double colons", ";": "semicolons", "|": "bars", ",": "commas"}

IsHeader = Callable[[Sequence[str], Sequence[Sequence[str]]], bool]
"""Whether a first row, before the rest, names the columns."""


class Delimited(Table):
    """Rows between separators, with a header or without; then the columns are called 1, 2, 3."""

    def __init__(
        self,
        source: Source,
        separator: str,
        columns: Sequence[str],
        sample: Sequence[Sequence[str]],
        *,
        header: bool,
        quoted: bool,
    ) -> None:
        super().__init__(source, columns, sample)
        self.separator = separator
        self.header = header
        self._quoted = quoted

    @property
    def layout(self) -> str:  # type: ignore[override]
        """Such as ``text between tabs, without a header``."""
        return f"text between {_WORDS[self.separator]}{'' if self.header else ', without a header'}"

    def rows(
        self, columns: Sequence[str], problems: Problems, on_read: OnRead | None = None
    ) -> Iterator[tuple[int, Row]]:
        """As :meth:`Table.rows`. A row may span lines within quotes."""
        places = [self.columns.index(name) for name in columns]
        width, skipped = len(self.columns), not self.header
        name = self.source.name
        # Old releases without a header are in Latin-1; in UTF-8 that is hardly ever valid.
        fallback = None if self.header else "latin-1"
        lines = numbered_lines(self.source, problems, on_read)
        with closing(lines):
            for line, row, fault in _records(lines, self.separator, self._quoted, fallback):
                if fault:
                    problems.add(name, line, fault)
                elif not skipped:
                    skipped = True
                elif self.separator == "::" and len(row) > width > 2:
                    # MovieLens 1M does not quote: two colons more are a part of the title.
                    surplus = len(row) - width
                    whole = [row[0], "::".join(row[1 : 2 + surplus]), *row[2 + surplus :]]
                    yield line, [whole[place] for place in places]
                elif len(row) != width:
                    what = "the header has" if self.header else "other rows have"
                    problems.add(name, line, f"{len(row)} fields where {what} {width}")
                else:
                    yield line, [row[place] for place in places]


def _records(
    lines: Iterator[tuple[int, bytes]], separator: str, quoted: bool, fallback: str | None
) -> Iterator[tuple[int, list[str], str]]:
    """Yield (first line, fields, fault) of each record that is not blank.

    After a record that is no CSV, such as one whose quote is never closed, reading goes on at its
    second line: one bad row costs no other.
    """
    waiting: deque[tuple[int, bytes]] = deque()
    taken: list[tuple[int, bytes]] = []
    bad_bytes = False

    def texts() -> Iterator[str]:
        nonlocal bad_bytes
        while True:
            numbered = waiting.popleft() if waiting else next(lines, None)
            if numbered is None:
                return
            taken.append(numbered)
            try:
                yield numbered[1].decode("utf-8")
            except UnicodeDecodeError:
                bad_bytes = fallback is None
                yield numbered[1].decode(fallback or "utf-8", "replace")

    def reader() -> Iterator[list[str]]:
        if len(separator) > 1:
            return (text.rstrip("\r\n").split(separator) for text in texts())
        # strict: a quote that is never closed, or text after a closing one, is an error, no guess.
        return csv.reader(
            texts(), delimiter=separator, strict=True, skipinitialspace=True,
            quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
        )  # fmt: skip

    records = reader()
    while True:
        taken.clear()
        bad_bytes = False
        try:
            row = next(records)
        except StopIteration:
            if not waiting:
                return
            records = reader()
            continue
        except csv.Error as error:
            first = taken[0][0]
            waiting.extendleft(reversed(taken[1:]))
            records = reader()
            yield first, [], f"not CSV: {error}"
            continue
        if bad_bytes:
            yield taken[0][0], [], "not UTF-8"
        elif any(field.strip() for field in row):
            yield taken[0][0], row, ""


def open_delimited(source: Source, start: list[bytes], is_header: IsHeader) -> Delimited | None:
    """The table in delimited text, if it is one: under some separator all rows are as wide."""
    texts = [line.decode("utf-8", "replace") for line in start]
    if any("\0" in text for text in texts):
        return None
    found: list[tuple[tuple[bool, float, bool, int], Delimited]] = []
    for separator in _SEPARATORS:
        quoted = separator in ",;" or _has_quoted(texts, separator)
        lines = iter([(n, line) for n, line in enumerate(start, 1)])
        records = [
            row for _, row, fault in _records(lines, separator, quoted, "latin-1") if not fault
        ]
        widths = Counter(len(row) for row in records if len(row) > 1)
        if not widths:
            continue
        first, rest = [name.strip() for name in records[0]], records[1:]
        header = len(first) > 1 and is_header(first, rest)
        width = len(first) if header else min(widths, key=lambda w: (-widths[w], w))
        even = widths[width] / len(records)
        columns = first if header else [str(number) for number in range(1, width + 1)]
        sample = [row for row in (rest if header else records) if len(row) == width][:SAMPLE]
        table = Delimited(
            source, separator, _distinct(columns), sample, header=header, quoted=quoted
        )
        found.append(((header, even, separator != "|", width), table))
    return max(found, key=lambda each: each[0])[1] if found else None


def _has_quoted(texts: list[str], separator: str) -> bool:
    """Whether whole fields are in quotes; if not, a quote between tabs is an inch sign."""
    mark = re.escape(separator)
    whole = re.compile(rf'(?:^|{mark})"(?:[^"]|"")*"(?:{mark}|[\r\n]|$)')
    return any(whole.search(text) for text in texts)


def _distinct(columns: list[str]) -> list[str]:
    """Column names made unique: repeated and empty ones get a number."""
    seen: set[str] = set()
    named = []
    for number, name in enumerate(columns, 1):
        named.append(name if name and name not in seen else f"{name}#{number}")
        seen.add(name)
    return named
