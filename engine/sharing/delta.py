"""The message by which an engine tells others what it added to its items: packed, and versioned.

    zstd( msgpack( [version, ranges, events, names, {part: {field: bytes}}] ) )

Arrays are little-endian and say nothing of their shape: it follows from their length. Items are
named once; arrays name them by their place among the names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from backports import zstd
from numpy.typing import NDArray

VERSION: Final = 1
_LARGEST = 1 << 26
"""Bytes of a message, unpacked, that is read at most."""
_LEVEL = 1
_STAGES = 16
LEARNT = ("long", "short", "outputs", "personal_outputs")
"""The learnt tables of items, in the order of their sums of squared gradients."""


class DeltaError(ValueError):
    """A message that is no delta, or does not fit this engine; says what is wrong with it."""


class Counted(NamedTuple):
    """Changes of the counts of n items.

    Attributes
    ----------
    items : int32[n]
    counts, recent, surge : float32[n]
        Of all events; the two faded ones, in weights of the latest event.
    values : float32[n, 2]
        Sums of standardised ratings, and their numbers.
    by_stage : float32[n, 16]
    """

    items: NDArray[np.int32]
    counts: NDArray[np.float32]
    recent: NDArray[np.float32]
    surge: NDArray[np.float32]
    values: NDArray[np.float32]
    by_stage: NDArray[np.float32]


class Learnt(NamedTuple):
    """Changes of n rows of a learnt table.

    Attributes
    ----------
    items : int32[n]
    changes : int8[n, d]
        In units of the row's scale.
    scales, accumulated : float32[n]
        The scale; what was added to the sum of squared gradients.
    """

    items: NDArray[np.int32]
    changes: NDArray[np.int8]
    scales: NDArray[np.float32]
    accumulated: NDArray[np.float32]


class Biased(NamedTuple):
    """Changes of n biases.

    Attributes
    ----------
    items : int32[n]
    bias, accumulated : float32[n]
        The second: of the sum of squared gradients.
    """

    items: NDArray[np.int32]
    bias: NDArray[np.float32]
    accumulated: NDArray[np.float32]


class Followed(NamedTuple):
    """Sums of n transitions.

    Attributes
    ----------
    sources, targets : int32[n]
    weights : float32[n, 2]
        Directed, symmetric.
    """

    sources: NDArray[np.int32]
    targets: NDArray[np.int32]
    weights: NDArray[np.float32]


class Totals(NamedTuple):
    """Changes of what is no row's.

    Attributes
    ----------
    stages : float64[16]
        Counts by stage, of all items.
    moments : float64[3]
        Number, mean and sum of squared deviations of the ratings.
    """

    stages: NDArray[np.float64]
    moments: NDArray[np.float64]


@dataclass(frozen=True)
class ItemDelta:
    """What an engine added to its items since it last said so.

    Attributes
    ----------
    ranges
        Of each partition whose events it covers: the first offset, and the one after the last.
    events
        How many events were counted.
    names
        Ids of the items; the arrays hold places in it.
    learnt
        By the names in `LEARNT`.
    """

    ranges: dict[int, tuple[int, int]]
    events: int
    names: list[str]
    counted: Counted
    followed: Followed
    biased: Biased
    learnt: Mapping[str, Learnt]
    totals: Totals

    @property
    def rows(self) -> int:
        """How many rows it changes, each transition counted as one."""
        learnt = sum(len(part.items) for part in self.learnt.values())
        return (
            len(self.counted.items) + len(self.followed.sources) + len(self.biased.items) + learnt
        )

    def encode(self) -> bytes:
        """As a message."""
        parts: dict[str, NamedTuple] = {
            "counted": self.counted,
            "followed": self.followed,
            "biased": self.biased,
            **self.learnt,
            "totals": self.totals,
        }
        packed = {
            name: {field: _packed(array) for field, array in part._asdict().items()}
            for name, part in parts.items()
        }
        whole = _Message(VERSION, self.ranges, self.events, self.names, packed)
        return zstd.compress(msgspec.msgpack.encode(whole), _LEVEL)

    @classmethod
    def decode(cls, message: bytes, dimensions: int) -> ItemDelta:
        """What a message says.

        Parameters
        ----------
        dimensions
            Width of the learnt tables' rows.

        Raises
        ------
        DeltaError
            If it is no delta, one of another version or width, or damaged.
        """
        read = _read(message)
        if read.events < 0:
            raise DeltaError(f"events: {read.events} is negative")
        for partition, (first, end) in read.ranges.items():
            if not 0 <= first < end or partition < 0:
                raise DeltaError(f"ranges: offsets {first} to {end} of partition {partition}")
        if len(set(read.names)) < len(read.names):
            raise DeltaError("names: an item is named twice")
        parts = _Parts(read.parts, len(read.names))
        counted = Counted(
            parts.rows("counted"),
            parts.floats("counted", "counts"),
            parts.floats("counted", "recent"),
            parts.floats("counted", "surge"),
            parts.floats("counted", "values", 2),
            parts.floats("counted", "by_stage", _STAGES),
        )
        followed = Followed(
            parts.places("followed", "sources"),
            parts.places("followed", "targets"),
            parts.floats("followed", "weights", 2),
        )
        biased = Biased(
            parts.rows("biased"),
            parts.floats("biased", "bias"),
            parts.squares("biased"),
        )
        learnt = {
            name: Learnt(
                parts.rows(name),
                parts.array(name, "changes", np.dtype("i1"), dimensions),
                parts.floats(name, "scales"),
                parts.squares(name),
            )
            for name in LEARNT
        }
        totals = Totals(
            parts.array("totals", "stages", np.dtype("<f8")),
            parts.array("totals", "moments", np.dtype("<f8")),
        )
        for name, array, wanted in (
            ("stages", totals.stages, _STAGES), ("moments", totals.moments, 3),
        ):  # fmt: skip
            if len(array) != wanted:
                raise DeltaError(f"totals.{name}: {len(array)} numbers, not {wanted}")
        if totals.moments[0] < 0:
            raise DeltaError("totals.moments: a negative number of ratings")
        return cls(read.ranges, read.events, read.names, counted, followed, biased, learnt, totals)


class _Message(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    version: int
    ranges: dict[int, tuple[int, int]]
    events: int
    names: list[str]
    parts: dict[str, dict[str, bytes]] = field(default_factory=dict)


def _packed(array: NDArray[np.generic]) -> bytes:
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def _read(message: bytes) -> _Message:
    try:
        packed = zstd.ZstdDecompressor()
        unpacked = packed.decompress(message, _LARGEST)
        if not packed.eof or packed.unused_data:
            raise DeltaError(
                f"the message is damaged: no frame of at most {_LARGEST} bytes, unpacked"
            )
        version = msgspec.msgpack.decode(unpacked, type=list[msgspec.Raw])[:1]
        if version and (found := msgspec.msgpack.decode(version[0])) != VERSION:
            raise DeltaError(f"version: {found!r}; this Millrace reads version {VERSION}")
        return msgspec.msgpack.decode(unpacked, type=_Message)
    except (zstd.ZstdError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DeltaError(f"the message is damaged: {error}") from None


class _Parts:
    """The arrays of a message, checked as they are taken out: all of a part are of n rows."""

    def __init__(self, parts: dict[str, dict[str, bytes]], names: int) -> None:
        self._parts, self._names = parts, names
        self._rows: dict[str, int] = {}

    def array(self, part: str, field: str, dtype: np.dtype[Any], columns: int = 1) -> NDArray[Any]:
        """An array of n rows, of finite numbers."""
        content = self._parts.get(part, {}).get(field)
        if content is None:
            raise DeltaError(f"{part}.{field} is missing")
        if len(content) % (dtype.itemsize * columns):
            raise DeltaError(f"{part}.{field}: {len(content)} bytes are no rows of {columns}")
        array = np.frombuffer(content, dtype).astype(dtype.newbyteorder("="))
        rows = len(array) // columns
        if part != "totals" and rows != self._rows.setdefault(part, rows):
            raise DeltaError(f"{part}.{field}: {rows} rows, and {self._rows[part]} elsewhere")
        if dtype.kind == "f" and not np.isfinite(array).all():
            raise DeltaError(f"{part}.{field}: a number is not finite")
        return array if columns == 1 else array.reshape(rows, columns)

    def floats(self, part: str, field: str, columns: int = 1) -> NDArray[np.float32]:
        return self.array(part, field, np.dtype("<f4"), columns)

    def squares(self, part: str) -> NDArray[np.float32]:
        """What was added to sums of squared gradients."""
        added = self.floats(part, "accumulated")
        if (added < 0).any():
            raise DeltaError(f"{part}.accumulated: a negative sum of squares")
        return added

    def places(self, part: str, field: str) -> NDArray[np.int32]:
        """Places among the names."""
        places = self.array(part, field, np.dtype("<i4"))
        if len(places) and not 0 <= places.min() <= places.max() < self._names:
            raise DeltaError(f"{part}.{field}: an item that is not among the {self._names} names")
        return places

    def rows(self, part: str) -> NDArray[np.int32]:
        """Places of a table's rows, each once."""
        places = self.places(part, "items")
        if (np.diff(places) <= 0).any():
            raise DeltaError(f"{part}.items: rows are not in the order of the names")
        return places
