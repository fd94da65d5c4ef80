"""Tables in files: what columns one has, and its rows one at a time, numbered by their first line.

A reader a module: `delimited`, `json_objects`, `parquet`. `opening` tells which of them a source is
for.
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
