"""A user's taste: decayed profiles and maps that learn."""

from __future__ import annotations

import numpy as np
import pytest

from engine.text.taste import Taste, learn_maps
from tests.engine.kernels import direction

WIDTH = 6


def test_profiles_are_exponential_means_short_and_long() -> None:
    taste = Taste(WIDTH)
    read = np.random.default_rng(0).normal(size=(5, WIDTH)).astype(np.float32)
    for vector in read:
        taste.record(3, vector)
    for profile, keep in zip(taste.profiles[3], (0.6, 0.95), strict=True):
        expected = sum((1 - keep) * keep ** (4 - n) * vector for n, vector in enumerate(read))
        np.testing.assert_allclose(profile, expected, rtol=1e-4, atol=1e-6)
    assert np.flatnonzero(taste.profiles.any(axis=(1, 2))).tolist() == [3]


def test_a_match_starts_as_the_cosine_with_both_profiles() -> None:
    taste = Taste(WIDTH)
    taste.record(0, np.eye(WIDTH, dtype=np.float32)[2])
    expected = [0, 0, 0.4 + 0.05, 0, 0, 0]
    np.testing.assert_allclose(direction(taste, 0), expected, atol=1e-6)


def test_a_step_goes_against_the_gradient() -> None:
    taste = Taste(WIDTH)
    liked, shown = np.eye(WIDTH, dtype=np.float32)[:2]
    taste.record(0, liked + shown)

    def margin() -> float:
        return float((liked - shown) @ direction(taste, 0))

    before = margin()
    learn_maps(taste.arrays, 0, 0.5 * (shown - liked))
    assert margin() > before
    assert (taste.accumulated >= 1).all()


def test_a_forgotten_user_has_no_profile_and_others_keep_theirs() -> None:
    taste = Taste(WIDTH)
    for user in (0, 1):
        taste.record(user, np.ones(WIDTH, np.float32))
    taste.forget(0)
    assert not taste.profiles[0].any()
    assert taste.profiles[1, 0] == pytest.approx(0.4)
    taste.reserve(5000)
    assert taste.profiles[1, 0] == pytest.approx(0.4)
    assert len(taste.profiles) >= 5000
