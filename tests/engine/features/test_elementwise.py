"""The vectorised exponential and logarithm against float64."""

from __future__ import annotations

import numpy as np

from engine.features.elementwise import exp_in_place, log_in_place


def test_the_exponential_is_exact_to_float32() -> None:
    values = np.linspace(-87, 88, 100_001, dtype=np.float32)
    found = values.copy()
    exp_in_place(found)
    np.testing.assert_allclose(found, np.exp(values.astype(np.float64)), rtol=1e-6)


def test_what_is_far_below_gives_next_to_nothing() -> None:
    found = np.array([-1e30, -1e4, -88.0, 0.0], np.float32)
    exp_in_place(found)
    assert (found[:3] < 2e-38).all()
    assert found[3] == 1.0


def test_the_logarithm_is_exact_to_float32() -> None:
    values = np.exp(np.linspace(-87, 88, 100_001)).astype(np.float32)
    found = values.copy()
    log_in_place(found)
    np.testing.assert_allclose(found, np.log(values.astype(np.float64)), rtol=1e-6, atol=1e-7)
