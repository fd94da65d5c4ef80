"""What exact scoring reads of items, in eight bits: their text vector and three embeddings.

Scoring every item reads all of these rows, and waits for memory. In eight bits they are a quarter
of the bytes; with 64 items side by side, a product with a user's vector is one pass over bytes
that lie next to each other. What is learnt is learnt in 32 bits: whoever changes a row encodes it
again, and a saved state holds no codes.

    q = round(x / s),   s = max |x| / 127        (one scale a row)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.compiled import kernel

LANES = 64
"""Items that lie side by side."""
# numpy's numbers: of each literal of Python's, numba compiles a kernel again.
TEXT_VECTORS, OUTPUTS, PERSONAL_OUTPUTS, SECOND_HOPS = map(np.int64, range(4))
"""The parts: the rows of an item in each of these tables."""
_MOST = np.float32(127.0)
_ZERO = np.float32(0.0)


class ItemCodeArrays(NamedTuple):
    """What kernels read and write of `ItemCodes`."""

    codes: NDArray[np.int8]
    scales: NDArray[np.float32]
    starts: NDArray[np.int64]


class ItemCodes:
    """The codes of all items while each of them is scored, and of none afterwards.

    Attributes
    ----------
    items
        How many there is room for.
    codes : int8[blocks, width, 64]
        Of each block of 64 items, the numbers of each part.
    scales : float32[4, 64 * blocks]
        Of each part of an item, what its codes are multiplied with.
    starts : int64[5]
        Where each part begins among the width, and where the last one ends.
    """

    def __init__(self, text: int, dimensions: int) -> None:
        self.starts = np.array([0, *np.cumsum([text, dimensions, dimensions, dimensions])])
        self.drop()

    @property
    def arrays(self) -> ItemCodeArrays:
        """As kernels take them."""
        return ItemCodeArrays(self.codes, self.scales, self.starts)

    def drop(self) -> None:
        """Hold no codes."""
        self.items = 0
        self.codes = np.zeros((0, int(self.starts[-1]), LANES), np.int8)
        self.scales = np.zeros((len(self.starts) - 1, 0), np.float32)

    def reserve(self, items: int) -> None:
        """Have room for so many items; what is new has zeros."""
        self.items = max(self.items, items)
        blocks = -(-items // LANES) - len(self.codes)
        if blocks > 0:
            self.codes = np.concatenate(
                [self.codes, np.zeros((blocks, *self.codes.shape[1:]), np.int8)]
            )
            more = np.zeros((len(self.scales), blocks * LANES), np.float32)
            self.scales = np.concatenate([self.scales, more], axis=1)

    def encode(self, part: np.int64, items: NDArray[np.int32], rows: NDArray[np.float32]) -> None:
        """Take over a part of these items, int32[n], from the table of all: float32[m, d]."""
        _encode_all(self.arrays, part, items, rows)


@kernel
def _encode_all(c, part, items, rows):  # type: ignore[no-untyped-def]
    for item in items:
        encode(c, part, item, rows[item])


@kernel
def encode(c, part, item, row):  # type: ignore[no-untyped-def]
    """Take over a part of an item: float32[d]; nothing where no codes are held."""
    if item >= c.scales.shape[1]:
        return
    largest = _ZERO
    for d in range(len(row)):
        largest = max(largest, abs(row[d]))
    c.scales[part, item] = largest / _MOST
    inverse = _MOST / largest if largest > 0 else _ZERO
    block, lane, first = item // LANES, item % LANES, c.starts[part]
    for d in range(len(row)):
        c.codes[block, first + d, lane] = np.int8(np.rint(row[d] * inverse))


@kernel
def multiply(c, part, vector, n, out):  # type: ignore[no-untyped-def]
    """out[j] = row_j . vector, of a part of the first n items.

    Written in whole blocks: `out` is float32[m], m at least n and a multiple of 64.
    """
    first, width = c.starts[part], c.starts[part + 1] - c.starts[part]
    for block in range((n + LANES - 1) // LANES):
        codes, sums = c.codes[block], out[block * LANES :]
        for i in range(LANES):
            sums[i] = _ZERO
        # Four numbers at a time: the sums are loaded and stored a quarter as often.
        for at in range(0, width - 3, 4):
            d = first + at
            w, x, y, z = vector[at], vector[at + 1], vector[at + 2], vector[at + 3]
            for i in range(LANES):
                sums[i] += (
                    w * np.float32(codes[d, i])
                    + x * np.float32(codes[d + 1, i])
                    + y * np.float32(codes[d + 2, i])
                    + z * np.float32(codes[d + 3, i])
                )
        for at in range(width - width % 4, width):
            for i in range(LANES):
                sums[i] += vector[at] * np.float32(codes[first + at, i])
        for i in range(LANES):
            sums[i] *= c.scales[part, block * LANES + i]


@kernel
def expected_row(c, part, weights, n, out):  # type: ignore[no-untyped-def]
    """out = sum_j weights[j] row_j, of a part of the first n items: float32[d].

    weights : float32[m], m as in `multiply`; they are overwritten.
    """
    first, blocks = c.starts[part], (n + LANES - 1) // LANES
    for j in range(n):
        weights[j] *= c.scales[part, j]
    for j in range(n, blocks * LANES):
        weights[j] = _ZERO
    for d in range(len(out)):
        out[d] = _ZERO
    for block in range(blocks):
        shares = weights[block * LANES :]
        for d in range(len(out)):
            total = _ZERO
            for i in range(LANES):
                total += shares[i] * np.float32(c.codes[block, first + d, i])
            out[d] += total
