"""Opens a source as the kind of table that its first bytes show."""

from __future__ import annotations

from pathlib import Path

from engine.datasets.sources import Source, head
from engine.datasets.tables.delimited import IsHeader, open_delimited
from engine.datasets.tables.json_objects import JsonArray, JsonLines, with_columns
from engine.datasets.tables.parquet import MAGIC, open_parquet
from engine.datasets.tables.table import SAMPLE, Table


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
    if magic == MAGIC:
        return open_parquet(source)
    start = head(source, SAMPLE)
    if not start:
        return None
    first = start[0].lstrip()
    if first.startswith(b"{"):
        table = with_columns(JsonLines(source, (), ()))
        return table if table.columns else None
    if first.startswith(b"["):
        array = with_columns(JsonArray(source, (), ()))
        return array if array.columns else None
    return open_delimited(source, start, is_header)


def first_line(source: Source) -> bytes | None:
    """The first line that is not blank, for an error to show."""
    lines = head(source, 1)
    return lines[0].strip() if lines else None


def is_beside(path: Path) -> bool:
    """Whether a file of a folder is looked at: none whose name begins with a dot or underscore."""
    return path.is_file() and not path.name.startswith((".", "_"))
