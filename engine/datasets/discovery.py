"""Recognises the tables at a path by their columns and first rows, without a flag."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.datasets import columns, items
from engine.datasets.columns import EventColumns
from engine.datasets.dataset import EventTable, ItemTable, TableDataset
from engine.datasets.problems import DatasetError
from engine.datasets.sources import Source, sources_of
from engine.datasets.tables import (
    Delimited,
    JsonLines,
    Metarank,
    Table,
    first_line,
    is_beside,
    open_table,
)
from engine.events import BUILT_IN_KINDS, Kinds

RELEASES = (
    (r"u\.data", "MovieLens 100K"),
    (r"ratings\.dat", "MovieLens 1M/10M"),
    (r"ratings\.csv", "MovieLens CSV"),
    (r"yelp_academic_dataset_review\.json", "Yelp JSON"),
    (r"yelp_review\.csv", "Yelp CSV"),
    (r".*\.inter", "RecBole"),
)
"""Files with a release's events, whatever other tables of users and items are beside them."""
_STANDS_FOR_FOLDER = RELEASES[:5]
_ITEM_FILES = {
    "u.item": ("u.data", "ml-100k.zip at grouplens.org/datasets/movielens/100k"),
    "movies.dat": ("ratings.dat", "ml-1m.zip at grouplens.org/datasets/movielens/1m"),
    "movies.csv": ("ratings.csv", "ml-latest-small.zip at grouplens.org/datasets/movielens"),
    "yelp_academic_dataset_business.json": (
        "yelp_academic_dataset_review.json",
        "the Yelp Open Dataset at business.yelp.com/data/resources/open-dataset",
    ),
    "yelp_business.csv": (
        "yelp_review.csv",
        "the Yelp Open Dataset at business.yelp.com/data/resources/open-dataset",
    ),
}
"""By item table of a release: the file of events that belongs to it, and where to get that."""
_LISTED = 8
_MOST_FILES = 10_000


@dataclass
class _Found:
    """A table, and how it can be read: as events, as items, or both."""

    table: Table
    events: EventColumns | None
    items: ItemTable | None


def open_dataset(
    path: Path | str | Sequence[Path | str],
    *,
    strict: bool = False,
    seed: int = 0,
    columns: Mapping[str, str] | None = None,
    items: Path | str | None = None,
    kinds: Kinds = BUILT_IN_KINDS,
) -> TableDataset:
    """Recognise the tables at ``path``: a file, several, or a folder.

    Text between commas, tabs, semicolons, bars or double colons, JSON lines, a JSON array and
    Parquet are read, each also compressed with gzip or zstd or in a zip archive. Of a folder, the
    tables of events are read as one stream, and those of items as its catalogue. Of a file, the
    tables of items beside it are the catalogue. Several files are one stream.

    Parameters
    ----------
    path
        Folder, file, or several files.
    strict
        Raise at the first malformed row instead of skipping and counting it.
    seed
        Decides the order of interactions with equal timestamps.
    columns
        Names of columns by role (``user``, ``item``, ``timestamp``, ``kind``, ``value``, ``text``,
        ``event_id``), for those that are not found by their usual names.
    items
        The file of items, if it does not lie beside the events.
    kinds
        What kinds of events are called.

    Raises
    ------
    DatasetError
        When there is nothing at ``path`` or no table of events, with its columns and what they
        were taken for; or when several data sets are there.
    """
    given = [Path(one) for one in ([path] if isinstance(path, str | Path) else path)]
    roles = dict(columns or {})
    if not given:
        raise DatasetError("no data set is named")
    where = given[0]
    try:
        paths = [one.expanduser().resolve() for one in given]
        for where, one in zip(given, paths, strict=True):
            if not one.exists():
                raise DatasetError(
                    f"no data set at {where}: there is no such file or folder; give a table of "
                    "events (CSV, JSON lines, Parquet), or the folder that holds one, such as "
                    "that of u.data"
                )
        where = given[0]
        if len(paths) == 1 and paths[0].is_dir():
            name = paths[0].name
            found = _in_folder(paths[0], roles, kinds)
        else:
            name, found = _of_files(paths, roles, kinds)
        catalogue = found[1] if items is None else _named_items(Path(items))
    except OSError as error:
        raise DatasetError(f"cannot read {where}: {error.strerror}; check its rights") from error
    return TableDataset(
        name or "data", paths[0], found[0], catalogue, strict=strict, seed=seed, kinds=kinds
    )


_Parts = tuple[list[EventTable], list[ItemTable]]


def _in_folder(folder: Path, roles: dict[str, str], kinds: Kinds) -> _Parts:
    files = _files(folder)
    released = _released(files)
    looked = [_look(source, {}, kinds) for source in sources_of(files)]
    found = [one for one in looked if one is not None]
    catalogue = [one.items for one in found if one.items is not None]
    if len(released) > 1:
        names = " and ".join(dict(RELEASES)[pattern] for pattern in released)
        raise DatasetError(f"{folder} holds {names}: open one of them by its file")
    # With named columns, a table of events is one that has them.
    if roles:
        events = [one for one in found if not _lacks(one.table, roles)]
        events = [_with_roles(one, roles, kinds) for one in events]
        if not events and found:
            events = [_with_roles(found[0], roles, kinds)]  # raises, with the columns
    else:
        events = [one for one in found if one.events is not None]
    if released:
        pattern = next(iter(released))
        events = [one for one in events if re.fullmatch(pattern, one.table.source.plain)]
    elif any(one.events and one.events.timestamp for one in events):
        events = [one for one in events if one.events and one.events.timestamp]
    if not events:
        raise _nothing(folder, files, found)
    _one_stream(folder, events)
    tables = [EventTable(one.table, one.events) for one in events if one.events is not None]
    own = {id(table.table) for table in tables}
    return tables, [one for one in catalogue if id(one.table) not in own]


def _of_files(paths: list[Path], roles: dict[str, str], kinds: Kinds) -> tuple[str, _Parts]:
    files = [file for path in paths for file in (_files(path) if path.is_dir() else [path])]
    tables: list[EventTable] = []
    catalogue: list[ItemTable] = []
    for source in sources_of(files):
        one = _look(source, roles, kinds)
        if one is not None and one.events is not None:
            tables.append(EventTable(one.table, one.events))
            catalogue += [one.items] if one.items is not None else []
        elif one is not None and one.items is not None and len(paths) > 1:
            catalogue.append(one.items)
        else:
            raise _no_events(source, one, kinds)
    if not tables:
        raise DatasetError(f"{paths[0]} holds no table: give one of events (CSV, JSON, Parquet)")
    source = tables[0].table.source
    if not catalogue:
        catalogue = _beside(source, {one.path for one in sources_of(files)}, kinds)
    for pattern, _ in _STANDS_FOR_FOLDER:
        if len(paths) == 1 and re.fullmatch(pattern, source.plain) and not source.member:
            return source.path.parent.name, (tables, catalogue)
    name = source.path.stem if source.member else source.stem
    return name, (tables, catalogue)


def _look(source: Source, roles: Mapping[str, str], kinds: Kinds) -> _Found | None:
    table = open_table(source, columns.is_header)
    if table is None:
        return None
    if isinstance(table, Delimited) and not table.header:
        if (known := items.without_header(table)) is not None:
            return _Found(table, None, ItemTable(table, *known, "MovieLens' own layout"))
        return _Found(table, columns.event_columns(table, roles, kinds), None)
    if isinstance(table, JsonLines) and Metarank.fits(table):
        events = Metarank(table, ("interaction",))
        about = Metarank(table, ("item", "metadata"))
        catalogue, named = None, columns.item_columns(about)
        if named is not None:
            catalogue = ItemTable(about, *items.reader(about, named), named.described())
        return _Found(events, columns.event_columns(events, roles, kinds), catalogue)
    catalogue = None
    found = columns.event_columns(table, roles, kinds)
    if not columns.has_user(table) and (named := columns.item_columns(table)) is not None:
        catalogue = ItemTable(table, *items.reader(table, named), named.described())
        # A session does not stand in for the user in a table with titles: transactions seldom have
        # both.
        if found is not None and found.timestamp is None and not roles:
            found = None
    return _Found(table, found, None if found is not None else catalogue)


def _with_roles(one: _Found, roles: Mapping[str, str], kinds: Kinds) -> _Found:
    return _Found(one.table, columns.event_columns(one.table, roles, kinds), None)


def _lacks(table: Table, roles: Mapping[str, str]) -> bool:
    have = {part for name in table.columns for part in (name, *columns.normal(name))}
    return any(have.isdisjoint((name, *columns.normal(name))) for name in roles.values())


def _files(folder: Path) -> list[Path]:
    """The files of a folder; where it has only folders, as a partitioned table has, theirs."""
    files = [one for one in sorted(folder.iterdir()) if is_beside(one)]
    if not files:
        files = [one for one in sorted(folder.rglob("*")) if is_beside(one)]
    return files[:_MOST_FILES]


def _released(files: Sequence[Path]) -> dict[str, Path]:
    """Which releases' events are among the files, by their pattern."""
    found: dict[str, Path] = {}
    for file in files:
        plain = Source(file).plain
        for pattern, _ in RELEASES:
            if re.fullmatch(pattern, plain):
                found[pattern] = file
    return found


def _category(source: Source) -> str:
    """``Books`` of ``reviews_Books_5.json.gz``, ``Books_5.json.gz`` and ``meta_Books.jsonl``."""
    stem = re.sub(r"_\d+$", "", source.stem)
    return stem.removeprefix("reviews_").removeprefix("meta_").removeprefix("ratings_")


def _one_stream(folder: Path, events: Sequence[_Found]) -> None:
    """Refuse tables of events that are several data sets, or one of them twice."""
    seen: dict[str, str] = {}
    layouts: dict[frozenset[str], str] = {}
    for one in events:
        source = one.table.source
        other = seen.setdefault(_category(source), source.name)
        layout = layouts.setdefault(frozenset(one.table.columns), source.name)
        if other != source.name and isinstance(one.table, Delimited) is False:
            raise DatasetError(
                f"{folder} holds both {other} and {source.name}, which are one category twice or "
                "two releases: open one of them by its file"
            )
        if len(layouts) > 1 and not _alike(events[0], one):
            first = events[0].table
            raise DatasetError(
                f"{folder} holds two tables of events, {first.source.name} (columns "
                f"{', '.join(first.columns)}) and {layout} (columns "
                f"{', '.join(one.table.columns)}): open one of them by its file, or name all files "
                "of one stream"
            )


def _alike(one: _Found, other: _Found) -> bool:
    """Whether two tables have the same columns for user, item and time."""
    a, b = one.events, other.events
    if a is None or b is None:
        return False
    return (a.user, a.item, a.timestamp) == (b.user, b.item, b.timestamp)


def _beside(source: Source, own: set[Path], kinds: Kinds) -> list[ItemTable]:
    """The tables of items in a file's folder; only its namesake where there is one."""
    found = []
    for one in sources_of(file for file in _files(source.path.parent) if file not in own):
        try:
            looked = _look(one, {}, kinds)
        except (DatasetError, OSError):
            continue  # nobody asked for this file
        if looked is not None and looked.items is not None:
            found.append(looked.items)
    namesakes = [one for one in found if _category(one.table.source) == _category(source)]
    return namesakes or [one for one in found if not one.table.source.plain.startswith("meta_")]


def _named_items(path: Path) -> list[ItemTable]:
    if not path.exists():
        raise DatasetError(f"--items {path}: there is no such file")
    found = []
    for source in sources_of(_files(path) if path.is_dir() else [path]):
        table = open_table(source, columns.is_header)
        if table is not None and isinstance(table, Delimited) and not table.header:
            known = items.without_header(table)
            if known is not None:
                found.append(ItemTable(table, *known, "MovieLens' own layout"))
                continue
        named = columns.item_columns(table) if table is not None else None
        if table is None or named is None:
            names = f"its columns are {', '.join(table.columns)}" if table else "it is no table"
            raise DatasetError(
                f"--items {path}: {source.name} has no column of items with a title, text or "
                f"categories beside it: {names}"
            )
        found.append(ItemTable(table, *items.reader(table, named), named.described()))
    return found


# ------------------------------------------------------------------ what is said where it fails


def _no_events(source: Source, one: _Found | None, kinds: Kinds) -> DatasetError:
    """The error of a file that is no table of events."""
    if one is None:
        first = first_line(source)
        what = f"its first line is {first[:60]!r}" if first else "it is empty"
        return DatasetError(
            f"{source.name} is no table: {what}; give rows between commas, tabs, semicolons or "
            "bars, JSON lines, a JSON array, or Parquet"
        )
    return DatasetError(f"{source.name} {_missing(one)}")


def _missing(one: _Found) -> str:
    """What a table was taken for, and the flag that corrects it."""
    table = one.table
    names = ", ".join(table.columns)
    if isinstance(table, Delimited) and not table.header:
        first = table.source.name
        row = " ".join(map(str, table.sample[0])) if table.sample else ""
        return (
            f"has no header and no column that can only be a time: its first row is {row[:60]!r} "
            f"in {first}; say which columns are what by their numbers, as --columns "
            "user=1,item=2,timestamp=3"
        )
    user = columns.usual(table, columns.USER) or columns.usual(table, columns.SESSION)
    item = columns.usual(table, columns.ITEM)
    taken = [f"{role} <- {name}" for role, name in (("user", user), ("item", item)) if name]
    lacking = [role for role, name in (("user", user), ("item", item)) if not name]
    known = f"taken: {', '.join(taken)}; " if taken else ""
    if one.items is not None:
        known = f"it is taken for a table of items ({one.items.described}); "
    wanted = ",".join(f"{role}=NAME" for role in lacking or ["user"])
    return (
        f"has no column that is known as the {' or the '.join(lacking or ['user'])}: its columns "
        f"are {names}; {known}name what is missing, as --columns {wanted}"
    )


def _nothing(folder: Path, files: Sequence[Path], found: Sequence[_Found]) -> DatasetError:
    """The error of a folder without a table of events."""
    empty = [file.name for file in files if file.stat().st_size == 0]
    if empty:
        return DatasetError(
            f"no table of events in {folder}: {', '.join(empty[:_LISTED])} "
            f"{'is' if len(empty) == 1 else 'are'} empty; put events there"
        )
    for file in files:
        if (missing := _ITEM_FILES.get(Source(file).plain)) is not None:
            wanted, home = missing
            return DatasetError(
                f"{folder} holds {file.name} but not {wanted}: get it from {home} and put it there"
            )
    for one in found:
        source = one.table.source
        if source.plain.startswith("meta_"):
            return DatasetError(
                f"{folder} holds {source.name} of Amazon Reviews but no file of reviews: get that "
                f"of {_category(source)} from amazon-reviews-2023.github.io and put it there"
            )
    tables = [f"{one.table.source.name} {_missing(one)}" for one in found[:3]]
    if tables:
        return DatasetError(f"no table of events in {folder}: {'. '.join(tables)}")
    return DatasetError(
        f"no table in {folder}: looked for u.data, ratings.csv, and text between commas, tabs, "
        f"semicolons or bars, JSON lines, a JSON array and Parquet; found {_listing(folder)}; give "
        "the folder or the file that holds one"
    )


def _listing(folder: Path) -> str:
    names = sorted(f"{one.name}/" if one.is_dir() else _sized(one) for one in folder.iterdir())
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return (", ".join(names[:_LISTED]) + more) or "nothing"


def _sized(file: Path) -> str:
    return f"{file.name}{' (empty)' if file.stat().st_size == 0 else ''}"
