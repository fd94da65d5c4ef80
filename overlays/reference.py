"""FORMAT.md, literally: slow, obvious, and what the core and the kernels are compared with."""

from __future__ import annotations

from bisect import bisect_left

import numpy as np
from numpy.typing import NDArray

RECENT, HASHED, ALL = 0, 1, 2
MOST = 64  # neighbours of one target at most, in mode ALL too
SCALES = [(16 + (code & 15)) << (code >> 4) for code in range(256)]  # S of each scale code, rising
LARGEST_WEIGHT = (255 * 32768 + 128) >> 8  # of an edge that nothing fades


def quantise(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Embedding rows of float vectors.

    Parameters
    ----------
    values
        float32[m, d], finite; beyond about 123 they saturate.

    Returns
    -------
    NDArray
        u8[m, d].
    """
    # In units of 2**-24, which is a sum of weight 16 in units of 2**-20.
    limited = np.minimum(np.abs(values).astype(np.float64), 127.5)
    units = np.floor(limited * 2**24 + 0.5).astype(np.int64) * np.where(values < 0, -1, 1)
    rows = [quantise_sum(row, weight=16, shift=0) for row in units]
    return np.array(rows, np.uint8).reshape(values.shape)


def dequantise(rows: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The vectors that embedding rows stand for.

    Parameters
    ----------
    rows
        u8[m, d].

    Returns
    -------
    NDArray
        float32[m, d].
    """
    scales = row_scales(rows) * 2.0**-20
    return (row_values(rows) * scales[:, np.newaxis]).astype(np.float32)


def row_scales(rows: NDArray[np.uint8]) -> NDArray[np.int64]:
    """S of embedding rows.

    Parameters
    ----------
    rows
        u8[m, d].

    Returns
    -------
    NDArray
        int64[m], 16 to 31 << 15.
    """
    codes = ((rows[:, :8] & 1).astype(np.int64) << np.arange(8)).sum(axis=1)
    return np.array(SCALES, np.int64)[codes]


def row_values(rows: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The integers of embedding rows, without their scales.

    Parameters
    ----------
    rows
        u8[m, d].

    Returns
    -------
    NDArray
        int64[m, d], -128 to 127.
    """
    values = rows.view(np.int8).astype(np.int64)
    values[:, :8] &= ~1
    return values


def pick_shift(largest_scale: int) -> int:
    """The smallest SHIFT with which no coefficient saturates: the finest sums.

    Parameters
    ----------
    largest_scale
        S of the table's row with the largest.
    """
    product = LARGEST_WEIGHT * int(largest_scale)
    return next(shift for shift in range(32) if coefficient(product, shift) < 65535)


def aggregate(
    targets: NDArray[np.uint32],
    degrees: NDArray[np.uint64],
    edges: NDArray[np.uint32],
    table: NDArray[np.uint8],
    fanout: int,
    mode: int,
    decay: int,
    shift: int,
    seed: int,
) -> NDArray[np.uint8]:
    """Weighted means of the sampled neighbours' embeddings.

    Parameters
    ----------
    targets
        u32[n], node numbers.
    degrees
        u64[nodes], edges ever inserted.
    edges
        u32[nodes, length], the ring rows.
    table
        u8[m, D], the neighbours' embedding rows.
    fanout, mode, decay, shift, seed
        The registers of these names.

    Returns
    -------
    NDArray
        u8[n, D], embedding rows.
    """
    out = np.zeros((len(targets), table.shape[1]), np.uint8)
    length = edges.shape[1]
    for at, target in enumerate(targets.tolist()):
        degree = int(degrees[target])
        slots = sample(target, degree, length, fanout, mode, seed)
        if not slots:
            continue
        fades = fading(decay, len(slots)) if mode != HASHED else [32768] * len(slots)
        sampled = [int(edge) for edge in edges[target, slots]]
        weights = [
            ((edge >> 24) * fade + 128) >> 8 for edge, fade in zip(sampled, fades, strict=True)
        ]
        rows = table[[edge & 0xFF_FFFF for edge in sampled]]
        scales = row_scales(rows).tolist()
        coefficients = [
            coefficient(weight * scale, shift)
            for weight, scale in zip(weights, scales, strict=True)
        ]
        sums = (np.array(coefficients, np.int64)[:, np.newaxis] * row_values(rows)).sum(axis=0)
        out[at] = quantise_sum(sums, sum(weights), shift)
    return out


def sample(target: int, degree: int, length: int, fanout: int, mode: int, seed: int) -> list[int]:
    """Slots of the ring row of a target, of draw q = 0, 1, ..."""
    held = min(degree, length)
    if mode == HASHED and held > fanout:
        state = xorshift32((((target >> 16) | (target << 16)) & 0xFFFF_FFFF) ^ seed | 1)
        slots = []
        for _ in range(fanout):
            slots.append(((state >> 16) * held) >> 16)
            state = xorshift32(state)
        return slots
    count = min(held, MOST if mode == ALL else fanout)
    return [(degree - 1 - q) % length for q in range(count)]


def xorshift32(state: int) -> int:
    """Marsaglia's generator with shifts 13, 17, 5."""
    state ^= (state << 13) & 0xFFFF_FFFF
    state ^= state >> 17
    return state ^ ((state << 5) & 0xFFFF_FFFF)


def fading(decay: int, count: int) -> list[int]:
    """fade_0 to fade_(count - 1)."""
    fades = [32768]
    while len(fades) < count:
        fades.append((fades[-1] * decay + 32768) >> 16)
    return fades[:count]


def coefficient(product: int, shift: int) -> int:
    """c_q of w_q * S_q."""
    half = 1 << (shift - 1) if shift else 0
    return min(65535, (product + half) >> shift)


def quantise_sum(sums: NDArray[np.int64], weight: int, shift: int) -> list[int]:
    """The embedding row of acc / W * 2**(SHIFT - 20).

    Parameters
    ----------
    sums
        int64[d], acc.
    weight, shift
        W and SHIFT.

    Returns
    -------
    list
        d bytes.
    """
    numerators = [int(value) << shift for value in sums]
    largest = max(abs(numerator) for numerator in numerators)
    if weight == 0 or largest == 0:
        return [0] * len(numerators)
    code = min(bisect_left(SCALES, -(-largest // (127 * weight))), 255)
    divisor = SCALES[code] * weight
    row = []
    for at, numerator in enumerate(numerators):
        size = min((2 * abs(numerator) + divisor) // (2 * divisor), 127)  # half away from zero
        if at < 8 and size % 2:
            size = 126 if size == 127 else (size + 1) // 4 * 4
        value = size if numerator >= 0 else -size
        row.append(value & 0xFF | (code >> at & 1 if at < 8 else 0))
    return row
