"""Files of a data set as streams of bytes: plain, gzip, zstd, or a member of a zip archive.

A file is streamed, never held in memory whole.
"""

from __future__ import annotations

import gzip
import io
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO

from backports import zstd

from engine.datasets.problems import Problems

MAX_LINE = 16 * 2**20
REPORT_EVERY = 1000
_GZIP, _ZSTD, _ZIP = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PK\x03\x04"
_COMPRESSIONS = (".gz", ".zst", ".zstd")
_BOM = b"\xef\xbb\xbf"
_BROKEN = (EOFError, gzip.BadGzipFile, zlib.error, zstd.ZstdError, zipfile.BadZipFile)

OnRead = Callable[[int], None]


@dataclass(frozen=True)
class Source:
    """One stream of bytes: a file, or the member of a zip archive.

    Attributes
    ----------
    path
        The file on disk.
    member
        Name within it, where it is a zip archive.
    """

    path: Path
    member: str = ""

    @property
    def name(self) -> str:
        """What errors call it: ``u.data``, ``Shop.zip/reviews.json``."""
        return f"{self.path.name}/{self.member}" if self.member else self.path.name

    @property
    def plain(self) -> str:
        """File name without what a compression adds to it: ``Books.json`` of ``Books.json.gz``."""
        name = Path(self.member).name if self.member else self.path.name
        for suffix in _COMPRESSIONS:
            name = name.removesuffix(suffix)
        return name

    @property
    def stem(self) -> str:
        """:attr:`plain` without its last suffix."""
        return Path(self.plain).stem

    @contextmanager
    def open(self) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
        """The file on disk, whose ``tell`` says how much is read, and what is in it."""
        with self.path.open("rb") as raw:
            if not self.member:
                yield raw, _decompressed(io.BufferedReader(raw))
                return
            with zipfile.ZipFile(raw) as archive, archive.open(self.member) as inner:
                yield raw, _decompressed(io.BufferedReader(inner))  # type: ignore[arg-type]


def sources_of(files: Iterable[Path]) -> list[Source]:
    """The streams in some files, archives opened; of a file and its compressed twin, the file.

    Raises
    ------
    OSError
        If a file cannot be read.
    """
    found: dict[tuple[Path, str], Source] = {}
    for path in sorted(files, key=lambda file: (len(file.name), file.name)):
        for source in _within(path):
            found.setdefault((path.parent, source.plain), source)
    return sorted(found.values(), key=lambda source: (source.path.parent, source.name))


def _within(path: Path) -> list[Source]:
    with path.open("rb") as raw:
        if raw.read(4) != _ZIP:
            return [Source(path)]
    try:
        with zipfile.ZipFile(path) as archive:
            names = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
    except zipfile.BadZipFile:
        return [Source(path)]
    hidden = (".", "__MACOSX")
    parts = ((name, Path(name).parts) for name in names)
    return [
        Source(path, name) for name, part in parts if not any(p.startswith(hidden) for p in part)
    ]


def _decompressed(stream: io.BufferedReader) -> IO[bytes]:
    start = stream.peek(4)[:4]
    if start.startswith(_GZIP):
        return io.BufferedReader(gzip.GzipFile(fileobj=stream))
    if start == _ZSTD:
        return io.BufferedReader(zstd.ZstdFile(stream))
    return stream


def numbered_lines(
    source: Source, problems: Problems, on_read: OnRead | None = None
) -> Generator[tuple[int, bytes], None, None]:
    """Yield (line number from 1, bytes) of every physical line.

    Compressed data that break off, and a line above 16 MiB, are recorded in ``problems``; what came
    before is kept. ``on_read`` is told the bytes of the file that are read so far, every 1,000
    lines and at the end.
    """
    line = 0
    with source.open() as (raw, stream):
        while True:
            try:
                content = stream.readline(MAX_LINE)
                whole = len(content) < MAX_LINE or content.endswith(b"\n")
                if not whole:
                    _skip_line(stream)
            except _BROKEN as error:
                problems.add(source.name, line + 1, f"the compressed data break off here ({error})")
                break
            if not content:
                break
            line += 1
            if line == 1:
                content = content.removeprefix(_BOM)
            if whole:
                yield line, content
            else:
                problems.add(source.name, line, f"the line is longer than {MAX_LINE:,} bytes")
            if on_read is not None and line % REPORT_EVERY == 0:
                on_read(raw.tell())
        if on_read is not None:
            on_read(raw.tell())


def _skip_line(stream: IO[bytes]) -> None:
    while (content := stream.readline(MAX_LINE)) and not content.endswith(b"\n"):
        pass


def head(source: Source, lines: int) -> list[bytes]:
    """The first lines that are not blank, by which the format is recognised."""
    with closing(numbered_lines(source, Problems())) as numbered:
        return list(islice((line for _, line in numbered if line.strip()), lines))
