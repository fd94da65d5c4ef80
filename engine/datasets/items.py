"""Makes items of the rows of item tables."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec

from engine.datasets import values
from engine.datasets.columns import ItemColumns, normal
from engine.datasets.tables import Delimited, JsonLines, Row, Table
from engine.events import Item
from engine.fields.values import is_blank, shown

ItemOf = Callable[[Row], Item]

_NO_CATEGORIES = {"", "unknown", "(no genres listed)", "nan", "none", "null"}
_ABSURD_YEAR = 10_000

# "(1995)", "(1995–1996)", "(2009– )", and "(1995) (V)" for what came out on video.
_YEAR = re.compile(r"\((\d{4})(?:\s*[-–]\s*(?:\d{4})?)?\)(?:\s*\(\w+\))?$")
# "Postino, Il (Postman, The) (1994)": an article after the comma, at the end of a title or of a
# parenthesis.
_ARTICLE = re.compile(
    r"(?P<start>^|\()(?P<rest>[^()]+), "
    r"(?P<article>The|An|A|Il|Lo|La|Le|Les|L'|El|Los|Las|Der|Das|Die|Ein|Eine|Un|Une|Una|Det|Den|En)"
    r"(?=\s*(?:\(|\)|$))"
)

GENRES_100K = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary",
    "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi",
    "Thriller", "War", "Western",
)  # fmt: skip
"""Names of the flags that end a row of MovieLens 100K's ``u.item``."""


def shown_title(title: str) -> str:
    """The title as people write it: ``Matrix, The (1999)`` becomes ``The Matrix (1999)``."""

    def turned(match: re.Match[str]) -> str:
        gap = "" if match["article"].endswith("'") else " "
        return f"{match['start']}{match['article']}{gap}{match['rest']}"

    return _ARTICLE.sub(turned, " ".join(title.split()).replace(" )", ")"))


def without_header(table: Delimited) -> tuple[list[str], ItemOf] | None:
    """Columns and reader of MovieLens' two item tables without a header; None for any other."""
    width = len(table.columns)
    if table.separator == "|" and width == 5 + len(GENRES_100K):
        return list(table.columns), _movie_100k
    if table.separator == "::" and width == 3 and table.source.plain == "movies.dat":
        return list(table.columns), lambda row: film(row[0], row[1], row[2].split("|"))
    return None


def _movie_100k(row: Row) -> Item:
    flags = list(row[5:])
    if not set(flags) <= {"0", "1"}:
        raise ValueError(f"genre flags {shown(flags)} are not all 0 or 1")
    return film(
        row[0], row[1], [n for n, flag in zip(GENRES_100K, flags, strict=True) if flag == "1"]
    )


def film(movie: object, title: str, genres: list[str]) -> Item:
    """An item with a title as MovieLens writes it, and genres."""
    title = shown_title(title)
    categories = [genre for genre in map(str.strip, genres) if genre not in _NO_CATEGORIES]
    year = _YEAR.search(title)
    return values.item(
        item=values.identifier("item", movie),
        title=title,
        text=f"{title}. Genres: {', '.join(categories)}" if categories else title,
        categories=categories,
        properties={"year": int(year[1])} if year else {},
    )


def reader(table: Table, columns: ItemColumns) -> tuple[list[str], ItemOf]:
    """The columns to ask a table for, and what makes an item of their values."""
    if isinstance(table, JsonLines) and is_own(table):
        # Millrace's own messages: all fields, also those that the first messages lack.
        fields = list(Item.__struct_fields__)
        return fields, lambda row: msgspec.convert(
            {name: value for name, value in zip(fields, row, strict=True) if value is not None},
            Item,
        )
    names = [
        columns.item, *([columns.title] if columns.title else []), *columns.categories,
        *columns.main_category, *columns.about, *columns.properties,
    ]  # fmt: skip
    films = [normal(name)[-1] for name in columns.categories] == ["genres"] and not columns.about

    def item_of(row: Row) -> Item:
        fields = dict(zip(names, row, strict=True))
        title = fields[columns.title] if columns.title else None
        title = title if isinstance(title, str) else " ".join(values.strings(title))
        categories = [c for name in columns.categories for c in _split(name, fields[name])]
        if films:
            return film(fields[columns.item], title, categories)
        if not categories:
            categories = [c for name in columns.main_category for c in _split(name, fields[name])]
        return _described(columns, fields, title, list(dict.fromkeys(categories)))

    return names, item_of


def is_own(table: Table) -> bool:
    """Whether the objects are Millrace's own item messages."""
    return set(table.columns) >= {"item"} and all(
        name.partition(".")[0] in Item.__struct_fields__ for name in table.columns
    )


def _described(
    columns: ItemColumns, fields: dict[str, Any], title: str, categories: list[str]
) -> Item:
    title = values.plain(title)
    if title.startswith('"') and title.endswith('"'):  # Yelp's CSV form quotes names twice
        title = title.strip('"').strip()
    about = [
        values.plain(" ".join(values.strings(fields[name])))
        if normal(name)[-1] in ("description", "text", "overview", "abstract", "body", "summary")
        else values.sentences(values.plain(part) for part in values.strings(fields[name]))
        for name in columns.about
    ]
    about.sort(key=lambda text: not text)
    properties = {}
    for name in columns.properties:
        value = fields[name]
        if isinstance(value, str | int | float) and not is_blank(value) and value:
            properties[normal(name)[-1]] = value
    year = next((properties[n] for n in _YEARS if n in properties), None) or (
        int(found[1]) if (found := _YEAR.search(title)) else None
    )
    place = ", ".join(str(properties[n]) for n in ("city", "state") if n in properties)
    told = f"Categories: {', '.join(categories)}" if categories else ""
    if isinstance(year, int | float | str) and (number := _year(year)):
        properties["year"] = number
    return values.item(
        item=values.identifier(columns.item, fields[columns.item]),
        title=title,
        text=values.sentences((title, told, *about, place)),
        categories=categories,
        properties=properties,
    )


_YEARS = ("year", "releaseyear", "publicationyear", "yearofpublication")


def _year(value: float | str) -> int | None:
    try:
        year = int(float(value))
    except (ValueError, OverflowError):
        return None
    return year if 0 < year < _ABSURD_YEAR else None


def _split(column: str, value: Any) -> list[str]:
    """The categories in a value: a list, or text with one of ``|``, ``;``, ``,`` in it.

    RecBole's ``:token_seq`` parts them with spaces.
    """
    parts = values.strings(value)
    if isinstance(value, str):
        if column.endswith(":token_seq"):
            parts = value.split()
        else:
            separator = next((mark for mark in "|;," if mark in value), None)
            parts = value.split(separator) if separator else [value]
    plain = (values.plain(part) for part in parts)
    return [part for part in plain if part.lower() not in _NO_CATEGORIES]
