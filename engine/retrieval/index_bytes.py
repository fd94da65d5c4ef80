"""Whether the bytes of a saved HNSW index are ones that usearch can load and walk.

usearch trusts what it loads: a link to a node that is not there makes it read beyond its memory.

    2 x 4 bytes  nodes, and bytes of a vector; then the vectors
    64 bytes     "usearch", versions, kinds of the metric and the numbers, how many are present,
                 how many deleted, dimensions, whether a key may have several vectors
    5 x 8 bytes  nodes, links at upper levels, links at level 0, highest level, where to enter
    2 bytes each the level of each node
    ...          of each node its key (8), its level (2), links at level 0 (4 for their number, then
                 4 each), and so at each level above

Source: usearch 2.26, `index_dense.hpp` and `index.hpp`.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

_MATRIX = struct.Struct("<II")
_HEAD = struct.Struct("<7s6s4sQQQB22x")
_GRAPH = struct.Struct("<QQQQQ")
_KEY_AND_LEVEL = 10
_FREE = np.uint64(2**64 - 1)
"""The key of a node whose vector was removed."""


def fault_of(
    data: NDArray[np.uint8], dimensions: int, like: bytes, items: int, versions: int
) -> str:
    """What makes an index unfit to be loaded, or "".

    Parameters
    ----------
    data
        The bytes, uint8[n].
    dimensions
        Width of its vectors, of two bytes each.
    like
        The bytes of an empty index of the same kind.
    items, versions
        Its keys are `versions` times the number of one of this many items (in the low 24 bits),
        plus a version.
    """
    try:
        keys = _read(data, _nodes(data, dimensions, like), "<u8", 1)[:, 0]
        # What usearch takes for free is a key that nothing else has.
        keys = keys[keys != _FREE].astype(np.int64)
        _expect((keys >= 0).all(), "has a negative key")
    except (struct.error, ValueError, IndexError, OverflowError, MemoryError) as error:
        return f"its index {error}"
    return keys_fault(keys, items, versions)


def keys_fault(keys: NDArray[np.int64], items: int, versions: int) -> str:
    """Whether keys (int64[n], those below 0 being ~key) are of items that there are."""
    keys = np.where(keys < 0, ~keys, keys) // versions & ((1 << 24) - 1)
    if keys.max(initial=0) >= max(1, items):
        return f"its index holds item {keys.max()}, and there are {items}"
    return ""


def _expect(holds: object, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)


def _nodes(data: NDArray[np.uint8], dimensions: int, like: bytes) -> NDArray[np.int64]:
    """Where each node begins: int64[n]; raises ValueError with what is wrong with the bytes."""
    nodes, width = _MATRIX.unpack_from(data.data)
    at = _MATRIX.size + nodes * width
    name, _, kinds, present, deleted, wide, multiple = _HEAD.unpack_from(data.data, at)
    expected_name, _, expected_kinds, *_ = _HEAD.unpack_from(like, _MATRIX.size)
    size, upper, base, highest, entry = _GRAPH.unpack_from(data.data, at + _HEAD.size)
    _, expected_upper, expected_base, *_ = _GRAPH.unpack_from(like, _MATRIX.size + _HEAD.size)
    _expect((name, kinds, multiple) == (expected_name, expected_kinds, 0), "is of another kind")
    _expect(wide == dimensions and (width == 2 * dimensions or not nodes), "is of other vectors")
    _expect((upper, base) == (expected_upper, expected_base), "has another number of links")
    _expect(size == nodes == present + deleted, "has not as many nodes as vectors and keys")
    at += _HEAD.size + _GRAPH.size
    levels = np.frombuffer(data, "<i2", size, at).astype(np.int64)
    at += 2 * size
    if not size:
        _expect(at == len(data), "is followed by other bytes")
        return np.zeros(0, np.int64)
    _expect(
        levels.min() >= 0 and highest == levels.max() and entry < size and levels[entry] == highest,
        "is entered where there is nothing",
    )
    lists = 4 + 4 * base, 4 + 4 * upper
    lengths = _KEY_AND_LEVEL + lists[0] + lists[1] * levels
    starts = at + np.cumsum(lengths) - lengths
    _expect(starts[-1] + lengths[-1] == len(data), "does not end where its levels say")
    named = _read(data, starts + 8, "<i2", 1)[:, 0]
    _expect((named == levels).all(), "names other levels at its nodes")
    for level in range(int(highest) + 1):
        those = np.flatnonzero(levels >= level)
        begin = starts[those] + _KEY_AND_LEVEL
        if level:
            begin += lists[0] + (level - 1) * lists[1]
        most = upper if level else base
        counts = _read(data, begin, "<u4", 1)[:, 0]
        _expect((counts <= most).all(), "has more links than there is room for")
        links = _read(data, begin + 4, "<u4", most)[np.arange(most) < counts[:, None]]
        _expect((links < size).all(), "links to nodes that are not there")
        _expect((levels[links] >= level).all(), "links to nodes that are not at that level")
    return starts


def _read(
    data: NDArray[np.uint8], starts: NDArray[np.int64], dtype: str, count: int
) -> NDArray[np.int64]:
    """`count` numbers from each of these places: int64[n, count]."""
    width = np.dtype(dtype).itemsize * count
    gathered = data[starts[:, None] + np.arange(width)]
    numbers = np.ascontiguousarray(gathered).view(dtype)
    return numbers if dtype == "<u8" else numbers.astype(np.int64)
