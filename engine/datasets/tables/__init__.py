"""Tables in files: what columns one has, and its rows one at a time, numbered by their first line.

Each module has the reader of one format: `delimited`, `json_objects`, `parquet`. `opening` chooses
the one for a source.
"""

from engine.datasets.tables.delimited import Delimited
from engine.datasets.tables.json_objects import JsonLines, Metarank
from engine.datasets.tables.opening import first_line, is_beside, open_table
from engine.datasets.tables.table import Row, Table

__all__ = [
    "Delimited",
    "JsonLines",
    "Metarank",
    "Row",
    "Table",
    "first_line",
    "is_beside",
    "open_table",
]
