"""Propagation in 8 bits, as overlays/FORMAT.md defines it: the same bytes as the FPGA core.

Integers alone, so that neither the order of sums nor fused operations change a result.
"""

from __future__ import annotations

import numpy as np

from engine.compiled import kernel
from engine.graph import NODES

RECENT, HASHED, ALL = 0, 1, 2
MOST = 64
"""Neighbours of one target at most."""
SCALE_BITS = 8
"""First values of a row, whose lowest bits hold its scale."""
LARGEST_WEIGHT = (255 * 32768 + 128) >> 8
"""Of an edge that nothing fades."""


@kernel
def coefficient(product, shift):  # type: ignore[no-untyped-def]
    """What a row's values are multiplied by: c_q of the product of weight and scale."""
    half = np.int64(1) << (shift - 1) if shift else np.int64(0)
    return min(np.int64(65535), (product + half) >> shift)


@kernel
def scale_code(row):  # type: ignore[no-untyped-def]
    """The scale code of an embedding row: bit 0 of its first eight bytes."""
    code = np.int64(0)
    for d in range(SCALE_BITS):
        code |= np.int64(row[d] & 1) << d
    return code


@kernel
def scale_of(code):  # type: ignore[no-untyped-def]
    """S of a scale code."""
    return (16 + (code & 15)) << (code >> 4)


@kernel
def dequantise_rows(rows, out):  # type: ignore[no-untyped-def]
    """Write what embedding rows (u8[n, d]) stand for to out (float32[n, d])."""
    for t in range(len(rows)):
        scale = np.float32(scale_of(scale_code(rows[t])) / 1048576.0)
        for d in range(rows.shape[1]):
            value = rows[t, d] & 0xFE if d < SCALE_BITS else rows[t, d]
            out[t, d] = np.float32(np.int8(value)) * scale


@kernel
def aggregate_dequantised(targets, degrees, edges, table, fanout, decay, shift, out):  # type: ignore[no-untyped-def]
    """`aggregate` of the most recent neighbours, written to float32[n, d]."""
    rows = np.empty(out.shape, np.uint8)
    aggregate(targets, degrees, edges, table, fanout, RECENT, decay, shift, 1, rows)
    dequantise_rows(rows, out)


@kernel
def quantise_rows(values, rows, out):  # type: ignore[no-untyped-def]
    """Quantise some rows of float vectors.

    Parameters
    ----------
    values
        float32[m, d], finite.
    rows
        int[n], which to quantise.
    out
        u8[m, d]; the rows named are replaced.
    """
    width = values.shape[1]
    sums = np.empty(width, np.int64)
    for row in rows:
        for d in range(width):
            value = np.float64(values[row, d])
            size = np.minimum(np.abs(value), 127.5)
            units = np.int64(size * 16777216.0 + 0.5)
            sums[d] = -units if value < 0 else units
        _quantise(sums, np.int64(16), np.int64(0), out[row])


@kernel
def renew_rows(values, rows, have, out, codes):  # type: ignore[no-untyped-def]
    """Quantise rows of a table of which the first `have` were quantised before.

    codes : int64[256], how many rows have each scale code; kept up.
    """
    for at in range(len(rows)):
        row = rows[at]
        if row < have:
            codes[scale_code(out[row])] -= 1
        # Two of the fresh rows are never the same.
        quantise_rows(values, rows[at : at + 1], out)
        codes[scale_code(out[row])] += 1


@kernel
def aggregate(targets, degrees, edges, table, fanout, mode, decay, shift, seed, out):  # type: ignore[no-untyped-def]
    """Weighted means of the sampled neighbours' embeddings.

    Parameters
    ----------
    targets
        u32[n], node numbers.
    degrees
        u64[nodes], edges ever inserted.
    edges
        u32[nodes, length], ring rows: neighbour in bits 23..0, weight in 31..24.
    table
        u8[m, d], the neighbours' embedding rows.
    fanout, mode, decay, shift, seed
        As the core's registers of these names.
    out
        u8[n, d], overwritten.
    """
    length = np.int64(edges.shape[1])
    width = table.shape[1]
    sums = np.empty(width, np.int32)
    wide = np.empty(width, np.int64)
    for t in range(len(targets)):
        target = np.int64(targets[t])
        newest = np.int64(degrees[target] & np.uint64(0x7FFF_FFFF_FFFF_FFFF))
        held = length if degrees[target] >= np.uint64(length) else newest
        hashed = mode == HASHED and held > fanout
        count = min(held, MOST if mode == ALL else fanout)
        state = _xorshift(((target >> 16 | target << 16) & 0xFFFF_FFFF) ^ seed | 1)
        fade = np.int64(32768)
        total = np.int64(0)
        sums[:] = 0
        for q in range(count):
            if hashed:
                slot = ((state >> 16) * held) >> 16
                state = _xorshift(state)
            else:
                slot = (newest - 1 - q) % length
            edge = np.int64(edges[target, slot])
            weight = ((edge >> 24) * fade + 128) >> 8
            if mode != HASHED:
                fade = (fade * decay + 32768) >> 16
            total += weight
            row = table[edge & (NODES - 1)]
            share = np.int32(coefficient(weight * scale_of(scale_code(row)), shift))
            for d in range(SCALE_BITS):
                sums[d] += share * np.int32(np.int8(row[d] & 0xFE))
            for d in range(SCALE_BITS, width):
                sums[d] += share * np.int32(np.int8(row[d]))
        for d in range(width):
            wide[d] = sums[d]
        _quantise(wide, total, np.int64(shift), out[t])


@kernel
def _xorshift(state):  # type: ignore[no-untyped-def]
    state ^= (state << 13) & 0xFFFF_FFFF
    state ^= state >> 17
    return state ^ ((state << 5) & 0xFFFF_FFFF)


@kernel
def _quantise(sums, weight, shift, row):  # type: ignore[no-untyped-def]
    """The embedding row of sums / weight * 2**(shift - 20)."""
    width = len(sums)
    peak = np.int64(0)
    for d in range(width):
        peak = max(peak, abs(sums[d]))
    if weight == 0 or peak == 0:
        for d in range(width):
            row[d] = 0
        return
    # The smallest scale with 127 * scale * weight >= peak << shift; sums are below 2**31.
    need = -(-(peak << shift) // (127 * weight))
    e = 0
    while e < 15 and need > np.int64(31) << e:
        e += 1
    m = min(np.int64(15), max(np.int64(0), ((need + (np.int64(1) << e) - 1) >> e) - 16))
    code = e << 4 | m
    divisor = scale_of(code) * weight
    for d in range(width):
        size = min((2 * (abs(sums[d]) << shift) + divisor) // (2 * divisor), np.int64(127))
        if d < SCALE_BITS:
            if size & 1:
                size = np.int64(126) if size == 127 else (size + 1) & ~np.int64(3)
            value = -size if sums[d] < 0 else size
            row[d] = np.uint8((value & 0xFF) | (code >> d & 1))
        else:
            row[d] = np.uint8((-size if sums[d] < 0 else size) & 0xFF)
