"""The Newton step against a plain one with a matrix inverse, and on a problem that is known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.features import head
from engine.features.context import CONTEXTS
from engine.features.head import Head
from engine.features.newton import learn_weights, prior
from engine.features.table import FEATURES, LEARNT, row
from engine.step.model import _pull
from tests.engine.kernels import expected, probable

SIZE = FEATURES * CONTEXTS
SCRATCH = np.empty((2, SIZE))
DRIFT = 1e-5


def draws(seed: int, count: int) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Errors of features, and contexts."""
    draw = np.random.default_rng(seed)
    return [
        (draw.normal(size=FEATURES).astype(np.float32), draw.normal(size=5).astype(np.float32))
        for _ in range(count)
    ]


def test_steps_are_those_of_the_inverse_of_the_summed_outer_products() -> None:
    learnt = Head()
    weights, covariance = learnt.weights.copy(), prior().reshape(SIZE, SIZE).copy()
    variances = covariance.diagonal().copy()
    for error, context in draws(1, 50):
        learn_weights(learnt.arrays, error, context, SCRATCH)
        gradient = np.outer(error * np.array(LEARNT), context).reshape(SIZE).astype(np.float64)
        covariance = np.linalg.inv(np.linalg.inv(covariance) + np.outer(gradient, gradient))
        weights -= (covariance @ gradient).reshape(weights.shape)
        drift = DRIFT * np.maximum(0, variances - covariance.diagonal())
        covariance += np.diag(drift)
    np.testing.assert_allclose(learnt.weights, weights, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(learnt.covariance.reshape(SIZE, SIZE), covariance, atol=1e-7)


def test_what_is_never_felt_keeps_its_prior_and_what_is_stays_within() -> None:
    learnt = Head("gnn")
    for error, context in draws(2, 2000):
        learn_weights(learnt.arrays, error, context, SCRATCH)
    before, after = prior(), learnt.covariance
    for name in ("disliked", "text"):
        np.testing.assert_array_equal(after[row(name)], before[row(name)])
    flat = after.reshape(SIZE, SIZE)
    np.testing.assert_allclose(flat, flat.T, atol=1e-12)
    eigenvalues = np.linalg.eigvalsh(flat)
    assert eigenvalues.min() > 0
    assert eigenvalues.max() <= before.max() * 1.001


def test_weights_that_made_the_choices_are_found_though_features_go_together() -> None:
    """Two features of which one is the other and a little noise: first-order steps mix them."""
    draw = np.random.default_rng(3)
    learnt, context = Head(), np.array([1, 0, 0, 0, 0], np.float32)
    directed, symmetric = row("directed"), row("symmetric")
    weights = np.zeros(FEATURES, np.float32)
    for _ in range(3000):
        features = np.zeros((FEATURES, 20), np.float32)
        features[directed] = draw.normal(size=20)
        features[symmetric] = features[directed] + 0.3 * draw.normal(size=20)
        chances = probable(1.0 * features[directed] - 0.4 * features[symmetric])
        target = int(draw.choice(20, p=chances / chances.sum()))
        head.feature_weights(learnt.arrays, context, weights)
        error = expected(features, probable(weights @ features))
        error -= features[:, target]
        learn_weights(learnt.arrays, error, context, SCRATCH)
    found = learnt.weights[[directed, symmetric], 0]
    assert found == pytest.approx([1.0, -0.4], abs=0.2)


def test_embeddings_of_a_weight_below_zero_are_pulled_the_other_way() -> None:
    """They ran away, and ranking with them, when the head's weight fell below zero."""
    pulls = [float(_pull(np.float32(weight))) for weight in (-3, -0.05, 0, 0.02, 0.1, 1)]
    assert pulls == pytest.approx([-1, -0.5, 0, 0.2, 1, 1])
