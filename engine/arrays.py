"""Arrays that double: state grows with users and items, never with the log."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush
from typing import ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from engine.state.schema import State, Value

Scalar = TypeVar("Scalar", bound=np.generic)


def grown(array: NDArray[Scalar], size: int, axis: int = 0, fill: float = 0) -> NDArray[Scalar]:
    """The array itself if `axis` holds `size` entries, else a copy of at least twice its length.

    New entries hold `fill`.
    """
    have = array.shape[axis]
    if have >= size:
        return array
    shape = list(array.shape)
    shape[axis] = max(size, 2 * have)
    # Zeros are pages that the system gives only when they are written.
    larger = np.zeros(shape, array.dtype) if fill == 0 else np.full(shape, fill, array.dtype)
    larger[(slice(None),) * axis + (slice(0, have),)] = array
    return larger


class IdTable:
    """Interns the ids that messages carry to dense int32 numbers, by first appearance.

    Attributes
    ----------
    names
        By number; "" of a number whose id was released, which the next new id gets.
    """

    STATE: ClassVar[State] = State(
        {"names": Value("ids", list[str], counts=True)},
        unsaved=("_number", "_free"),
        check="_fault",
        then="_number_names",
    )

    def __init__(self) -> None:
        self._number: dict[str, int] = {}
        self._free: list[int] = []  # a heap: the lowest number first, saved or not
        self.names: list[str] = []

    def __len__(self) -> int:
        """Numbers that were given out, those that were released among them."""
        return len(self.names)

    @property
    def known(self) -> int:
        """Ids that have a number."""
        return len(self._number)

    def _fault(self) -> str:
        known = [name for name in self.names if name]
        return "an id has two numbers" if len(set(known)) < len(known) else ""

    def find(self, name: str) -> int | None:
        """The number of a known id."""
        return self._number.get(name)

    def find_all(self, names: Sequence[str]) -> NDArray[np.int32]:
        """The numbers of ids, -1 of an unknown one: int32[n]."""
        number = self._number.get
        return np.array([number(name, -1) for name in names], np.int32)

    def intern(self, name: str) -> int:
        """The number of an id, new ones getting the next."""
        number = self._number.get(name)
        if number is None and self._free:
            number = self._number[name] = heappop(self._free)
            self.names[number] = name
        elif number is None:
            number = self._number[name] = len(self.names)
            self.names.append(name)
        return number

    def release(self, number: int) -> None:
        """Forget the id of a number, which the next new id gets."""
        del self._number[self.names[number]]
        self.names[number] = ""
        heappush(self._free, number)

    def compact(self) -> None:
        """Renumber the known ids from 0 on, in the order of their present numbers."""
        self.names = [name for name in self.names if name]
        self._number_names()

    def rename(self, number: int, name: str) -> None:
        """Give the number of an id that is known no more to a new id."""
        del self._number[self.names[number]]
        self._number[name] = number
        self.names[number] = name

    def _number_names(self) -> None:
        self._number = {name: number for number, name in enumerate(self.names) if name}
        self._free = [number for number, name in enumerate(self.names) if not name]
