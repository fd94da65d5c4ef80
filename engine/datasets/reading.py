"""Numbered rows of a file, plain or gzip, one at a time: a file never sits in memory whole."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import IO

from engine.datasets.problems import DatasetError, Problems

MAX_LINE = 16 * 2**20
REPORT_EVERY = 1000
_GZIP_MAGIC = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"
_BAD_GZIP = (EOFError, gzip.BadGzipFile, zlib.error)

OnRead = Callable[[int], None]


def numbered_lines(
    path: Path, problems: Problems, on_read: OnRead | None = None
) -> Generator[tuple[int, bytes], None, None]:
    """Yield (line number from 1, bytes) of every physical line.

    A gzip file that breaks off, and a line above 16 MiB, are recorded in ``problems``; what came
    before is kept. ``on_read`` is told the bytes of the file that are read so far, every 1,000
    lines and at the end.
    """
    problems.start(path.name)
    line = 0
    with path.open("rb") as raw, _decompressed(raw) as stream:
        while True:
            try:
                content = stream.readline(MAX_LINE)
                whole = len(content) < MAX_LINE or content.endswith(b"\n")
                if not whole:
                    _skip_line(stream)
            except _BAD_GZIP as error:
                problems.add(path.name, line + 1, f"the gzip data break off here ({error})")
                break
            if not content:
                break
            line += 1
            if line == 1:
                content = content.removeprefix(_BOM)
            if whole:
                yield line, content
            else:
                problems.add(path.name, line, f"the line is longer than {MAX_LINE:,} bytes")
            if on_read is not None and line % REPORT_EVERY == 0:
                on_read(raw.tell())
        if on_read is not None:
            on_read(raw.tell())


def rows(
    path: Path, problems: Problems, on_read: OnRead | None = None
) -> Iterator[tuple[int, bytes]]:
    """Like :func:`numbered_lines`, without the blank lines."""
    return ((n, line) for n, line in numbered_lines(path, problems, on_read) if line.strip())


def _decompressed(raw: IO[bytes]) -> IO[bytes]:
    magic = raw.read(len(_GZIP_MAGIC))
    raw.seek(0)
    if magic == _GZIP_MAGIC:
        return io.BufferedReader(gzip.GzipFile(fileobj=raw))
    return raw


def _skip_line(stream: IO[bytes]) -> None:
    while (content := stream.readline(MAX_LINE)) and not content.endswith(b"\n"):
        pass


def head(path: Path, lines: int = 20) -> list[bytes]:
    """The first lines of a file that are not blank, for telling its format."""
    with closing(numbered_lines(path, Problems())) as numbered:
        return list(islice((line for _, line in numbered if line.strip()), lines))


def csv_rows(
    path: Path,
    problems: Problems,
    columns: Sequence[str],
    optional: Sequence[str] = (),
    on_read: OnRead | None = None,
) -> Iterator[tuple[int, list[str]]]:
    """Yield (number of the row's first line, its fields in the order of the columns asked for).

    A row may span lines inside quotes. An ``optional`` column that the header lacks gives "".

    Raises
    ------
    DatasetError
        When the header lacks one of ``columns``.
    """
    bad_bytes = False

    def decoded() -> Iterator[str]:
        nonlocal bad_bytes
        for _, content in numbered_lines(path, problems, on_read):
            try:
                yield content.decode("utf-8")
            except UnicodeDecodeError:
                bad_bytes = True
                yield content.decode("utf-8", "replace")

    # strict: a quote that is never closed, or text after a closing one, is an error and no guess.
    reader = csv.reader(decoded(), strict=True)
    header: list[str] = []
    fields: list[int] = []
    while True:
        line, bad_bytes = reader.line_num + 1, False
        try:
            row = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            problems.add(path.name, line, f"not CSV: {error}")
            continue
        if bad_bytes:
            problems.add(path.name, line, "not UTF-8")
        elif not any(row):
            continue
        elif not header:
            header = [name.strip() for name in row]
            fields = _find_columns(path, header, columns, optional)
        elif len(row) != len(header):
            problems.add(path.name, line, f"{len(row)} fields where the header has {len(header)}")
        else:
            yield line, [row[field] if field >= 0 else "" for field in fields]
    if not header:
        raise DatasetError(f"{path} has no header row; expected the columns {', '.join(columns)}")


def _find_columns(
    path: Path, header: list[str], columns: Sequence[str], optional: Sequence[str]
) -> list[int]:
    missing = [name for name in columns if name not in header]
    if missing:
        raise DatasetError(
            f"{path} lacks the column {missing[0]}: its header is {', '.join(header)}; "
            f"expected {', '.join(columns)}"
        )
    return [header.index(n) if n in header else -1 for n in (*columns, *optional)]
