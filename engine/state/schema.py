"""What an object's state is: each class says which of its attributes are saved, and which not.

Each class whose objects are part of the state says it in its `STATE`; an attribute that it does not
name is an error of its author's, which a test finds. Here objects become named entries, and
entries objects; `engine.state.snapshot` writes and reads them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.state.array_codec import Content, SavedStateError, bytes_of

_GROWS = 1024
"""Axes that are this long in a new engine, or empty, grow; all others are as the settings say."""


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


def entries(part: Saved, where: str = "") -> Iterator[tuple[str, Content]]:
    """All that an object and its parts hold, by name: arrays, or JSON."""
    state = part.STATE
    for name in state.parts:
        yield from entries(getattr(part, name), f"{where}{name}.")
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


def restore(part: Saved, contents: Mapping[str, Content], path: Path, where: str = "") -> None:
    """Give a new object what one like it held.

    Raises
    ------
    SavedStateError
        If an array has another dtype or shape than this object's; a message names `path`.
    """
    state = part.STATE
    get: Callable[[str], Any] = contents.__getitem__
    for name in state.parts:
        restore(getattr(part, name), contents, path, f"{where}{name}.")
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
