"""The kernels of engine/propagation/int8.py give the reference's bytes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from problems import problem

from engine.propagation import int8
from overlays import reference


@pytest.mark.parametrize("dimensions", [32, 64, 128])
def test_aggregates_as_the_reference(dimensions: int) -> None:
    rng = np.random.default_rng(dimensions)
    for _ in range(300):
        batch = problem(rng, dimensions)
        out = np.full((len(batch.targets), dimensions), 0xA5, np.uint8)
        int8.aggregate(
            batch.targets, batch.degrees, batch.edges, batch.table, batch.fanout, batch.mode,
            batch.decay, batch.shift, batch.seed, out,
        )  # fmt: skip
        np.testing.assert_array_equal(out, batch.expected())


@settings(max_examples=200, deadline=None)
@given(arrays(np.float32, (2, 32), elements=st.floats(-200, 200, width=32)))
def test_quantises_as_the_reference(values: np.ndarray) -> None:
    out = np.full((3, 32), 0xA5, np.uint8)
    int8.quantise_rows(np.vstack([values, values[:1]]), np.array([0, 1]), out)
    np.testing.assert_array_equal(out[:2], reference.quantise(values))
    assert (out[2] == 0xA5).all()


@pytest.mark.parametrize("size", [1e-5, 1e-3, 0.1, 1.0, 30.0, 120.0])
def test_a_quantised_vector_is_near(size: float) -> None:
    values = (np.random.default_rng(0).uniform(-size, size, (50, 64))).astype(np.float32)
    rows = reference.quantise(values)
    step = reference.row_scales(rows) * 2.0**-20
    error = np.abs(reference.dequantise(rows) - values) / step[:, np.newaxis]
    assert error[:, 8:].max() <= 0.51
    assert error[:, :8].max() <= 1.51
    # No scale is coarser than it must be: half as large a one would saturate.
    peaks = np.abs(values).max(axis=1)
    coarse = reference.row_scales(rows) > 31
    assert (peaks[coarse] / step[coarse] > 127 * 15.9 / 17).all()


def test_ties_of_even_values_and_127() -> None:
    # W = 1, S = 16: a sum is 16 times its value.
    sums = np.zeros(32, np.int64)
    sums[:8] = np.array([127, -127, 125, 1, 3, -3, -5, 2]) * 16
    sums[8:12] = [127 * 16, 8, -8, 7]
    row = np.array(reference.quantise_sum(sums, 1, 0), np.uint8).view(np.int8)
    assert row[:12].tolist() == [126, -126, 124, 0, 4, -4, -4, 2, 127, 1, -1, 0]
