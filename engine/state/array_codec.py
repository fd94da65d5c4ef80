"""One entry of a saved state: JSON, or an array as it lies in memory but for room that is idle."""

from __future__ import annotations

import hashlib
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

Content = NDArray[Any] | bytes
"""An array, or what is JSON."""

_BLOCK = 4096
_JSON = "json"
_MOST_FILLED = 1 << 28
"""Bytes of an array whose room does not hold zeros, and so takes memory; or four times what is
saved of it. More is a damaged shape."""


class SavedStateError(ValueError):
    """A file that no engine can be loaded from; its message is one line that says why."""

    def __init__(self, message: str) -> None:
        # It may quote what the file says.
        super().__init__("".join(c if c.isprintable() else " " for c in message)[:1000])


class Entry(msgspec.Struct):
    """One entry: `rows` entries of an array's longest axis, the last of them standing for the rest.

    `order` is that of the array in memory: sums of a matrix product may round by it.
    """

    name: str
    dtype: str
    shape: list[int]
    rows: int
    order: Literal["C", "F"]
    sha256: str


def write_entry(file: BinaryIO, name: str, value: Content) -> Entry:
    """Write one entry where the file is, and say what it is.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    if isinstance(value, bytes):
        file.write(value)
        return Entry(name, _JSON, [len(value)], len(value), "C", hashlib.sha256(value).hexdigest())
    held = _longest_axis_first(value)
    rows = _rows_in_use(held)
    data = bytes_of(np.ascontiguousarray(held[:rows])).data
    file.write(data)
    return Entry(
        name,
        value.dtype.str,
        list(value.shape),
        rows,
        "C" if value.flags.c_contiguous else "F",
        hashlib.sha256(data).hexdigest(),
    )


def read_entry(file: BinaryIO, entry: Entry, path: Path) -> Content:
    """What `write_entry` wrote where the file is.

    Raises
    ------
    SavedStateError
        If it does not have its checksum, or does not fit into memory.
    """
    if entry.dtype == _JSON:
        encoded = file.read(entry.rows)
        _check(entry, encoded, path)
        return encoded
    # Zeros are pages that the system gives only when they are written: room costs no memory.
    try:
        value: NDArray[Any] = np.zeros(entry.shape, np.dtype(entry.dtype), entry.order)
    except (MemoryError, ValueError) as error:
        raise SavedStateError(f"{path}: {entry.name} does not fit into memory: {error}") from None
    held = _longest_axis_first(value)
    saved = held[: entry.rows]
    in_place = saved.flags.c_contiguous
    buffer = saved if in_place else np.empty(saved.shape, saved.dtype)
    data = bytes_of(buffer).data
    file.readinto(data)  # type: ignore[attr-defined]
    _check(entry, data, path)
    if not in_place:
        saved[...] = buffer
    if 0 < len(saved) < len(held) and bytes_of(saved[-1].copy()).any():
        if value.nbytes > max(4 * saved.nbytes, _MOST_FILLED):
            raise SavedStateError(f"{path}: {entry.name} does not fit into memory: {entry.shape}")
        held[len(saved) :] = saved[-1]
    return value


def bytes_in_file(entry: Entry, path: Path) -> int:
    """What an entry takes of the file.

    Raises
    ------
    SavedStateError
        If there can be no such entry, or no such array.
    """
    odd = SavedStateError(f"{path}: {entry.name[:80]!r} is no entry: {entry.dtype[:20]!r}, "
                          f"{entry.rows} rows of {str(entry.shape)[:80]}")  # fmt: skip
    if entry.rows < 0 or any(length < 0 for length in entry.shape):
        raise odd
    if entry.dtype == _JSON:
        return entry.rows
    try:
        dtype = np.dtype(entry.dtype)
    except (TypeError, ValueError, SyntaxError):
        raise odd from None
    longest = max(entry.shape, default=0)
    if dtype.kind not in "biuf" or not entry.shape or entry.rows > longest:
        raise odd
    each = prod(entry.shape) // longest * dtype.itemsize if longest else 0
    return each * entry.rows


def _check(entry: Entry, data: memoryview | bytes, path: Path) -> None:
    if hashlib.sha256(data).hexdigest() != entry.sha256:
        raise SavedStateError(f"{path}: damaged: {entry.name} does not have its checksum")


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
