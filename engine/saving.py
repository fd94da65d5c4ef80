"""An engine's state in one file, and back: numbers as they lie in memory, all else as JSON.

    16 bytes  "Millrace state\\r\\n"
    16 bytes  where the manifest is, and its length (two little-endian uint64)
    32 bytes  SHA-256 of the manifest
    ...       entries, one after another
    ...       the manifest, JSON: version, settings, of each entry the shape and the SHA-256, and
              notes of whoever saves

Each class whose objects are part of the state says in its `STATE` which attributes are saved and
which are not; one that it does not name is an error of its author's, which a test finds.

Nothing is executed that a file says (no pickle). It is verified before the engine is handed out.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Literal, Protocol, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

VERSION = 2
"""Of the format. A change to what any `STATE` saves, or means by it, needs a new one."""
_MAGIC = b"Millrace state\r\n"
_HEAD = struct.Struct("<16sQQ32s")
_BLOCK = 4096
_JSON = "json"
_MOST_FILLED = 1 << 28
"""Bytes of an array whose room does not hold zeros, and so takes memory; or four times what is
saved of it. More is a damaged shape."""
_GROWS = 1024
"""Axes that are this long in a new engine, or empty, grow; all others are as the settings say."""


class SavedStateError(ValueError):
    """A file that no engine can be loaded from; its message is one line that says why."""

    def __init__(self, message: str) -> None:
        # It may quote what the file says.
        super().__init__("".join(c if c.isprintable() else " " for c in message)[:1000])


@dataclass(frozen=True, slots=True)
class State:
    """What becomes of the attributes of a class's objects when they are saved.

    Attributes
    ----------
    arrays
        Arrays, whose dtype and number of dimensions stay as `__init__` makes them.
    lists
        Lists of arrays of one dimension and one dtype, which each grow on their own.
    values
        What JSON can say, and what makes it again of what JSON says.
    generators
        Random generators.
    parts
        Objects with a `STATE` of their own.
    unsaved
        Scratch, and what `__init__` makes of the settings or `then` of what is saved.
    then
        Name of the method that is called when all else is restored.
    """

    arrays: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()
    values: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict)
    generators: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    unsaved: tuple[str, ...] = ()
    then: str = ""

    def names(self) -> list[str]:
        """Every attribute that is spoken for."""
        return [
            *self.arrays, *self.lists, *self.values, *self.generators, *self.parts,
            *self.unsaved,
        ]  # fmt: skip


def by_number(saved: dict[str, Any]) -> dict[int, Any]:
    """A dictionary by number, which in JSON is one by string."""
    return {int(number): value for number, value in saved.items()}


class Saved(Protocol):
    """An object that can be saved."""

    STATE: ClassVar[State]


Engine = TypeVar("Engine", bound=Saved)
Notes = TypeVar("Notes")


class _Entry(msgspec.Struct):
    """One entry: `rows` entries of an array's longest axis, the last of them standing for the rest.

    `order` is that of the array in memory: sums of a matrix product may round by it.
    """

    name: str
    dtype: str
    shape: list[int]
    rows: int
    order: Literal["C", "F"]
    sha256: str


class _Manifest(msgspec.Struct):
    version: int
    settings: dict[str, Any]
    encoder: str | None
    entries: list[_Entry]
    notes: msgspec.Raw = msgspec.Raw(b"null")


class _Version(msgspec.Struct):
    version: int


# ---------------------------------------------------------------------- a file


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
            entries = [_write(file, name, value) for name, value in _entries(engine)]
            at = file.tell()
            manifest = msgspec.json.encode(
                _Manifest(
                    VERSION, settings, encoder, entries, msgspec.Raw(msgspec.json.encode(notes))
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
        contents = {entry.name: _read(file, entry, path) for entry in manifest.entries}
    expected = {name for name, _ in _entries(engine)}
    if odd := sorted(expected ^ contents.keys()):
        raise SavedStateError(f"{path}: not what this Millrace keeps: {', '.join(odd)}")
    try:
        _restore(engine, contents, path)
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
    held = sum(_bytes_in_file(entry, path) for entry in manifest.entries)
    if held != at - _HEAD.size:
        raise SavedStateError(f"{path}: holds {at - _HEAD.size} bytes, its manifest says {held}")
    return manifest


def _bytes_in_file(entry: _Entry, path: Path) -> int:
    """What an entry takes of the file, if there can be such an entry and such an array."""
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


# ---------------------------------------------------------------------- two engines


def state_digest(engine: Saved) -> str:
    """SHA-256 over all that an engine holds: equal for two whose states are equal byte for byte."""
    whole = hashlib.sha256()
    for name, digest in _entry_digests(engine).items():
        whole.update(f"{name} {digest}\n".encode())
    return whole.hexdigest()


def differing_entries(one: Saved, other: Saved) -> list[str]:
    """The names of what two engines do not hold alike; none if their digests are equal."""
    first, second = _entry_digests(one), _entry_digests(other)
    names = first | second
    return [name for name in names if first.get(name) != second.get(name)]


def _entry_digests(engine: Saved) -> dict[str, str]:
    """The SHA-256 of each entry: of an array, its dtype and shape as well."""
    digests = {}
    for name, value in _entries(engine):
        digest = hashlib.sha256()
        if isinstance(value, bytes):
            digest.update(value)
        else:
            digest.update(f"{value.dtype.str} {value.shape}\n".encode())
            digest.update(_bytes_of(np.ascontiguousarray(value)).data)
        digests[name] = digest.hexdigest()
    return digests


# ---------------------------------------------------------------------- an entry


def _write(file: BinaryIO, name: str, value: NDArray[Any] | bytes) -> _Entry:
    if isinstance(value, bytes):
        file.write(value)
        return _Entry(name, _JSON, [len(value)], len(value), "C", hashlib.sha256(value).hexdigest())
    held = _longest_axis_first(value)
    rows = _rows_in_use(held)
    data = _bytes_of(np.ascontiguousarray(held[:rows])).data
    file.write(data)
    return _Entry(
        name,
        value.dtype.str,
        list(value.shape),
        rows,
        "C" if value.flags.c_contiguous else "F",
        hashlib.sha256(data).hexdigest(),
    )


def _read(file: BinaryIO, entry: _Entry, path: Path) -> NDArray[Any] | bytes:
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
    data = _bytes_of(buffer).data
    file.readinto(data)  # type: ignore[attr-defined]
    _check(entry, data, path)
    if not in_place:
        saved[...] = buffer
    if 0 < len(saved) < len(held) and _bytes_of(saved[-1].copy()).any():
        if value.nbytes > max(4 * saved.nbytes, _MOST_FILLED):
            raise SavedStateError(f"{path}: {entry.name} does not fit into memory: {entry.shape}")
        held[len(saved) :] = saved[-1]
    return value


def _check(entry: _Entry, data: memoryview | bytes, path: Path) -> None:
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
    last = _bytes_of(held[-1:].copy())
    end = len(held)
    while end > 0:
        start = max(0, end - _BLOCK)
        block = _bytes_of(np.ascontiguousarray(held[start:end])).reshape(end - start, -1)
        other = np.flatnonzero((block != last).any(axis=1))
        if len(other):
            return start + int(other[-1]) + 2
        end = start
    return 1


def _bytes_of(array: NDArray[Any]) -> NDArray[np.uint8]:
    """A view of the bytes of a contiguous array, whatever its dtype."""
    return array.reshape(-1).view(np.uint8)


# ---------------------------------------------------------------------- an engine


def _entries(part: Saved, where: str = "") -> Iterator[tuple[str, NDArray[Any] | bytes]]:
    """All that an object and its parts hold, by name: arrays, or JSON."""
    state = part.STATE
    for name in state.parts:
        yield from _entries(getattr(part, name), f"{where}{name}.")
    for name in state.arrays:
        yield f"{where}{name}", getattr(part, name)
    for name in state.lists:
        arrays = getattr(part, name)
        yield f"{where}{name}.lengths", np.array([len(array) for array in arrays], np.int64)
        yield f"{where}{name}.joined", np.concatenate(arrays) if arrays else np.zeros(0)
    for name in state.values:
        yield f"{where}{name}", msgspec.json.encode(getattr(part, name))
    for name in state.generators:
        # By json: its numbers have 128 bits.
        yield f"{where}{name}", json.dumps(getattr(part, name).bit_generator.state).encode()


def _restore(
    part: Saved, contents: Mapping[str, NDArray[Any] | bytes], path: Path, where: str = ""
) -> None:
    """Give a new object what one like it held."""
    state = part.STATE
    get: Callable[[str], Any] = contents.__getitem__
    for name in state.parts:
        _restore(getattr(part, name), contents, path, f"{where}{name}.")
    for name in state.arrays:
        new, saved = getattr(part, name), get(f"{where}{name}")
        if (new.dtype, new.ndim) != (saved.dtype, saved.ndim):
            raise SavedStateError(f"{path}: {where}{name} is {saved.dtype}, here it is {new.dtype}")
        if any(0 < a < _GROWS and a != b for a, b in zip(new.shape, saved.shape, strict=True)):
            raise SavedStateError(
                f"{path}: {where}{name} has shape {saved.shape}, here it is {new.shape}"
            )
        setattr(part, name, saved)
    for name in state.lists:
        lengths, joined = get(f"{where}{name}.lengths"), get(f"{where}{name}.joined")
        setattr(part, name, _separated(joined, lengths))
    for name, made_of in state.values.items():
        setattr(part, name, made_of(msgspec.json.decode(get(f"{where}{name}"))))
    for name in state.generators:
        getattr(part, name).bit_generator.state = json.loads(get(f"{where}{name}"))
    if state.then:
        getattr(part, state.then)()


def _separated(joined: NDArray[Any], lengths: NDArray[np.int64]) -> list[NDArray[Any]]:
    """Arrays of these lengths, each with memory of its own: they change and grow one by one."""
    none, ends = joined[:0].copy(), np.cumsum(lengths).tolist()
    return [
        joined[end - length : end].copy() if length else none
        for end, length in zip(ends, lengths.tolist(), strict=True)
    ]
