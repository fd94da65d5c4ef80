"""Learnt tables: what a step improves, what it leaves alone, and where they start."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.features.item_codes import ItemCodes
from engine.graph import InteractionGraph
from engine.propagation.embeddings import MOST_DRAWN, GraphEmbeddings, learn_tables
from engine.propagation.registry import make_aggregator
from tests.engine.kernels import insert_both, probable

DIMENSIONS, ITEMS = 16, 200


def embeddings(seed: int = 0) -> GraphEmbeddings:
    return GraphEmbeddings(make_aggregator("numba", 32), DIMENSIONS, seed)


def history_of(graph: InteractionGraph, user: int) -> NDArray[np.int32]:
    return graph.users.recent_ids(user, 30)


def graph_of(user: int, items: list[int]) -> InteractionGraph:
    graph = InteractionGraph(64, 32)
    for time, item in enumerate(items):
        insert_both(graph, user, item, 1.0, time)
    return graph


EVERY = np.arange(2000, dtype=np.int32)


def step(
    made: GraphEmbeddings,
    history: NDArray[np.int32],
    candidates: NDArray[np.int32],
    probabilities: NDArray[np.float32],
    target: int,
) -> None:
    scratch = np.empty((2, DIMENSIONS), np.float32)
    whole = np.float32(1.0)
    codes, drawn = ItemCodes(4, scratch.shape[1]), np.empty(MOST_DRAWN, np.int32)
    learn_tables(
        made.arrays, codes.arrays, 7, history, candidates, probabilities, target, whole, whole,
        scratch, drawn,
    )  # fmt: skip


def learn(
    made: GraphEmbeddings,
    graph: InteractionGraph,
    probabilities: NDArray[np.float32],
    target: int = 100,
) -> None:
    step(made, history_of(graph, 7), EVERY[: len(probabilities)], probabilities, target)


def probabilities_for(made: GraphEmbeddings, user: int) -> NDArray[np.float32]:
    return probable(made.outputs[:ITEMS] @ made.users[user])


@pytest.mark.parametrize("seed", range(5))
def test_a_step_lowers_the_loss_of_what_the_user_took(seed: int) -> None:
    made, graph = embeddings(seed), graph_of(7, [3, 9, 27, 81])
    made.propagate(graph, 7, 9)
    losses = []
    for _ in range(6):
        probabilities = probabilities_for(made, 7)
        losses.append(-float(np.log(probabilities[100])))
        learn(made, graph, probabilities)
        made.propagate(graph, 7, 9)
    assert losses == sorted(losses, reverse=True)


def test_a_step_moves_only_the_rows_it_is_about() -> None:
    made, graph = embeddings(), graph_of(7, [3, 9])
    made.propagate(graph, 7, 9)
    inputs, outputs, users = made.inputs.copy(), made.outputs.copy(), made.users.copy()
    probabilities = np.zeros(ITEMS, np.float32)
    probabilities[50:60] = 0.1
    learn(made, graph, probabilities)
    for table in range(2):
        moved = (made.inputs[table] != inputs[table]).any(axis=1)
        assert np.flatnonzero(moved).tolist() == [3, 9]
    moved = (made.outputs != outputs).any(axis=1)
    assert np.flatnonzero(moved).tolist() == [*range(50, 60), 100]
    np.testing.assert_array_equal(made.users, users)
    made.propagate(graph, 7, 9)
    assert np.flatnonzero((made.users != users).any(axis=1)).tolist() == [7]


def test_what_was_taken_is_never_its_own_negative() -> None:
    made, graph = embeddings(), graph_of(7, [3, 9])
    made.propagate(graph, 7, 9)
    user, before = made.users[7].copy(), made.outputs[100].copy()
    probabilities = np.full(ITEMS, 0.4 / (ITEMS - 1), np.float32)
    probabilities[100] = 0.6  # more than half of the samples fall on it
    learn(made, graph, probabilities)
    error = -0.4
    step = 0.2 * error / np.sqrt(1 + error**2 * np.mean(user**2))
    np.testing.assert_allclose(made.outputs[100], before - step * user, rtol=1e-4, atol=1e-6)


def test_the_96_negatives_are_spread_by_the_models_own_softmax() -> None:
    made, graph = embeddings(), graph_of(7, [3, 9])
    made.propagate(graph, 7, 9)
    before = made.outputs.copy()
    probabilities = np.full(1000, 0.9 / 500, np.float32)
    probabilities[500:] = 0.1 / 500
    learn(made, graph, _with_item(probabilities), target=1001)
    moved = (made.outputs != before).any(axis=1)
    assert moved[:500].sum() == pytest.approx(0.9 * 96, abs=1)
    assert moved[500:1000].sum() == pytest.approx(0.1 * 96, abs=1)


def _with_item(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.concatenate([probabilities, np.zeros(2, np.float32)])


def test_a_users_embedding_is_the_sum_of_a_long_and_a_short_mean() -> None:
    made, graph = embeddings(), graph_of(7, [3, 9])
    made.propagate(graph, 7, 9)
    long = (made.inputs[0, 9] + 0.9 * made.inputs[0, 3]) / 1.9
    short = (made.inputs[1, 9] + 0.5 * made.inputs[1, 3]) / 1.5
    np.testing.assert_allclose(made.users[7], 10 * long + 2 * short, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("growth", [[9000], [1025, 1026, 9000], [2048, 4096, 9000]])
def test_equal_seeds_give_equal_tables_whenever_they_grew(growth: list[int]) -> None:
    made, other = embeddings(seed=5), embeddings(seed=5)
    for items in range(1100, 9000, 700):
        other.reserve_items(items)
    other.reserve_items(9000)
    for items in growth:
        made.reserve_items(items)
    np.testing.assert_array_equal(made.outputs[:9000], other.outputs[:9000])
    np.testing.assert_array_equal(made.inputs[:, :9000], other.inputs[:, :9000])
    np.testing.assert_array_equal(made.personal_outputs[:9000], other.personal_outputs[:9000])
    assert made.inputs.flags["C_CONTIGUOUS"]
    assert made.outputs.flags["C_CONTIGUOUS"]


def test_candidates_are_learnt_by_their_numbers_not_their_positions() -> None:
    made, graph = embeddings(), graph_of(7, [3, 9])
    made.propagate(graph, 7, 9)
    outputs = made.outputs.copy()
    candidates = np.array([40, 60, 80], np.int32)
    probabilities = np.array([0.3, 0.3, 0.4], np.float32)
    step(made, history_of(graph, 7), candidates, probabilities, 1)
    moved = np.flatnonzero((made.outputs != outputs).any(axis=1)).tolist()
    assert moved == [40, 60, 80]
    towards = (made.outputs - outputs) @ made.users[7]
    assert towards[60] > 0 > max(towards[40], towards[80])


def test_a_step_moves_the_users_personal_embedding_and_nobody_elses() -> None:
    made, graph = embeddings(), graph_of(7, [3, 9])
    made.propagate(graph, 7, 9)
    assert not made.personal.any()
    for _ in range(3):
        learn(made, graph, np.full(ITEMS, 1 / ITEMS, np.float32))
    assert np.flatnonzero(made.personal.any(axis=1)).tolist() == [7]
    assert made.personal[7] @ made.personal_outputs[100] > 0
    assert np.linalg.norm(made.directions[7]) == pytest.approx(1.0, abs=1e-3)
    cosine = made.directions[7] @ made.personal[7] / np.linalg.norm(made.personal[7])
    assert cosine == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("backend", ["numba", "numpy"])
@pytest.mark.parametrize("takers", [1, 5, 40])
def test_an_items_second_hop_is_the_shrunk_mean_of_its_last_takers(
    backend: str, takers: int
) -> None:
    made = GraphEmbeddings(make_aggregator(backend, 32), DIMENSIONS, 0)
    made.directions[:50] = np.random.default_rng(1).normal(size=(50, DIMENSIONS))
    graph = InteractionGraph(64, 32)
    for user in range(takers):
        insert_both(graph, user, 9, 1.0, user)
    made.propagate(graph, takers - 1, 9)
    last = list(range(takers))[::-1][:32]
    weights = np.array([0.97**q for q in range(len(last))])
    expected = 3 * (weights @ made.directions[last]) / (weights.sum() + 2)
    np.testing.assert_allclose(made.second_hop[9], expected, rtol=1e-4, atol=1e-5)
    assert np.flatnonzero(made.second_hop.any(axis=1)).tolist() == [9]


def test_growing_keeps_what_was_learnt() -> None:
    made, graph = embeddings(), graph_of(7, [3, 9])
    made.propagate(graph, 7, 9)
    learn(made, graph, probabilities_for(made, 7))
    inputs, outputs, users = made.inputs.copy(), made.outputs.copy(), made.users.copy()
    made.reserve_items(5000)
    made.reserve_users(5000)
    np.testing.assert_array_equal(made.inputs[:, : inputs.shape[1]], inputs)
    np.testing.assert_array_equal(made.outputs[: len(outputs)], outputs)
    np.testing.assert_array_equal(made.users[: len(users)], users)
    assert not made.users[len(users) :].any()


def test_another_seed_gives_other_tables_of_the_documented_spread() -> None:
    one, two = embeddings(seed=1), embeddings(seed=2)
    assert not np.array_equal(one.outputs, two.outputs)
    assert one.outputs.std() == pytest.approx(0.1, rel=0.05)
