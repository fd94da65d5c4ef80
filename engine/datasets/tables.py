"""Tables in files: what columns one has, and its rows one at a time, numbered by their first line.

Delimited text is read by Python's csv, JSON by msgspec, Parquet by arro3 (Arrow's Rust reader).
Which of these a source is, its first bytes tell.
"""

from __future__ import annotations

import csv
import json
import re
import tempfile
from abc import ABC, abstractmethod
from ast import literal_eval
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import IO, Any

import msgspec

from engine.datasets.problems import DatasetError, Problems
from engine.datasets.sources import REPORT_EVERY, OnRead, Source, head, numbered_lines
from engine.datasets.values import field_at

SAMPLE = 200
"""Rows by which columns are recognised."""
_SEPARATORS = ("\t", "::", ";", "|", ",")
_WORDS = {"\t": "tabs", "::": "double colons", ";": "semicolons", "|": "bars", ",": "commas"}
_PARQUET = b"PAR1"
_CHUNK = 2**20
_MOST_BUFFERED = 64 * 2**20
"""Bytes of one object in a JSON array; more is no array of rows."""
_BLANKS = " \t\r\n"

Row = Sequence[Any]
IsHeader = Callable[[Sequence[str], Sequence[Sequence[str]]], bool]


class Table(ABC):
    """One table.

    Attributes
    ----------
    source
        Where it is.
    columns
        Names; of JSON, a field ``f`` of an object ``o`` is ``o.f``.
    sample
        Its first rows, in the order of the columns, as far as they can be read.
    layout
        In words, for people.
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


# ------------------------------------------------------------------ delimited text


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


def _delimited(source: Source, start: list[bytes], is_header: IsHeader) -> Delimited | None:
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
    """Whether whole fields are in quotes; else a quote between tabs is a mere inch."""
    mark = re.escape(separator)
    whole = re.compile(rf'(?:^|{mark})"(?:[^"]|"")*"(?:{mark}|[\r\n]|$)')
    return any(whole.search(text) for text in texts)


def _distinct(columns: list[str]) -> list[str]:
    """Column names without what comes twice: the later ones, and empty ones, get a number."""
    seen: set[str] = set()
    named = []
    for number, name in enumerate(columns, 1):
        named.append(name if name and name not in seen else f"{name}#{number}")
        seen.add(name)
    return named


# ------------------------------------------------------------------ JSON


class JsonLines(Table):
    """An object a line; or a Python dict's literal, as Amazon's files of 2014 have it."""

    layout = "JSON lines"

    def rows(
        self, columns: Sequence[str], problems: Problems, on_read: OnRead | None = None
    ) -> Iterator[tuple[int, Row]]:
        """As :meth:`Table.rows`."""
        for line, row in self.objects(problems, on_read):
            yield line, [field_at(row, name) for name in columns]

    def objects(
        self, problems: Problems, on_read: OnRead | None = None
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield (line, object); record the lines that are none."""
        with closing(numbered_lines(self.source, problems, on_read)) as lines:
            for line, content in lines:
                if not content.strip():
                    continue
                try:
                    row = _object(content)
                except ValueError as error:
                    problems.add(self.source.name, line, str(error))
                    continue
                yield line, row


class JsonArray(JsonLines):
    """Objects in one array, however it is broken into lines."""

    layout = "a JSON array"

    def objects(
        self, problems: Problems, on_read: OnRead | None = None
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """As :meth:`JsonLines.objects`."""
        with closing(_array(self.source, problems, on_read)) as entries:
            for line, entry in entries:
                if isinstance(entry, dict):
                    yield line, entry
                else:
                    kind = type(entry).__name__
                    problems.add(self.source.name, line, f"expected an object, got {kind}")


_decode_object = msgspec.json.Decoder(dict[str, Any]).decode


def _object(content: bytes) -> dict[str, Any]:
    try:
        return _decode_object(content)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        if not isinstance(error, msgspec.ValidationError):
            literal = _literal(content)
            if literal is not None:
                return literal
        raise ValueError(str(error) or "nested too deeply") from None


def _literal(content: bytes) -> dict[str, Any] | None:
    """The dict that a Python literal gives; never evaluated."""
    if not content.lstrip().startswith((b"{'", b'{"')):
        return None
    try:
        value = literal_eval(content.decode("utf-8").strip())
    # What the parser raises on hostile nesting depends on where it gives up.
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None
    return value if isinstance(value, dict) else None


def _array(
    source: Source, problems: Problems, on_read: OnRead | None
) -> Generator[tuple[int, Any], None, None]:
    """Yield (line it begins at, entry) of an array, decoded as the bytes come."""
    decode = json.JSONDecoder().raw_decode
    line, buffer, at, over = 1, "", 0, False
    with source.open() as (raw, stream):
        reader = _texts(stream)
        buffer = next(reader, "").removeprefix("\ufeff")
        at = buffer.find("[") + 1
        line += buffer.count("\n", 0, at)
        while True:
            start = at
            while at < len(buffer) and buffer[at] in ",\t\r\n ":
                at += 1
            line += buffer.count("\n", start, at)
            entry: Any = None
            fault = "the array breaks off here"
            if at < len(buffer):
                if buffer[at] == "]":
                    break
                try:
                    entry, end = decode(buffer, at)
                except (json.JSONDecodeError, RecursionError) as error:
                    fault = f"not JSON: {error}"
                else:
                    # A number at the buffer's end may go on in the next chunk.
                    if end < len(buffer) or over:
                        yield line, entry
                        line += buffer.count("\n", at, end)
                        at = end
                        continue
            more = "" if len(buffer) - at > _MOST_BUFFERED else next(reader, "")
            if on_read is not None:
                on_read(raw.tell())
            if not more:
                if over or entry is None:
                    problems.add(source.name, line, fault)
                    break
                over = True
            buffer, at = buffer[at:] + more, 0
        if on_read is not None:
            on_read(raw.tell())


def _texts(stream: IO[bytes]) -> Iterator[str]:
    """UTF-8 in chunks; a character is never cut."""
    import codecs  # noqa: PLC0415

    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    while content := stream.read(_CHUNK):
        if text := decoder.decode(content):
            yield text


def _json(table: JsonLines) -> JsonLines:
    """The table with its columns, which are those of its first rows."""
    with closing(table.objects(Problems())) as objects:  # type: ignore[type-var]
        rows = [row for _, row in islice(objects, SAMPLE)]
    names: dict[str, None] = {}
    for row in rows:
        for name, value in row.items():
            names[name] = None
            if isinstance(value, dict):
                names |= dict.fromkeys(f"{name}.{inner}" for inner in value)
    table.columns = tuple(names)
    table.sample = [[field_at(row, name) for name in table.columns] for row in rows]
    return table


class Metarank(JsonLines):
    """Those of Metarank's events that are interactions, or those that are items.

    Both lie in one file, among others that are neither. An item's ``fields`` are its columns.
    Source: https://docs.metarank.ai/reference/event-schema
    """

    layout = "Metarank's events"
    EVENTS = frozenset({"interaction", "item", "metadata", "ranking", "user"})

    def __init__(self, table: JsonLines, wanted: tuple[str, ...]) -> None:
        super().__init__(table.source, (), ())
        self._table = table
        self._wanted = wanted
        _json(self)

    @classmethod
    def fits(cls, table: Table) -> bool:
        """Whether the objects are Metarank's events, by their first ones."""
        if not isinstance(table, JsonLines) or not {"event", "timestamp"} <= set(table.columns):
            return False
        kinds = table.values("event")
        # An event that a shop calls "item" has a user of its own and no `fields`.
        return "fields" in table.columns and all(
            isinstance(kind, str) and kind in cls.EVENTS for kind in kinds
        )

    def objects(
        self, problems: Problems, on_read: OnRead | None = None
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """As :meth:`JsonLines.objects`."""
        for line, row in self._table.objects(problems, on_read):
            if row.get("event") in self._wanted:
                fields = row.get("fields")
                named = {
                    field["name"]: field.get("value")
                    for field in (fields if isinstance(fields, list) else ())
                    if isinstance(field, dict) and isinstance(field.get("name"), str)
                }
                yield line, named | {name: row[name] for name in row if name != "event"}


# ------------------------------------------------------------------ Parquet


class Parquet(Table):
    """A Parquet file; its rows are numbered from 1."""

    layout = "Parquet"

    def rows(
        self, columns: Sequence[str], problems: Problems, on_read: OnRead | None = None
    ) -> Iterator[tuple[int, Row]]:
        """As :meth:`Table.rows`; ``on_read`` is told an estimate by the rows."""
        size, row = self.source.path.stat().st_size, 0
        for batch in _batches(self.source):
            values = [batch.column(name).to_pylist() for name in columns]
            for record in zip(*values, strict=True):
                row += 1
                yield row, record
                if on_read is not None and row % REPORT_EVERY == 0:
                    on_read(min(row * 8, size))
        if on_read is not None:
            on_read(size)


def _batches(source: Source) -> Iterator[Any]:
    try:
        from arro3.io import read_parquet  # noqa: PLC0415 - of the extra parquet
    except ModuleNotFoundError:
        raise DatasetError(
            f"{source.name} is Parquet, which needs the package arro3-io: pip install '.[parquet]'"
        ) from None
    try:
        if not source.member and source.plain == source.path.name:
            yield from read_parquet(str(source.path))
            return
        # Parquet is read from its end: what is compressed again is unpacked to a file first.
        with source.open() as (_, stream), tempfile.TemporaryFile() as unpacked:
            while content := stream.read(_CHUNK):
                unpacked.write(content)
            unpacked.seek(0)
            yield from read_parquet(unpacked)
    except (OSError, GeneratorExit, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # arro3's own share no base, and its panics are no Exception
        raise DatasetError(f"{source.name} cannot be read as Parquet: {error}") from error


def _parquet(source: Source) -> Parquet:
    with closing(_batches(source)) as batches:  # type: ignore[type-var]
        batch = next(batches, None)
        if batch is None:
            return Parquet(source, (), ())
        columns = [field.name for field in batch.schema]
        head_of = batch.slice(0, min(SAMPLE, batch.num_rows))
        sample = list(zip(*(head_of.column(name).to_pylist() for name in columns), strict=True))
    return Parquet(source, columns, sample)


# ------------------------------------------------------------------ which one it is


def open_table(source: Source, is_header: IsHeader) -> Table | None:
    """The table that a source holds, or None where it holds none.

    Parameters
    ----------
    is_header
        Whether a first row, before the rest, names the columns.

    Raises
    ------
    OSError
        If it cannot be read.
    DatasetError
        If it is a Parquet file that is broken.
    """
    with source.open() as (_, stream):
        magic = stream.read(4)
    if magic == _PARQUET:
        return _parquet(source)
    start = head(source, SAMPLE)
    if not start:
        return None
    first = start[0].lstrip()
    if first.startswith(b"{"):
        table = _json(JsonLines(source, (), ()))
        return table if table.columns else None
    if first.startswith(b"["):
        array = _json(JsonArray(source, (), ()))
        return array if array.columns else None
    return _delimited(source, start, is_header)


def first_line(source: Source) -> bytes | None:
    """The first line that is not blank, for an error to show."""
    lines = head(source, 1)
    return lines[0].strip() if lines else None


def is_beside(path: Path) -> bool:
    """Whether a file in a folder is looked at: hidden ones and pictures of an archive are not."""
    return path.is_file() and not path.name.startswith((".", "_"))
