"""Named arrays and JSON in one safetensors file, without the room that is idle, and with checksums.

The format is that of https://github.com/huggingface/safetensors, and its library opens the files:

    8 bytes  length of the header (little-endian uint64)
    ...      the header, JSON: of each entry dtype, shape and place; `__metadata__`, see below
    ...      the entries
    32 bytes entry `checksum`: SHA-256 of all that lies before the entries

`__metadata__` has what the caller adds and, as `entries`, a JSON object that says of each entry its
SHA-256, and of an array its whole shape: the file has its longest axis first and only as many rows
as differ, the last of them standing for all that follow. What is JSON is an entry of bytes.

Written and read here, because the library copies every array twice (`docs/results.md`). Nothing is
executed that a file says (no pickle).
"""

from __future__ import annotations

import hashlib
import os
import stat
import struct
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.state.huge_pages import advise

Content = NDArray[Any] | bytes
"""An array, or what is JSON."""

_LENGTH = struct.Struct("<Q")
_DIGEST = hashlib.sha256().digest_size
_CHECKSUM = "checksum"
_LONGEST_HEADER = 100_000_000
"""Bytes; the format's own limit."""
_BLOCK = 4096
"""Rows that are compared at once."""
_MOST_FILLED = 1 << 28
"""Bytes of an array whose padding is not zero, and so takes memory; or four times what is saved of
it. More is a damaged shape."""
_DTYPES = {
    "BOOL": "?", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4",
    "U64": "<u8", "I64": "<i8", "F16": "<f2", "F32": "<f4", "F64": "<f8",
}  # fmt: skip
_NAMES = {np.dtype(dtype): name for name, dtype in _DTYPES.items()}


class SavedStateError(ValueError):
    """A file that no engine can be loaded from; its message is one line that says why."""

    def __init__(self, message: str) -> None:
        # It may quote what the file says.
        super().__init__("".join(c if c.isprintable() else " " for c in message)[:1000])


class _Entry(msgspec.Struct):
    """What the format says of an entry."""

    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]


class _Layout(msgspec.Struct, omit_defaults=True):
    """What we add: of an array, the shape and order in memory; JSON has no shape."""

    sha256: str
    shape: list[int] | None = None
    order: Literal["C", "F"] = "C"


# ---------------------------------------------------------------------- write


def write(
    file: BinaryIO, contents: Iterable[tuple[str, Content]], metadata: dict[str, str]
) -> None:
    """Write entries and what else is said of them.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    # The widest first, and JSON last, so that every array lies at a multiple of its item's size.
    held = sorted(contents, key=lambda entry: -_item_size(entry[1]))
    rows = {name: _rows_in_use(_longest_axis_first(value))
            for name, value in held if not isinstance(value, bytes)}  # fmt: skip
    entries: dict[str, _Entry] = {}
    layouts: dict[str, _Layout] = {}
    at = 0
    for name, value in held:
        if isinstance(value, bytes):
            dtype, shape = "U8", [len(value)]
            layouts[name] = _Layout("0" * 2 * _DIGEST)
        else:
            axes_in_file = _longest_axis_first(value).shape
            dtype, shape = _NAMES[value.dtype], [rows[name], *axes_in_file[1:]]
            order: Literal["C", "F"] = "C" if value.flags.c_contiguous else "F"
            layouts[name] = _Layout("0" * 2 * _DIGEST, list(value.shape), order)
        size = prod(shape) * np.dtype(_DTYPES[dtype]).itemsize
        entries[name] = _Entry(dtype, shape, (at, at + size))
        at += size
    entries[_CHECKSUM] = _Entry("U8", [_DIGEST], (at, at + _DIGEST))
    # As long as it will be: the sums are known when all is written.
    file.write(_header(entries, layouts, metadata))
    for name, value in held:
        data = _in_file(value, rows.get(name, 0))
        file.write(data)
        layouts[name].sha256 = hashlib.sha256(data).hexdigest()
    header = _header(entries, layouts, metadata)
    file.write(hashlib.sha256(header).digest())
    file.seek(0)
    file.write(header)


def digest(contents: Iterable[tuple[str, Content]]) -> str:
    """SHA-256 in hexadecimal digits, equal for entries of equal names, shapes and content."""
    whole = hashlib.sha256()
    for name, value in sorted(contents, key=lambda entry: entry[0]):
        rows, form = 0, "json"
        if not isinstance(value, bytes):
            rows = _rows_in_use(_longest_axis_first(value))
            form = f"{_NAMES[value.dtype]} {value.shape}"
        data = _in_file(value, rows)
        whole.update(f"{name} {form} {len(data)}\0".encode())
        whole.update(data)
    return whole.hexdigest()


def _in_file(value: Content, rows: int) -> memoryview | bytes:
    """The bytes of an entry as a file has them: of an array, its first `rows`."""
    if isinstance(value, bytes):
        return value
    return bytes_of(np.ascontiguousarray(_longest_axis_first(value)[:rows])).data


def _header(
    entries: dict[str, _Entry], layouts: dict[str, _Layout], metadata: dict[str, str]
) -> bytes:
    said = metadata | {"entries": msgspec.json.encode(layouts).decode()}
    encoded = msgspec.json.encode({"__metadata__": said} | entries)
    encoded += b" " * (-len(encoded) % 8)
    return _LENGTH.pack(len(encoded)) + encoded


def _item_size(value: Content) -> int:
    return 0 if isinstance(value, bytes) else value.itemsize


# ---------------------------------------------------------------------- read


class Reader:
    """A file whose header is verified.

    Attributes
    ----------
    metadata
        What the caller added.

    Raises
    ------
    OSError
        If the file cannot be read.
    SavedStateError
        If it is none that `write` wrote, or is damaged.
    """

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file, self._path = file, path
        size = os.fstat(file.fileno()).st_size
        head = file.read(_LENGTH.size)
        length = _LENGTH.unpack(head)[0] if len(head) == _LENGTH.size else 0
        if not 2 < length <= _LONGEST_HEADER or file.read(1) != b"{":
            raise SavedStateError(f"{path}: not a saved state of Millrace")
        self._start = _LENGTH.size + length
        if size < self._start + _DIGEST:
            raise SavedStateError(f"{path}: cut short, or damaged: {size} bytes")
        file.seek(0)
        header = file.read(self._start)
        file.seek(-_DIGEST, os.SEEK_END)
        if hashlib.sha256(header).digest() != file.read(_DIGEST):
            raise SavedStateError(
                f"{path}: cut short, or damaged: its header does not have its checksum"
            )
        try:
            raw = msgspec.json.decode(header[_LENGTH.size :], type=dict[str, msgspec.Raw])
            self.metadata = msgspec.json.decode(raw.pop("__metadata__"), type=dict[str, str])
            self._entries = {
                name: msgspec.json.decode(entry, type=_Entry) for name, entry in raw.items()
            }
            self._layouts = msgspec.json.decode(
                self.metadata.pop("entries"), type=dict[str, _Layout]
            )
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, KeyError) as error:
            raise SavedStateError(f"{path}: its header is not understood: {error}") from error
        self._check_places(size - self._start)

    def __contains__(self, name: str) -> bool:
        return name in self._layouts

    def read(
        self, wanted: Callable[[str], bool] = lambda _name: True
    ) -> tuple[dict[str, Content], dict[int, NDArray[Any]]]:
        """The entries whose names are wanted; and by the `id` of each array, the part of it that is
        not padding.

        Raises
        ------
        SavedStateError
            If one does not have its checksum, or does not fit into memory.
        """
        contents: dict[str, Content] = {}
        in_use: dict[int, NDArray[Any]] = {}
        # One thread adds up what the other has read: both release the interpreter's lock.
        with ThreadPoolExecutor(1, "checksums") as verifier:
            verified = []
            for name in filter(wanted, self._layouts):
                value, used, data = self._read(name)
                verified.append(verifier.submit(self._verify, name, data))
                contents[name] = value
                if used is not None:
                    in_use[id(value)] = used
            for one in verified:
                one.result()
        return contents, in_use

    def json(self, name: str) -> bytes:
        """One entry that is JSON.

        Raises
        ------
        SavedStateError
            If there is none, or it does not have its checksum.
        """
        if name not in self._layouts or self._layouts[name].shape is not None:
            raise SavedStateError(f"{self._path}: has no {name}")
        value, _, data = self._read(name)
        self._verify(name, data)
        assert isinstance(value, bytes)
        return value

    def _read(self, name: str) -> tuple[Content, NDArray[Any] | None, memoryview | bytes]:
        """An entry, the part of it that is not padding, and the bytes to verify."""
        entry, layout = self._entries[name], self._layouts[name]
        self._file.seek(self._start + entry.data_offsets[0])
        if layout.shape is None:
            encoded = self._file.read(entry.data_offsets[1] - entry.data_offsets[0])
            return encoded, None, encoded
        return self._read_array(name, entry, layout.shape, layout.order)

    def _read_array(
        self, name: str, entry: _Entry, shape: list[int], order: Literal["C", "F"]
    ) -> tuple[NDArray[Any], NDArray[Any], memoryview]:
        longest = int(np.argmax(shape))
        in_file = [shape[longest], *shape[:longest], *shape[longest + 1 :]]
        if in_file[1:] != entry.shape[1:] or entry.shape[0] > in_file[0]:
            raise self._odd(name, f"is no array of shape {str(shape)[:80]}")
        try:
            return read_padded(self._file, _DTYPES[entry.dtype], shape, entry.shape[0], order)
        except MemoryError as error:
            raise self._odd(name, f"does not fit into memory: {error}") from None

    def _verify(self, name: str, data: memoryview | bytes) -> None:
        if hashlib.sha256(data).hexdigest() != self._layouts[name].sha256:
            raise SavedStateError(f"{self._path}: damaged: {name} does not have its checksum")

    def _check_places(self, size: int) -> None:
        """Refuse entries that do not fill the file one after another, or are none."""
        at = 0
        for name, entry in self._entries.items():
            layout = self._layouts.get(name)
            shape = None if layout is None else layout.shape
            start, end = entry.data_offsets
            if (
                entry.dtype not in _DTYPES
                or min([*entry.shape, *(shape or [])], default=0) < 0
                or not entry.shape
                or (layout is None) != (name == _CHECKSUM)
                or (shape is not None and len(shape) != len(entry.shape))
                or start != at
                or end != start + prod(entry.shape) * np.dtype(_DTYPES[entry.dtype]).itemsize
            ):
                raise self._odd(name[:80], f"is no entry: {entry.dtype[:20]} of "
                                f"{str(entry.shape)[:80]}")  # fmt: skip
            at = end
        if at != size or self._layouts.keys() - self._entries.keys():
            raise SavedStateError(f"{self._path}: holds {size} bytes, its header says {at}")

    def _odd(self, name: str, what: str) -> SavedStateError:
        return SavedStateError(f"{self._path}: {name} {what}")


def read_padded(
    file: BinaryIO, dtype: str, shape: list[int], rows: int, order: Literal["C", "F"]
) -> tuple[NDArray[Any], NDArray[Any], memoryview]:
    """An array of which a file has, from where it stands, so many rows of the longest axis.

    Returns
    -------
    array, array, memoryview
        All of it, the last of those rows standing for all that follow; the rows of the file; and
        the bytes that were read.

    Raises
    ------
    MemoryError
        If it does not fit into memory, or no sound file would say so much of so few bytes.
    """
    # Zeros are pages that the system gives only when they are written: room takes no memory.
    try:
        value: NDArray[Any] = np.zeros(shape, np.dtype(dtype), order)
    except ValueError as error:
        raise MemoryError(str(error)) from None
    held = _longest_axis_first(value)
    saved = held[:rows]
    in_place = saved.flags.c_contiguous
    buffer = saved if in_place else np.empty(saved.shape, saved.dtype)
    advise(buffer)
    data = bytes_of(buffer).data
    file.readinto(data)  # type: ignore[attr-defined]
    if not in_place:
        saved[...] = buffer
    if 0 < len(saved) < len(held) and bytes_of(saved[-1].copy()).any():
        if value.nbytes > max(4 * saved.nbytes, _MOST_FILLED):
            raise MemoryError(str(shape))
        held[len(saved) :] = saved[-1]
    return value, saved, data


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading; a pipe would keep us waiting.

    Raises
    ------
    OSError
        If it cannot be read.
    SavedStateError
        If it is a folder, a pipe or a device.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise SavedStateError(f"{path}: not a file")
    return os.fdopen(descriptor, "rb")


# ---------------------------------------------------------------------- room that is idle


def _longest_axis_first(array: NDArray[Any]) -> NDArray[Any]:
    """A view whose rows are of users or items, where an array has any: what has room for more."""
    return np.moveaxis(array, int(np.argmax(array.shape)), 0)


def _rows_in_use(held: NDArray[Any]) -> int:
    """How many rows there are until all that follow are the same: one of those is in use, too.

    Room for more users or items is zeros or ones and so takes no space, with no need to know how
    many there are; rows that were drawn at random ahead of their items are all kept.
    """
    if held.size == 0:
        return 0
    last = bytes_of(held[-1:].copy())
    end = len(held)
    while end > 0:
        start = max(0, end - _BLOCK)
        block = bytes_of(np.ascontiguousarray(held[start:end])).reshape(end - start, -1)
        other = np.flatnonzero((block != last).any(axis=1))
        if len(other):
            return start + int(other[-1]) + 2
        end = start
    return 1


def bytes_of(array: NDArray[Any]) -> NDArray[np.uint8]:
    """A view of the bytes of a contiguous array, whatever its dtype."""
    return array.reshape(-1).view(np.uint8)
