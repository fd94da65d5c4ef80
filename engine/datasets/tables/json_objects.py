"""JSON objects, read by msgspec: one a line, those of an array, and those of Metarank's events."""

from __future__ import annotations

import json
from ast import literal_eval
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from itertools import islice
from typing import IO, Any

import msgspec

from engine.datasets.problems import Problems
from engine.datasets.sources import OnRead, Source, numbered_lines
from engine.datasets.tables.table import SAMPLE, Row, Table
from engine.fields.values import field_at

_CHUNK = 2**20
_MOST_BUFFERED = 64 * 2**20
"""Bytes of one object in a JSON array; more is no array of rows."""


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


def with_columns(table: JsonLines) -> JsonLines:
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
    """The interactions among Metarank's events, or the items.

    One file holds both, among events that are neither. An item's ``fields`` are its columns.
    Source: https://docs.metarank.ai/reference/event-schema
    """

    layout = "Metarank's events"
    EVENTS = frozenset({"interaction", "item", "metadata", "ranking", "user"})

    def __init__(self, table: JsonLines, wanted: tuple[str, ...]) -> None:
        super().__init__(table.source, (), ())
        self._table = table
        self._wanted = wanted
        with_columns(self)

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
