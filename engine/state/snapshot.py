"""An engine's state in one file, and back: numbers as they lie in memory, all else as JSON.

    16 bytes  "Millrace state\\r\\n"
    16 bytes  where the manifest is, and its length (two little-endian uint64)
    32 bytes  SHA-256 of the manifest
    ...       entries, one after another (`engine.state.array_codec`)
    ...       the manifest, JSON: version, settings, of each entry the shape and the SHA-256, and
              notes of whoever saves

Nothing is executed that a file says (no pickle). It is verified before the engine is handed out.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import msgspec

from engine.state.array_codec import Entry, SavedStateError, bytes_in_file, read_entry, write_entry
from engine.state.schema import Saved, entries, restore

VERSION = 2
"""Of the format. A change to what any `STATE` saves, or means by it, needs a new one."""
_MAGIC = b"Millrace state\r\n"
_HEAD = struct.Struct("<16sQQ32s")

Engine = TypeVar("Engine", bound=Saved)
Notes = TypeVar("Notes")


class _Manifest(msgspec.Struct):
    version: int
    settings: dict[str, Any]
    encoder: str | None
    entries: list[Entry]
    notes: msgspec.Raw = msgspec.Raw(b"null")


class _Version(msgspec.Struct):
    version: int


def write_state(
    path: Path, engine: Saved, settings: dict[str, Any], encoder: str | None, notes: object = None
) -> None:
    """Write all that an engine holds to one file, which takes its name when it is complete.

    Parameters
    ----------
    settings
        What the engine is made of again, as JSON can say it.
    encoder
        Name of the text encoder whose embeddings are in the state, if any are.
    notes
        What `read_notes` gives back, as JSON can say it.

    Raises
    ------
    OSError
        If the file cannot be written; what was at `path` is left as it was.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(bytes(_HEAD.size))
            written = [write_entry(file, name, value) for name, value in entries(engine)]
            at = file.tell()
            manifest = msgspec.json.encode(
                _Manifest(
                    VERSION, settings, encoder, written, msgspec.Raw(msgspec.json.encode(notes))
                )
            )
            file.write(manifest)
            file.seek(0)
            digest = hashlib.sha256(manifest).digest()
            file.write(_HEAD.pack(_MAGIC, at, len(manifest), digest))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    # The new name is in the folder, which has to reach the disk as well.
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read_state(path: Path, make: Callable[[dict[str, Any]], Engine], encoder: str) -> Engine:
    """The engine that a file holds.

    Parameters
    ----------
    make
        Makes a new engine of the saved settings.
    encoder
        Name of the text encoder here.

    Raises
    ------
    OSError
        If the file cannot be read.
    SavedStateError
        If it is no saved state, is damaged, or is one of another version or another encoder.
    """
    with path.open("rb") as file:
        manifest = _read_manifest(file, path)
        if manifest.encoder not in (None, encoder):
            raise SavedStateError(
                f"{path}: its texts were embedded by {manifest.encoder}, here it is {encoder}"
            )
        try:
            engine = make(manifest.settings)
        except SavedStateError:
            raise
        except ValueError as error:
            reason = " ".join(str(error).split())
            raise SavedStateError(f"{path}: its settings are not understood: {reason}") from error
        file.seek(_HEAD.size)
        contents = {entry.name: read_entry(file, entry, path) for entry in manifest.entries}
    expected = {name for name, _ in entries(engine)}
    if odd := sorted(expected ^ contents.keys()):
        raise SavedStateError(f"{path}: not what this Millrace keeps: {', '.join(odd)}")
    try:
        restore(engine, contents, path)
    except SavedStateError:
        raise
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError,
            RuntimeError, MemoryError) as error:  # fmt: skip
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise SavedStateError(f"{path}: what it holds does not fit together: {reason}") from error
    return engine


def read_notes(path: Path, type_: type[Notes]) -> Notes:
    """What was noted when a state was saved.

    Raises
    ------
    OSError
        If the file cannot be read.
    SavedStateError
        As `read_state`, and if its notes are no `type_`.
    """
    with path.open("rb") as file:
        notes = _read_manifest(file, path).notes
    try:
        return msgspec.json.decode(notes, type=type_)
    except msgspec.MsgspecError as error:
        raise SavedStateError(f"{path}: its notes are not understood: {error}") from error


def _read_manifest(file: BinaryIO, path: Path) -> _Manifest:
    size = os.fstat(file.fileno()).st_size
    head = file.read(_HEAD.size)
    if not head.startswith(_MAGIC):
        raise SavedStateError(f"{path}: not a saved state of Millrace")
    if len(head) < _HEAD.size:
        raise SavedStateError(f"{path}: cut short, or damaged: {size} bytes")
    _, at, length, digest = _HEAD.unpack(head)
    if size != at + length:
        raise SavedStateError(f"{path}: cut short, or damaged: {size} bytes, not {at + length}")
    file.seek(at)
    encoded = file.read(length)
    if hashlib.sha256(encoded).digest() != digest:
        raise SavedStateError(f"{path}: damaged: its manifest does not have the checksum it names")
    try:
        version = msgspec.json.decode(encoded, type=_Version).version
        if version != VERSION:
            raise SavedStateError(
                f"{path}: saved in version {version} of the format, this Millrace reads {VERSION}"
            )
        manifest = msgspec.json.decode(encoded, type=_Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise SavedStateError(f"{path}: its manifest is not understood: {error}") from error
    held = sum(bytes_in_file(entry, path) for entry in manifest.entries)
    if held != at - _HEAD.size:
        raise SavedStateError(f"{path}: holds {at - _HEAD.size} bytes, its manifest says {held}")
    return manifest
