"""Read files of format 2, which Millrace 0.1 wrote before its files were safetensors.

16 bytes  "Millrace state\\r\\n"
16 bytes  where the manifest is, and its length (two little-endian uint64)
32 bytes  SHA-256 of the manifest
...       entries, one after another, as in `engine.state.container`
...       the manifest, JSON: version, settings, of each entry the shape and the SHA-256, and
          notes of whoever saved
"""

from __future__ import annotations

import hashlib
import os
import struct
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.state.container import Content, SavedStateError, read_padded

VERSION: Final = 2
MAGIC: Final = b"Millrace state\r\n"
_HEAD = struct.Struct("<16sQQ32s")
_JSON = "json"
_NOTES = "notes"


class _Entry(msgspec.Struct):
    name: str
    dtype: str
    shape: list[int]
    rows: int
    order: Literal["C", "F"]
    sha256: str


class _Manifest(msgspec.Struct):
    version: int
    settings: msgspec.Raw
    encoder: str | None
    entries: list[_Entry]
    notes: msgspec.Raw = msgspec.Raw(b"null")


class _Version(msgspec.Struct):
    version: int


class Reader:
    """As `engine.state.container.Reader`."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file, self._path = file, path
        size = os.fstat(file.fileno()).st_size
        head = file.read(_HEAD.size)
        if len(head) < _HEAD.size:
            raise SavedStateError(f"{path}: cut short, or damaged: {size} bytes")
        _, at, length, digest = _HEAD.unpack(head)
        if size != at + length:
            raise SavedStateError(f"{path}: cut short, or damaged: {size} bytes, not {at + length}")
        file.seek(at)
        encoded = file.read(length)
        if hashlib.sha256(encoded).digest() != digest:
            raise SavedStateError(f"{path}: damaged: its manifest does not have its checksum")
        try:
            version = msgspec.json.decode(encoded, type=_Version).version
            if version != VERSION:
                raise SavedStateError(
                    f"{path}: saved in version {version} of the format, which is not read any more"
                )
            self._manifest = msgspec.json.decode(encoded, type=_Manifest)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise SavedStateError(f"{path}: its manifest is not understood: {error}") from error
        self.metadata = {
            "settings": bytes(self._manifest.settings).decode(),
            "encoder": self._manifest.encoder or "",
        }
        held = sum(map(self._bytes_in_file, self._manifest.entries))
        if held != at - _HEAD.size:
            raise SavedStateError(
                f"{path}: holds {at - _HEAD.size} bytes, its manifest says {held}"
            )

    def read(self) -> tuple[dict[str, Content], dict[int, NDArray[Any]]]:
        """All entries by name; and by the `id` of each array, the part that is not padding."""
        self._file.seek(_HEAD.size)
        contents: dict[str, Content] = {}
        in_use: dict[int, NDArray[Any]] = {}
        for entry in self._manifest.entries:
            if entry.dtype == _JSON:
                encoded = self._file.read(entry.rows)
                self._verify(entry, encoded)
                contents[entry.name] = encoded
            else:
                value, saved = self._read_array(entry)
                contents[entry.name] = value
                in_use[id(value)] = saved
        return contents, in_use

    def json(self, name: str) -> bytes:
        """The notes, which are all that is asked for."""
        assert name == _NOTES
        return bytes(self._manifest.notes)

    def _read_array(self, entry: _Entry) -> tuple[NDArray[Any], NDArray[Any]]:
        try:
            value, saved, data = read_padded(
                self._file, entry.dtype, entry.shape, entry.rows, entry.order
            )
        except MemoryError as error:
            raise self._odd(entry, f"does not fit into memory: {error}") from None
        self._verify(entry, data)
        return value, saved

    def _verify(self, entry: _Entry, data: memoryview | bytes) -> None:
        if hashlib.sha256(data).hexdigest() != entry.sha256:
            raise SavedStateError(f"{self._path}: damaged: {entry.name} does not have its checksum")

    def _bytes_in_file(self, entry: _Entry) -> int:
        odd = self._odd(entry, f"is no entry: {entry.dtype[:20]!r}, "
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

    def _odd(self, entry: _Entry, what: str) -> SavedStateError:
        return SavedStateError(f"{self._path}: {entry.name[:80]} {what}")
