"""Codes of items against the rows that they stand for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.features.item_codes import (
    LANES,
    OUTPUTS,
    PERSONAL_OUTPUTS,
    SECOND_HOPS,
    TEXT_VECTORS,
    ItemCodes,
    expected_row,
    multiply,
)

TEXT, DIMENSIONS = 11, 6
PARTS = {TEXT_VECTORS: TEXT, OUTPUTS: DIMENSIONS, PERSONAL_OUTPUTS: DIMENSIONS,
         SECOND_HOPS: DIMENSIONS}  # fmt: skip


def made(items: int, seed: int) -> tuple[ItemCodes, dict[int, np.ndarray]]:
    rng = np.random.default_rng(seed)
    codes = ItemCodes(TEXT, DIMENSIONS)
    codes.reserve(items)
    rows = {part: rng.normal(size=(items, width)).astype(np.float32)
            for part, width in PARTS.items()}  # fmt: skip
    for part, table in rows.items():
        table[::7] = 0.0
        codes.encode(part, np.arange(items, dtype=np.int32), table)
    return codes, rows


def in_blocks(items: int) -> int:
    return -(-items // LANES) * LANES


def decoded(codes: ItemCodes, part: np.int64, items: int) -> np.ndarray:
    """The rows that the codes of a part stand for."""
    first, end = codes.starts[part : part + 2]
    side_by_side = codes.codes[:, first:end].transpose(0, 2, 1).reshape(-1, end - first)
    return (side_by_side * codes.scales[part][:, np.newaxis].astype(np.float64))[:items]


@given(items=st.integers(1, 200), seed=st.integers(0, 1_000))
def test_a_code_is_no_further_from_its_number_than_half_a_step(items, seed):
    codes, rows = made(items, seed)
    for part, table in rows.items():
        steps = np.abs(table).max(axis=1, keepdims=True).astype(np.float64) / 127
        # A number halfway between two codes may get either, by the last bit of a division.
        assert (np.abs(decoded(codes, part, items) - table) <= 0.5001 * steps).all()


@given(items=st.integers(1, 200), seed=st.integers(0, 1_000))
def test_products_are_those_of_the_rows_in_eight_bits(items, seed):
    codes, rows = made(items, seed)
    rng = np.random.default_rng(seed + 1)
    for part, table in rows.items():
        vector = rng.normal(size=table.shape[1]).astype(np.float32)
        out = np.full(in_blocks(items), 5.0, np.float32)
        multiply(codes.arrays, part, vector, items, out)
        expected = decoded(codes, part, items) @ vector
        np.testing.assert_allclose(out[:items], expected, rtol=1e-5, atol=1e-4)


@given(items=st.integers(1, 200), seed=st.integers(0, 1_000))
def test_the_expected_row_is_that_of_the_rows_in_eight_bits(items, seed):
    codes, _ = made(items, seed)
    weights = np.random.default_rng(seed).random(in_blocks(items)).astype(np.float32)
    expected = weights[:items] @ decoded(codes, TEXT_VECTORS, items)
    out = np.empty(TEXT, np.float32)
    expected_row(codes.arrays, TEXT_VECTORS, weights, items, out)
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-3)


def test_more_room_keeps_what_is_there_and_none_is_held_once_dropped():
    codes, rows = made(65, seed=3)
    before = codes.scales.copy()
    codes.reserve(300)
    assert codes.codes.shape == (5, TEXT + 3 * DIMENSIONS, 64)
    np.testing.assert_array_equal(codes.scales[:, :65], before[:, :65])
    codes.drop()
    codes.encode(OUTPUTS, np.array([3], np.int32), rows[OUTPUTS])
    assert codes.codes.size == codes.scales.size == 0


@pytest.mark.parametrize("largest", [0.0, 1e-30, 1e30])
def test_a_row_of_any_size_is_encoded(largest):
    codes = ItemCodes(TEXT, DIMENSIONS)
    codes.reserve(1)
    rows = np.array([[largest, -largest, largest / 2, 0, 0, 0]], np.float32)
    codes.encode(OUTPUTS, np.zeros(1, np.int32), rows)
    out = np.empty(LANES, np.float32)
    one = np.array([1, 0, 0, 0, 0, 0], np.float32)
    multiply(codes.arrays, OUTPUTS, one, 1, out)
    assert out[0] == pytest.approx(largest, rel=1e-5, abs=1e-38)
