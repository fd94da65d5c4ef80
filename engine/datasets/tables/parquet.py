"""Parquet, read by arro3 (Arrow's Rust reader)."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

from engine.datasets.problems import DatasetError, Problems
from engine.datasets.sources import REPORT_EVERY, OnRead, Source
from engine.datasets.tables.table import SAMPLE, Row, Table

MAGIC = b"PAR1"
_CHUNK = 2**20


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


def open_parquet(source: Source) -> Parquet:
    with closing(_batches(source)) as batches:  # type: ignore[type-var]
        batch = next(batches, None)
        if batch is None:
            return Parquet(source, (), ())
        columns = [field.name for field in batch.schema]
        head_of = batch.slice(0, min(SAMPLE, batch.num_rows))
        sample = list(zip(*(head_of.column(name).to_pylist() for name in columns), strict=True))
    return Parquet(source, columns, sample)
