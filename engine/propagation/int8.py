"""Propagation in 8 bits, as overlays/FORMAT.md defines it: the same bytes as the FPGA core.

Integers alone, so that neither the order of sums nor fused operations change a result.
"""

from __future__ import annotations

import numpy as np

from engine.compiled import kernel

RECENT, HASHED, ALL = 0, 1, 2
MOST = 64


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
            size = min(abs(value), 127.5)
            units = np.int64(size * 16777216.0 + 0.5)
            sums[d] = -units if value < 0 else units
        _quantise(sums, np.int64(16), np.int64(0), out[row])


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
    half = np.int64(1) << (shift - 1) if shift else np.int64(0)
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
                slot = (newest - 1 - q) & (length - 1)
            edge = np.int64(edges[target, slot])
            weight = ((edge >> 24) * fade + 128) >> 8
            if mode != HASHED:
                fade = (fade * decay + 32768) >> 16
            total += weight
            row = table[edge & 0xFF_FFFF]
            code = np.int64(0)
            for d in range(8):
                code |= np.int64(row[d] & 1) << d
            product = weight * ((16 + (code & 15)) << (code >> 4))
            coefficient = np.int32(min(np.int64(65535), (product + half) >> shift))
            for d in range(8):
                sums[d] += coefficient * np.int32(np.int8(row[d] & 0xFE))
            for d in range(8, width):
                sums[d] += coefficient * np.int32(np.int8(row[d]))
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
    divisor = ((16 + m) << e) * weight
    for d in range(width):
        size = min((2 * (abs(sums[d]) << shift) + divisor) // (2 * divisor), np.int64(127))
        if d < 8:
            if size & 1:
                size = np.int64(126) if size == 127 else (size + 1) & ~np.int64(3)
            value = -size if sums[d] < 0 else size
            row[d] = np.uint8((value & 0xFF) | (code >> d & 1))
        else:
            row[d] = np.uint8((-size if sums[d] < 0 else size) & 0xFF)
