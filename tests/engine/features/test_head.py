"""The head: scores, softmax, the best k, and its gradient."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.features import head
from engine.features.feature import GRAPH_PART, TEXT_PART, TREND_PART
from engine.features.head import EXCLUDED, Head
from engine.features.newton import learn_weights
from engine.features.table import (
    FEATURES,
    row,
)
from tests.engine.kernels import best, expected, expected_row, probable

NEWTON = np.empty((2, FEATURES * 5))
scores = st.lists(st.sampled_from([float(EXCLUDED), -1.0, 0.0, 0.5, 2.0]) | st.floats(-9, 9))


def random_features(seed: int, items: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(FEATURES, items)).astype(np.float32)


@given(scores, st.integers(1, 12))
def test_the_best_k_are_those_of_a_stable_sort(values: list[float], k: int) -> None:
    row = np.array(values, np.float32)
    order = np.argsort(-row, kind="stable")
    expected_order = [number for number in order.tolist() if row[number] > EXCLUDED][:k]
    assert best(row, k).tolist() == expected_order


def test_when_all_are_excluded_nothing_is_best() -> None:
    assert best(np.full(4, EXCLUDED), 3).tolist() == []


@given(scores.filter(lambda values: max(values, default=EXCLUDED) > EXCLUDED))
def test_softmax_sums_to_one_and_gives_the_excluded_nothing(values: list[float]) -> None:
    row = np.array(values, np.float32)
    probabilities = probable(row)
    assert probabilities.sum() == pytest.approx(1.0, abs=1e-5)
    assert not probabilities[row == EXCLUDED].any()
    exact = np.exp(row.astype(np.float64) - row.max())
    np.testing.assert_allclose(probabilities, exact / exact.sum(), rtol=1e-4, atol=1e-12)


@given(st.integers(0, 2**32 - 1))
def test_the_error_is_the_gradient_of_the_cross_entropy_by_the_weights(seed: int) -> None:
    features = random_features(seed, items=9)
    weights = np.random.default_rng([seed, 1]).normal(size=FEATURES)
    item = seed % 9

    def loss(at: NDArray[np.float64]) -> float:
        logits = at @ features.astype(np.float64)
        return float(np.log(np.exp(logits).sum()) - logits[item])

    numeric = [
        (loss(weights + 1e-5 * unit) - loss(weights - 1e-5 * unit)) / 2e-5
        for unit in np.eye(FEATURES)
    ]
    probabilities = probable((weights @ features).astype(np.float32))
    error = expected(features, probabilities) - features[:, item]
    np.testing.assert_allclose(error, numeric, atol=1e-4)


def test_a_step_lowers_the_loss_of_what_was_taken() -> None:
    features, learnt = random_features(7, items=30), Head()
    context = np.array([1.0, 0.4, -0.3, 0.2, 0.1], np.float32)
    losses, weights = [], np.zeros(FEATURES, np.float32)
    for _ in range(20):
        head.feature_weights(learnt.arrays, context, weights)
        probabilities = probable((weights @ features).astype(np.float32))
        losses.append(-float(np.log(probabilities[3])))
        error = expected(features, probabilities) - features[:, 3]
        learn_weights(learnt.arrays, error, context, NEWTON)
    assert losses == sorted(losses, reverse=True)


def test_the_weight_of_dislikes_is_never_learnt() -> None:
    learnt, context = Head(), np.ones(5, np.float32)
    before = learnt.weights.copy()
    error = np.full(FEATURES, -1.0, np.float32)
    learn_weights(learnt.arrays, error, context, NEWTON)
    np.testing.assert_array_equal(learnt.weights[row("disliked")], before[row("disliked")])
    assert (
        np.delete(learnt.weights, row("disliked"), 0) > np.delete(before, row("disliked"), 0)
    ).all()


@pytest.mark.parametrize(
    ("model", "off"),
    [("gnn", [row("text"), row("new_text")]), ("llm", list(range(row("popular")))), ("hybrid", [])],
)
def test_parts_that_are_off_weigh_nothing_and_learn_nothing(model: str, off: list[int]) -> None:
    learnt = Head(model)
    assert np.flatnonzero(learnt.active == 0).tolist() == off
    error = np.ones(FEATURES, np.float32)
    learn_weights(learnt.arrays, error, np.ones(5, np.float32), NEWTON)
    assert not learnt.weights[off].any()


def test_a_step_on_biases_raises_what_was_taken_and_lowers_what_competed() -> None:
    learnt = Head()
    candidates = np.array([4, 7, 9], np.int32)
    probabilities = np.array([0.2, 0.5, 0.3], np.float32)
    head.learn_bias(learnt.arrays, candidates, False, probabilities, 1)
    gradient = np.array([0.2, -0.5, 0.3])
    np.testing.assert_allclose(
        learnt.bias[candidates], -0.1 * gradient / np.sqrt(1 + gradient**2), rtol=1e-5
    )
    assert np.flatnonzero(learnt.bias).tolist() == [4, 7, 9]


def test_a_score_is_the_bias_and_the_weighted_sum() -> None:
    features = random_features(1, items=8)
    weights = np.arange(FEATURES, dtype=np.float32)
    bias = np.linspace(-1, 1, 8).astype(np.float32)
    out = np.empty(6, np.float32)
    head.combine(features, weights, bias, 6, out)
    np.testing.assert_allclose(out, (weights @ features + bias)[:6], rtol=1e-4)


def test_the_context_of_a_user_gates_the_weights() -> None:
    made = Head()
    made.weights[row("text")] = (1.0, -0.5, 0.0, 2.0, 0.0)
    context = np.array([1.0, 0.4, 9.0, 0.25, 9.0], np.float32)
    weights = np.empty(FEATURES, np.float32)
    head.feature_weights(made.arrays, context, weights)
    assert weights[row("text")] == pytest.approx(1.3)


@pytest.mark.parametrize(
    ("loudest", "part"),
    [
        (row("directed"), GRAPH_PART), (row("symmetric"), GRAPH_PART),
        (row("saturating"), GRAPH_PART), (row("graph"), GRAPH_PART),
        (row("popular"), TREND_PART), (row("trending"), TREND_PART),
        (row("stage"), TREND_PART), (row("text"), TEXT_PART),
        (row("personal"), GRAPH_PART), (row("second_hop"), GRAPH_PART),
        (row("age"), TREND_PART), (row("quality"), TREND_PART),
        (row("new_text"), TEXT_PART),
    ],
)  # fmt: skip
def test_the_part_that_speaks_most_is_named(loudest: int, part: int) -> None:
    features = np.full((FEATURES, 3), 0.1, np.float32)
    features[loudest, 1] = 5.0
    weights = np.ones(FEATURES, np.float32)
    assert head.strongest_part(features, weights, np.ones(FEATURES, np.float32), 1) == part


def test_dot_rows_is_the_product_of_numpy() -> None:
    table = random_features(5, items=6).T.copy()
    vector = np.arange(FEATURES, dtype=np.float32)
    out = np.full(6, np.nan, np.float32)
    head.dot_rows(table, vector, 4, out)
    np.testing.assert_allclose(out[:4], table[:4] @ vector, rtol=1e-4)
    assert np.isnan(out[4:]).all()


@pytest.mark.parametrize("items", [1, 3, 4, 5, 8, 11])
def test_expected_vector_is_the_product_of_numpy(items: int) -> None:
    table = random_features(5, items=20).T.copy()
    probabilities = probable(np.linspace(-2, 2, items).astype(np.float32))
    np.testing.assert_allclose(
        expected_row(table, probabilities), probabilities @ table[:items], atol=1e-4
    )
