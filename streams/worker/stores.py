"""Where checkpoints lie: a folder, or an object store by its URL. Both are the same few operations.

A file is seen whole or not at all. It is written in `scratch`, a private folder of this machine,
and `publish` gives it its name for all workers. A folder is its own scratch, and publishing is a
rename; an object store takes a file by an upload that is atomic.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import stat
import struct
import tempfile
import time
import uuid
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from streams.settings import Settings, SettingsError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

SUFFIX = ".millrace"
"""Of the name of every checkpoint."""
ABANDONED_SECONDS = 600.0
"""After so long without a byte more nobody writes a file any more."""

_PREFIX = "millrace-checkpoints-"
_CHUNK = 16 * 2**20
"""Bytes of a part of an upload, and of what is read of a download at once."""
_RETRY_SECONDS = 20.0
_READ_SECONDS = 20.0
_REQUEST_SECONDS = 600.0
"""The library's own 30 s would end the download of a large checkpoint."""
_CHECKSUM_BYTES = 32
_LENGTH = struct.Struct("<Q")
_LONGEST_HEADER = 100_000_000


Wanted = Callable[[str], bool]
"""Whether an entry of this name is wanted."""


def is_url(checkpoints: str) -> bool:
    """Whether `worker.checkpoints` names an object store."""
    return "://" in checkpoints


def store_of(settings: Settings, log_name: str) -> Store:
    """Where the workers of a group keep the checkpoints of a log (`Notes.log`).

    Raises
    ------
    SettingsError
        If it is an object store, and the extra that reaches one is not installed.
    """
    name, group = settings.worker.checkpoints, settings.worker.group
    if is_url(name):
        parts = (quote(part, safe="") for part in (group, log_name))
        return Objects("/".join([name.rstrip("/"), *parts]))
    return Folder(Path(name) / group / log_name)


@dataclass(frozen=True)
class Stored:
    """A file that a store has.

    Attributes
    ----------
    written
        When, in seconds since the epoch, whole ones in some stores; 0 of what is no file, such as
        a pipe in a folder.
    size
        Bytes.
    """

    name: str
    written: float
    size: int


class Store(ABC):
    """Files with the suffix of checkpoints, which all workers reach. All methods block.

    What goes wrong is an `OSError` of one line, without credentials: of a file that is not there a
    `FileNotFoundError`, of a store that does not answer a `ConnectionError`.

    Attributes
    ----------
    scratch
        A private folder of this machine, where files are written before they are published.
    unseen
        What may lie in the store and is in no list; empty if nothing.
    """

    scratch: Path
    unseen = ""

    @abstractmethod
    def open(self) -> None:
        """Make it ready for writing.

        Raises
        ------
        OSError
            If it is not there and cannot be made, or cannot be written to.
        """

    @abstractmethod
    def place(self, name: str) -> str:
        """The path or URL of a file, for people."""

    @abstractmethod
    def files(self) -> list[Stored]:
        """All files, in no order."""

    @abstractmethod
    def whole(self, stored: Stored) -> AbstractContextManager[Path]:
        """A file as a path of this machine, for as long as the context lasts."""

    @abstractmethod
    def part(self, stored: Stored, wanted: Wanted) -> AbstractContextManager[Path]:
        """As `whole`, but perhaps without the entries whose names are not wanted."""

    def header_and_notes(self, stored: Stored) -> AbstractContextManager[Path]:
        """As `whole`, but of the entries perhaps only the notes."""
        return self.part(stored, lambda name: name == "notes")

    @abstractmethod
    def publish(self, temporary: Path, name: str) -> None:
        """Give a file of `scratch` its name, under which it replaces another."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove a file; it need not be there."""

    def remove_abandoned(self) -> None:
        """Remove what workers that died left half written on this machine."""
        remove_abandoned(self.scratch)


class Folder(Store):
    """A folder, on a disk or a file system that all workers share."""

    def __init__(self, path: Path) -> None:
        self.scratch = path

    def __str__(self) -> str:
        return str(self.scratch)

    def open(self) -> None:
        folder = self.scratch
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(PermissionError):  # of a folder that is somebody else's
            folder.chmod(0o700)
        if not os.access(folder, os.W_OK):
            raise OSError(f"{folder} cannot be written to; worker.checkpoints names another")

    def place(self, name: str) -> str:
        return str(self.scratch / name)

    def files(self) -> list[Stored]:
        return list(filter(None, map(_stored, self.scratch.glob(f"*{SUFFIX}"))))

    def whole(self, stored: Stored) -> AbstractContextManager[Path]:
        return contextlib.nullcontext(self.scratch / stored.name)

    def part(self, stored: Stored, wanted: Wanted) -> AbstractContextManager[Path]:
        return self.whole(stored)

    def publish(self, temporary: Path, name: str) -> None:
        temporary.replace(self.scratch / name)
        folder = os.open(self.scratch, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def remove(self, name: str) -> None:
        (self.scratch / name).unlink(missing_ok=True)


class Objects(Store):
    """Objects of a bucket whose keys begin alike.

    Credentials and endpoint are what the library finds in the environment
    (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`, ...); they are never part of a message.

    Parameters
    ----------
    url
        As in s3://bucket/prefix.

    Raises
    ------
    SettingsError
        If the extra object-store is not installed.
    """

    unseen = "uploads under way or broken off, and versions that the bucket keeps, are not seen"

    def __init__(self, url: str) -> None:
        try:
            import obstore  # noqa: PLC0415 - of the extra object-store
            from obstore.store import from_url  # noqa: PLC0415
        except ImportError:
            raise SettingsError(
                "worker.checkpoints names an object store, which needs the package obstore: "
                "pip install '.[object-store]'"
            ) from None
        self._url, self._library = url, obstore
        with self._told("reach"):
            self._store: ObjectStore = from_url(
                url,
                retry_config={
                    "max_retries": 5,
                    "retry_timeout": timedelta(seconds=_RETRY_SECONDS),
                },
                client_options={
                    "allow_http": True,  # where the endpoint's URL says so, as in AWS's own tools
                    "timeout": timedelta(seconds=_REQUEST_SECONDS),
                    "read_timeout": timedelta(seconds=_READ_SECONDS),
                },
            )
        self.scratch = Path(tempfile.mkdtemp(prefix=_PREFIX))
        weakref.finalize(self, _remove_own, self.scratch, os.getpid())

    def __str__(self) -> str:
        return self._url

    def open(self) -> None:
        # Neither right follows from the other; a bucket is not made.
        self.files()
        name = f"probe-{uuid.uuid4().hex}"
        with self._told("write to"):
            self._library.put(self._store, name, b"")
        self.remove(name)

    def place(self, name: str) -> str:
        return f"{self._url}/{name}"

    def files(self) -> list[Stored]:
        with self._told("list"):
            objects = self._library.list_with_delimiter(self._store)["objects"]
        return [
            Stored(path, one["last_modified"].timestamp(), one["size"])
            for one in objects
            if (path := one["path"].rpartition("/")[2]).endswith(SUFFIX)
        ]

    @contextlib.contextmanager
    def whole(self, stored: Stored) -> Iterator[Path]:
        with self._copy(stored) as (path, descriptor):
            with self._told("read", stored.name), os.fdopen(descriptor, "wb") as file:
                got = self._library.get(self._store, stored.name)
                for chunk in got.stream(min_chunk_size=_CHUNK):
                    file.write(chunk)
            yield path

    @contextlib.contextmanager
    def part(self, stored: Stored, wanted: Wanted) -> Iterator[Path]:
        """A sparse copy: the other entries are holes. Each entry has a checksum of its own."""
        header = self._header(stored)
        places = _places(header, stored.size, wanted) if header else None
        if header is None or places is None:
            with self.whole(stored) as path:
                yield path
            return
        with self._copy(stored) as (path, descriptor):
            with os.fdopen(descriptor, "wb") as file:
                file.write(header)
                for begin, end in places:
                    file.seek(begin)
                    for at in range(begin, end, _CHUNK):
                        file.write(self._range(stored, at, min(at + _CHUNK, end)))
                file.truncate(stored.size)
            yield path

    def _header(self, stored: Stored) -> bytes | None:
        """All that lies before the entries of a safetensors file; None of another file."""
        if stored.size < _LENGTH.size + _CHECKSUM_BYTES:
            return None
        length = self._range(stored, 0, _LENGTH.size)
        start = _LENGTH.size + _LENGTH.unpack(length)[0]
        if not start < min(stored.size, _LONGEST_HEADER):
            return None
        return length + self._range(stored, _LENGTH.size, start)

    def _range(self, stored: Stored, start: int, end: int) -> bytes:
        with self._told("read", stored.name):
            return bytes(self._library.get_range(self._store, stored.name, start=start, end=end))

    def publish(self, temporary: Path, name: str) -> None:
        with self._told("write", name):
            self._library.put(self._store, name, temporary, chunk_size=_CHUNK)
        temporary.unlink(missing_ok=True)

    def remove(self, name: str) -> None:
        with self._told("remove", name), contextlib.suppress(FileNotFoundError):
            self._library.delete(self._store, name)

    def remove_abandoned(self) -> None:
        # Each worker has a folder of its own; nobody else looks after that of one that was killed.
        for folder in self.scratch.parent.glob(f"{_PREFIX}*"):
            with contextlib.suppress(OSError):  # another user's
                remove_abandoned(folder)

    @contextlib.contextmanager
    def _copy(self, stored: Stored) -> Iterator[tuple[Path, int]]:
        """A new private file, and its descriptor; it is removed at the end."""
        path = self.scratch / f"{stored.name}.{uuid.uuid4().hex[:8]}.tmp"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            yield path, os.open(path, flags, 0o600)
        finally:
            path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _told(self, doing: str, name: str = "") -> Iterator[None]:
        """Have what the library raises be an `OSError` of one line."""
        try:
            yield
        except OSError:
            raise
        except Exception as error:  # its classes have no base but this one
            place = self.place(name) if name else self._url
            raise _kind(error)(f"{place}: cannot {doing} it: {_one_line(error)}") from None


def _places(header: bytes, size: int, wanted: Wanted) -> list[tuple[int, int]] | None:
    """Where the wanted entries of a file lie, and the checksum of its header; None if the header
    says nothing of them."""
    try:
        entries = {name: of_it["data_offsets"] for name, of_it in
                   json.loads(header[_LENGTH.size :]).items() if wanted(name)}  # fmt: skip
        places = [(len(header) + int(begin), len(header) + int(end))
                  for begin, end in entries.values()]  # fmt: skip
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None
    if not places or not all(len(header) <= begin <= end <= size for begin, end in places):
        return None
    return [*places, (size - _CHECKSUM_BYTES, size)]


def remove_abandoned(folder: Path) -> None:
    """Remove files that were being written, and that nobody writes any more."""
    for left in folder.glob("*.tmp"):
        if time.time() - getattr(_stored(left), "written", 0.0) > ABANDONED_SECONDS:
            with contextlib.suppress(IsADirectoryError):
                left.unlink(missing_ok=True)


def _stored(path: Path) -> Stored | None:
    """A file of a folder; None if another worker has removed it."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    regular = stat.S_ISREG(found.st_mode)
    return Stored(path.name, found.st_mtime if regular else 0.0, found.st_size if regular else 0)


def _remove_own(folder: Path, pid: int) -> None:
    """Remove the scratch folder; not in a child that writes a checkpoint there."""
    if os.getpid() == pid:
        shutil.rmtree(folder, ignore_errors=True)


def _kind(error: Exception) -> type[OSError]:
    """What an error of the library is to us; a refusal is an `OSError`."""
    name = type(error).__name__
    if name == "NotFoundError":
        return FileNotFoundError
    refused = name != "GenericError" or re.search(r"status code: 4\d\d", str(error))
    return OSError if refused else ConnectionError


def _one_line(error: Exception) -> str:
    """What the library says, without the structures that it prints behind it."""
    return " ".join(str(error).partition("Debug source:")[0].split())[:400]
