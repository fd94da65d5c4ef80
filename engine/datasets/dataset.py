"""A data set: items, and interactions in order of time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from engine.datasets import values
from engine.datasets.columns import EventColumns
from engine.datasets.items import ItemOf
from engine.datasets.problems import Problems
from engine.datasets.sorting import TimeSorter
from engine.datasets.sources import OnRead
from engine.datasets.tables import JsonLines, Row, Table
from engine.events import BUILT_IN_KINDS, Interaction, Item, Kinds
from engine.fields.values import is_blank, shown

OnProgress = Callable[[int, int], None]

_Fact = TypeVar("_Fact", Interaction, Item)

# With two parts and a line number an event id stays below its limit of 256 characters.
_NAME_IN_ID = 100
_WITHOUT_TIME_MS = 946_684_800_000
"""Start of the stream of a table without times: the year 2000."""
_OWN = ("event_id", "user", "item", "timestamp", "kind")


class Dataset(ABC):
    """What a replay reads: an iterator of items, and one of interactions in order of time.

    Attributes
    ----------
    name : str
        Name of the folder or file, such as ``ml-100k``.
    format : str
        How it is written, such as ``JSON lines``.
    path : Path or None
        Where it lies on disk, if it does.
    problems : Problems
        The malformed rows met so far.
    count : int or None
        Number of interactions; None until :meth:`interactions` has sorted them.
    choices : list of str
        Lines for people that say which file and column was taken for what; empty if there was no
        choice.
    """

    format: str

    def __init__(self, name: str, path: Path | None = None, *, strict: bool = False) -> None:
        # It may be the name of a file in somebody's archive, and is printed.
        self.name = "".join(c if c.isprintable() else " " for c in name)
        self.path = path
        self.problems = Problems(strict=strict)
        self.count: int | None = None
        self.choices: list[str] = []

    @abstractmethod
    def items(self) -> Iterator[Item]:
        """Yield what the catalogue knows of each item."""

    @abstractmethod
    def interactions(self, on_progress: OnProgress | None = None) -> Iterator[Interaction]:
        """Yield the interactions in order of time.

        ``on_progress(bytes_read, bytes_total)`` is called while the source is read, and once
        with both equal when the first interaction is ready.
        """


@dataclass(frozen=True)
class EventTable:
    """A table, and which of its columns make interactions."""

    table: Table
    columns: EventColumns


@dataclass(frozen=True)
class ItemTable:
    """A table, the columns to ask it for, and what makes an item of their values."""

    table: Table
    columns: list[str]
    item_of: ItemOf
    described: str


class TableDataset(Dataset):
    """A data set in tables.

    Parameters
    ----------
    name, path
        As in :class:`Dataset`.
    event_tables, item_tables
        The tables to read; with several of the first, event ids also hold the file's stem.
    strict
        Raise DatasetError at the first malformed row instead of skipping and counting it.
    seed
        Decides the order of interactions with equal timestamps.
    kinds
        What kinds of events are called.
    """

    def __init__(
        self,
        name: str,
        path: Path,
        event_tables: Sequence[EventTable],
        item_tables: Sequence[ItemTable],
        *,
        strict: bool = False,
        seed: int = 0,
        kinds: Kinds = BUILT_IN_KINDS,
    ) -> None:
        super().__init__(name, path, strict=strict)
        self.seed = seed
        self.kinds = kinds
        self.event_tables = tuple(event_tables)
        self.item_tables = tuple(item_tables)
        self.format = ", ".join(dict.fromkeys(one.table.layout for one in event_tables))
        self.choices = [
            f"{one.table.source.name}: {one.columns.described()}" for one in event_tables
        ] + [f"{one.table.source.name}: {one.described}" for one in item_tables]
        for one in event_tables:
            if one.columns.timestamp is None:
                self.problems.note(
                    one.table.source.name, 1,
                    "no column is known as the timestamp: events are taken in the file's order, a "
                    "second apart; name the column, as --columns timestamp=NAME",
                )  # fmt: skip

    def items(self) -> Iterator[Item]:
        """Yield what the catalogue knows of each item; nothing where there is no such table."""
        for one in self.item_tables:
            name = one.table.source.name
            self.problems.start(name)
            rows = one.table.rows(one.columns, self.problems)
            yield from self._convert(name, rows, lambda _, row, one=one: one.item_of(row))  # type: ignore[misc]

    def interactions(self, on_progress: OnProgress | None = None) -> Iterator[Interaction]:
        """Yield the interactions in order of time, ties in the seed's order.

        All are read and sorted (:mod:`engine.datasets.sorting`) before the first is yielded.
        """
        sizes = [one.table.source.path.stat().st_size for one in self.event_tables]
        total = sum(sizes)
        with closing(TimeSorter(self.seed)) as sorter:
            before = 0
            for one, size in zip(self.event_tables, sizes, strict=True):
                on_read = None if on_progress is None else _offset(on_progress, before, total)
                self.problems.start(one.table.source.name)
                sorter.add(self._read(one, sorter, on_read))
                before += size
            self.count = sorter.count
            for place, event in enumerate(sorter):
                if place == 0 and on_progress is not None:
                    on_progress(total, total)
                yield event

    def _read(
        self, one: EventTable, sorter: TimeSorter, on_read: OnRead | None
    ) -> Iterator[Interaction]:
        table = one.table
        if isinstance(table, JsonLines) and set(_OWN) <= set(table.columns):
            # Millrace's own messages: all fields, also those that the first messages lack.
            names = list(Interaction.__struct_fields__)
            own = lambda _, row: self._own(dict(zip(names, row, strict=True)))  # noqa: E731
            rows = table.rows(names, self.problems, on_read)
            yield from self._convert(table.source.name, rows, own)
            return
        convert = _InteractionOf(
            one.columns, self.kinds, self._id_prefix(table), lambda: sorter.count
        )
        rows = table.rows(convert.names, self.problems, on_read)
        yield from self._convert(table.source.name, rows, convert)

    def _own(self, fields: dict[str, Any]) -> Interaction:
        given = {name: value for name, value in fields.items() if value is not None}
        for name in ("event_id", "user", "item"):
            if isinstance(given.get(name), int):
                given[name] = str(given[name])
        if isinstance(given.get("kind"), str):
            given["kind"] = _kind(self.kinds, given["kind"])
        return values.interaction(**given)

    def _id_prefix(self, table: Table) -> str:
        """The prefix of event ids: equal in every run, so that a second replay is known as
        duplicates."""
        name = self.name[:_NAME_IN_ID]
        if len(self.event_tables) > 1:
            name = f"{name}:{table.source.stem[:_NAME_IN_ID]}"
        return name

    def _convert(
        self,
        name: str,
        rows: Iterable[tuple[int, Row]],
        fact_of: Callable[[int, Row], _Fact],
    ) -> Iterator[_Fact]:
        """Yield what ``fact_of(line, row)`` makes of each row; record those it rejects."""
        for line, row in rows:
            try:
                fact = fact_of(line, row)
            except (ValueError, msgspec.ValidationError) as error:
                self.problems.add(name, line, str(error))
                continue
            yield fact


class _InteractionOf:
    """Makes an interaction of a row's line and values.

    Attributes
    ----------
    names
        The columns that it wants, in order.
    """

    def __init__(
        self, columns: EventColumns, kinds: Kinds, prefix: str, place: Callable[[], int]
    ) -> None:
        self._columns = columns
        self._kinds = kinds
        self._prefix = prefix
        self._place = place
        optional = (columns.timestamp, columns.kind, columns.value, columns.event_id)
        self.names = list(
            dict.fromkeys((columns.user, columns.item, *filter(None, optional), *columns.texts))
        )
        at = {name: place for place, name in enumerate(self.names)}
        self._user, self._item = at[columns.user], at[columns.item]
        self._time, self._kind, self._value, self._id = (
            None if name is None else at[name] for name in optional
        )
        self._texts = [at[name] for name in columns.texts]
        # Without a header columns have numbers, which say nothing in an error.
        self._label = {
            role: role if name.isdigit() else name
            for role, name in (
                ("user", columns.user), ("item", columns.item),
                ("timestamp", columns.timestamp or ""), ("rating", columns.value or ""),
                ("event_id", columns.event_id or ""),
            )
        }  # fmt: skip
        # Without a kind: a review if it has text, a rating if it has a value.
        self._default = "click"
        if columns.value is not None:
            self._default = "review" if columns.texts else "rating"
        elif columns.texts:
            self._default = "review"

    def __call__(self, line: int, row: Row) -> Interaction:
        columns = self._columns
        kind = self._default
        if self._kind is not None and not is_blank(row[self._kind]):
            kind = _kind(self._kinds, str(row[self._kind]).strip())
        value = None
        if self._value is not None and not is_blank(row[self._value]):
            value = values.number(self._label["rating"], row[self._value])
        elif self._value is not None and self._kind is None:
            raise ValueError(f"{self._label['rating']} is blank; expected a number")
        if self._time is None:
            timestamp = _WITHOUT_TIME_MS + self._place() * 1000
        else:
            timestamp = columns.clock(self._label["timestamp"], row[self._time])
        event_id = ""
        if self._id is not None and not is_blank(row[self._id]):
            event_id = values.identifier(self._label["event_id"], row[self._id])
        # A headline and its text are a line each; a text alone keeps its line breaks.
        cleaned = values.plain if len(self._texts) > 1 else values.written
        parts = (row[place] for place in self._texts)
        text = "\n".join(filter(None, (cleaned(p) for p in parts if isinstance(p, str))))
        return values.interaction(
            event_id=event_id or f"{self._prefix}:{line}",
            user=values.identifier(self._label["user"], row[self._user]),
            item=values.identifier(self._label["item"], row[self._item]),
            timestamp=timestamp,
            kind=kind,
            value=value,
            text=values.clip(text) or None,
        )


def _kind(kinds: Kinds, name: str) -> str:
    kind = kinds.read(name)
    if kind is None:
        raise ValueError(
            f"kind {shown(name)} is unknown: known are {', '.join(kinds.known)}; say what "
            f'it weighs, as --set kinds.{name}=0.5, or "dislike", or "ignore"'
        )
    return kind


def _offset(on_progress: OnProgress, before: int, total: int) -> OnRead:
    return lambda read: on_progress(before + read, total)
