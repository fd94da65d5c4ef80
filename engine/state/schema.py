"""What is saved of an object, and under which name: each class declares it in its `STATE`.

Names are for readers of the file and stay when classes and attributes are renamed or moved:
`users/graph/edges`, `items/transitions/neighbours`, `model/head/weights`. The first component of
a name says what the rows are of. Here objects become named entries, and entries objects;
`engine.state.snapshot` writes and reads them.

What an older file lacks keeps the value that a new engine has. What this version does not know is
named in a log line and left out. `engine.state.migrations` has what else changed between formats.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final, NamedTuple, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.state.container import Content, SavedStateError, bytes_of

log = logging.getLogger("millrace.state")

ROWS: Final = "rows"
"""An axis with at least one entry for each user (of `users/...`) or item (of `items/...`)."""
ANY: Final = "any"
"""An axis of any length; where it has to fit another array, the class's `check` says so."""
OTHERS: Final = "others"
"""In the place of `Array.numbers`: items in `users/...`, and users in `items/...`."""

Axis = str | tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Array:
    """An array, whose dtype and number of dimensions stay as `__init__` makes them.

    Attributes
    ----------
    name
        Its name in a saved state, after the prefix that the owner gives.
    axes
        What each axis is: `ROWS`, `ANY`, None (as long as in a new engine: the settings say how
        long), or the names of its entries. Named entries are saved with their names: they may be
        reordered, and one that is added has its initial values when an older file is loaded.
    fill
        What rows hold that a new engine has no room for yet.
    numbers
        "users", "items" or `OTHERS` if the entries are numbers of these: one that is not below
        their count is refused. Compiled kernels do not check bounds.
    lowest
        The least number that is allowed.
    mask
        Which bits of an entry are the number.
    """

    name: str
    axes: tuple[Axis, ...]
    fill: float = 0
    numbers: str = ""
    lowest: int = 0
    mask: int = -1


@dataclass(frozen=True, slots=True)
class Arrays:
    """A list of arrays of one dimension and one dtype, one a row, which each grow on their own."""

    name: str
    dtype: type[np.generic]
    numbers: str = ""


@dataclass(frozen=True, slots=True)
class Value:
    """What JSON can say.

    Attributes
    ----------
    type
        What msgspec decodes it to.
    counts
        Whether it lists the users or items, and so says how many rows their arrays must have.
    """

    name: str
    type: Any
    counts: bool = False


@dataclass(frozen=True, slots=True)
class Generator:
    """A random generator of numpy."""

    name: str


Declaration = Array | Arrays | Value | Generator


@dataclass(frozen=True, slots=True)
class State:
    """What becomes of the attributes of a class's objects when they are saved.

    Attributes
    ----------
    saved
        How each saved attribute is saved.
    parts
        Attributes that hold objects with a `STATE` of their own, and the prefix of their names.
    unsaved
        Scratch, and what `__init__` makes of the settings or `then` of what is saved.
    check
        Name of the method that says what does not fit together, or "" if all does. It is called
        when all is restored and before any `then`; kernels rely on what it finds.
    then
        Name of the method that is called when all is restored and checked.
    """

    saved: Mapping[str, Declaration] = field(default_factory=dict)
    parts: Mapping[str, str] = field(default_factory=dict)
    unsaved: tuple[str, ...] = ()
    check: str = ""
    then: str = ""

    def names(self) -> list[str]:
        """Every attribute that is spoken for."""
        return [*self.saved, *self.parts, *self.unsaved]


class Saved(Protocol):
    """An object that can be saved."""

    STATE: ClassVar[State]


class _Place(NamedTuple):
    """Where an entry belongs."""

    part: Saved
    attribute: str
    declared: Declaration
    name: str

    @property
    def value(self) -> Any:
        return getattr(self.part, self.attribute)

    def put(self, value: Any) -> None:
        setattr(self.part, self.attribute, value)

    @property
    def labels(self) -> dict[str, tuple[int, tuple[str, ...]]]:
        """Names of the entries that name an axis's entries: axis and names by entry."""
        axes = self.declared.axes if isinstance(self.declared, Array) else ()
        return {
            f"{self.name}/axis-{number}": (number, axis)
            for number, axis in enumerate(axes)
            if isinstance(axis, tuple)
        }


def _parts(part: Saved, prefix: str = "") -> Iterator[tuple[Saved, str]]:
    """An object and all within it, the innermost first, with the prefixes of their names."""
    for attribute, own in part.STATE.parts.items():
        yield from _parts(getattr(part, attribute), _joined(prefix, own))
    yield part, prefix


def _places(part: Saved) -> Iterator[_Place]:
    for owner, prefix in _parts(part):
        for attribute, declared in owner.STATE.saved.items():
            yield _Place(owner, attribute, declared, _joined(prefix, declared.name))


def _joined(prefix: str, name: str) -> str:
    return "/".join(filter(None, (prefix, name)))


def entries(part: Saved) -> Iterator[tuple[str, Content]]:
    """All that an object and its parts hold, by name: arrays, or JSON."""
    for place in _places(part):
        name, value = place.name, place.value
        match place.declared:
            case Array():
                for labels, (_, names) in place.labels.items():
                    yield labels, msgspec.json.encode(names)
                yield name, value
            case Arrays(dtype=dtype):
                yield f"{name}/lengths", np.array([len(array) for array in value], np.int64)
                yield f"{name}/joined", np.concatenate([np.zeros(0, dtype), *value])
            case Value():
                yield name, msgspec.json.encode(value)
            case Generator():
                # By json: its numbers have 128 bits.
                yield name, json.dumps(value.bit_generator.state).encode()


def keep_user_rows(engine: Saved, kept: NDArray[np.int32], room: int) -> None:
    """Have all tables of users hold these rows alone, in this order: int32[n].

    Parameters
    ----------
    room
        Rows that the tables have room for.
    """
    for place in _places(engine):
        declared = place.declared
        if (
            isinstance(declared, Array)
            and declared.axes[0] == ROWS
            and place.name.startswith("users/")
        ):
            held = place.value
            shape, fill = (room, *held.shape[1:]), declared.fill
            # Zeros are pages that the system gives only when they are written, with zeros too.
            fresh = np.full(shape, fill, held.dtype) if fill else np.zeros(shape, held.dtype)
            rows = held[kept]
            if (rows != fill).any():
                fresh[: len(kept)] = rows
            place.put(fresh)


# ---------------------------------------------------------------------- back


def restore(
    engine: Saved,
    contents: Mapping[str, Content],
    path: Path,
    in_use: Mapping[int, Any],
    *,
    whole: bool = True,
) -> None:
    """Give a new object what one like it held.

    Parameters
    ----------
    contents
        Entries by name; may lack some, and may have others.
    path
        The file that they are of, for messages.
    in_use
        By the `id` of an array in `contents`, the part of it that is more than padding.
    whole
        Whether `contents` has all that the file has: what it lacks is logged.

    Raises
    ------
    SavedStateError
        If an entry is not what is declared of it.
    """
    restoring = _Restoring(contents, path, in_use)
    places = list(_places(engine))
    for place in places:
        if isinstance(place.declared, Value) and place.declared.counts:
            restoring.count(place)
    for place in places:
        restoring.restore(place)
    if whole:
        restoring.tell()
    for part, prefix in _parts(engine):
        if part.STATE.check and (fault := getattr(part, part.STATE.check)()):
            raise SavedStateError(f"{path}: {prefix or 'the state'}: {fault}")
    for part, _ in _parts(engine):
        if part.STATE.then:
            getattr(part, part.STATE.then)()


class _Restoring:
    def __init__(
        self, contents: Mapping[str, Content], path: Path, in_use: Mapping[int, Any]
    ) -> None:
        self._contents = contents
        self._path = path
        self._in_use = in_use
        self._counts: dict[str, int] = {}
        self._unknown = dict.fromkeys(contents)
        self._missing: list[str] = []

    def count(self, place: _Place) -> None:
        """Note how many users or items there are."""
        if place.name in self._contents:
            self._counts[place.name.split("/")[0]] = len(self._json(place.name, list))

    def restore(self, place: _Place) -> None:
        match place.declared:
            case Array() as declared:
                place.put(self._array(place, declared))
            case Arrays() as declared:
                found = self._arrays(place.name, declared)
                if found is not None:
                    place.put(found)
            case Value(type=type_):
                if self._has(place.name):
                    place.put(self._json(place.name, type_))
            case Generator():
                if self._has(place.name):
                    place.value.bit_generator.state = self._json(place.name, dict)

    def tell(self) -> None:
        """Name what was left out, and what starts anew."""
        if self._unknown:
            log.warning(
                "%s: not known to this version, and left out: %s",
                self._path, ", ".join(self._unknown),
            )  # fmt: skip
        if self._missing:
            log.info("%s: not in it, and as in a new engine: %s",
                     self._path, ", ".join(self._missing))  # fmt: skip

    def _has(self, name: str) -> bool:
        self._unknown.pop(name, None)
        if name not in self._contents:
            self._missing.append(name)
        return name in self._contents

    def _json(self, name: str, type_: Any) -> Any:
        content = self._contents[name]
        if not isinstance(content, bytes):
            raise self._odd(name, "is an array, and should be JSON")
        # By json: the numbers of a generator have 128 bits.
        return json.loads(content) if type_ is dict else msgspec.json.decode(content, type=type_)

    def _array(self, place: _Place, declared: Array) -> NDArray[Any]:
        name, new = place.name, place.value
        rows = self._rows(name)
        if not self._has(name):
            for labels in place.labels:
                self._unknown.pop(labels, None)
            for axis, kind in enumerate(declared.axes):
                if kind == ROWS:
                    new = _lengthened(new, rows, axis, declared.fill)
            return new
        saved = self._numbers(name)
        if (new.dtype, new.ndim) != (saved.dtype, saved.ndim):
            raise self._odd(
                name,
                f"is {saved.dtype} of {saved.ndim} dimensions, here it is {new.dtype} of "
                f"{new.ndim}",
            )
        for axis, kind in enumerate(declared.axes):
            length, here = saved.shape[axis], new.shape[axis]
            if kind == ROWS and length < rows:
                raise self._odd(name, f"has {length} rows for {rows} numbers")
            if kind is None and length != here:
                raise self._odd(name, f"has shape {saved.shape}, here it is {new.shape}")
        self._check_numbers(name, saved, declared.numbers, declared.lowest, declared.mask)
        return self._by_labels(place, declared, saved, new)

    def _by_labels(
        self, place: _Place, declared: Array, saved: NDArray[Any], new: NDArray[Any]
    ) -> NDArray[Any]:
        """The saved array with its named rows where they are now, and new ones as initialised."""
        if not place.labels:
            return saved
        sources, targets = list(map(np.arange, saved.shape)), list(map(np.arange, saved.shape))
        same = True
        for labels, (axis, names) in place.labels.items():
            held = self._json(labels, list[str]) if self._has(labels) else list(names)
            if len(held) != saved.shape[axis] or len(set(held)) != len(held):
                raise self._odd(labels, f"names {len(held)} of {saved.shape[axis]} entries")
            same = same and held == list(names)
            kept = [name for name in held if name in names]
            sources[axis] = np.array([held.index(name) for name in kept], np.intp)
            targets[axis] = np.array([names.index(name) for name in kept], np.intp)
            self._unknown |= {f"{place.name}[{name}]": None for name in held if name not in names}
            self._missing += [f"{place.name}[{name}]" for name in names if name not in held]
        if same:
            return saved
        target = new
        for axis, kind in enumerate(declared.axes):
            if kind in (ROWS, ANY):
                target = _lengthened(target, saved.shape[axis], axis, declared.fill)
                targets[axis] = np.arange(saved.shape[axis])
        target = target.copy()
        target[np.ix_(*targets)] = saved[np.ix_(*sources)]
        return target

    def _arrays(self, name: str, declared: Arrays) -> list[NDArray[Any]] | None:
        if not all([self._has(f"{name}/lengths"), self._has(f"{name}/joined")]):
            return None
        lengths, joined = self._numbers(f"{name}/lengths"), self._numbers(f"{name}/joined")
        if lengths.dtype != np.int64 or joined.dtype != declared.dtype or lengths.ndim != 1:
            raise self._odd(name, f"is {joined.dtype}, here it is {np.dtype(declared.dtype)}")
        if lengths.min(initial=0) < 0 or sum(lengths.tolist()) != joined.size or joined.ndim != 1:
            raise self._odd(name, "has lengths that do not add up to what is joined")
        if len(lengths) < self._rows(name):
            raise self._odd(name, f"has {len(lengths)} rows for {self._rows(name)} numbers")
        self._check_numbers(name, joined, declared.numbers, 0, -1)
        return _separated(joined, lengths)

    def _numbers(self, name: str) -> NDArray[Any]:
        content = self._contents[name]
        if isinstance(content, bytes):
            raise self._odd(name, "is JSON, and should be an array")
        return content

    def _rows(self, name: str) -> int:
        return self._counts.get(name.split("/", maxsplit=1)[0], 0)

    def _check_numbers(
        self, name: str, saved: NDArray[Any], of: str, lowest: int, mask: int
    ) -> None:
        """Refuse an array that names users or items that there are not."""
        if not of:
            return
        if of == OTHERS:
            of = {"users": "items", "items": "users"}[name.split("/", maxsplit=1)[0]]
        # Padding is looked at as the one row that it repeats: reading it all would take memory.
        held = self._in_use.get(id(saved), saved)
        if not held.size:
            return
        least, most = int(held.min()), int(held.max())
        if mask != -1:
            least, most = 0, int((held & held.dtype.type(mask)).max())
        count = max(1, self._counts.get(of, 0))  # rows that nobody has yet hold zeros
        if least < lowest or most >= count:
            raise self._odd(
                name, f"holds numbers from {least} to {most}, and there are {count} {of}"
            )

    def _odd(self, name: str, what: str) -> SavedStateError:
        return SavedStateError(f"{self._path}: {name} {what}")


def _lengthened(array: NDArray[Any], length: int, axis: int, fill: float) -> NDArray[Any]:
    """The array itself if it is as long, else a longer copy."""
    if array.shape[axis] >= length:
        return array
    shape = list(array.shape)
    shape[axis] = length
    longer = np.zeros(shape, array.dtype) if fill == 0 else np.full(shape, fill, array.dtype)
    longer[tuple(map(slice, array.shape))] = array
    return longer


def _separated(joined: NDArray[Any], lengths: NDArray[np.int64]) -> list[NDArray[Any]]:
    """Arrays of these lengths, each with memory of its own: they change and grow one by one."""
    none, ends = joined[:0].copy(), np.cumsum(lengths).tolist()
    return [
        joined[end - length : end].copy() if length else none
        for end, length in zip(ends, lengths.tolist(), strict=True)
    ]


# ---------------------------------------------------------------------- two of them


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
    for name, value in entries(engine):
        digest = hashlib.sha256()
        if isinstance(value, bytes):
            digest.update(value)
        else:
            digest.update(f"{value.dtype.str} {value.shape}\n".encode())
            digest.update(bytes_of(np.ascontiguousarray(value)).data)
        digests[name] = digest.hexdigest()
    return digests
