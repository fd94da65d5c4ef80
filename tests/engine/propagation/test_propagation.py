"""Eq. 1: every backend against the plain numpy reference."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import EngineSettings, Recommender
from engine.graph import NeighbourRows
from engine.propagation import Aggregation, Aggregator, BackendError
from engine.propagation.registry import make_aggregator

ITEMS, DIMENSIONS = 30, 8


def random_graph(seed: int, length: int) -> NeighbourRows:
    """Nodes of degree 0 to well above the row's length, some edges without weight."""
    rng = np.random.default_rng(seed)
    graph = NeighbourRows(length, nodes=12)
    for node in range(12):
        for _ in range(rng.integers(0, 3 * length)):
            weight = float(rng.choice([0.0, 0.4, 0.6, 1.0]))
            graph.insert(node, int(rng.integers(ITEMS)), weight, 0)
    return graph


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    length=st.integers(1, 20),
    fanout=st.integers(1, 25),
    decay=st.floats(0.05, 1.0),
    targets=st.lists(st.integers(0, 11), max_size=6),
)
def test_numba_agrees_with_the_reference(
    seed: int, length: int, fanout: int, decay: float, targets: list[int]
) -> None:
    graph = random_graph(seed, length)
    table = np.random.default_rng(seed).normal(size=(ITEMS, DIMENSIONS)).astype(np.float32)
    nodes = np.array(targets, np.int32)
    results = []
    for backend in ("numba", "numpy"):
        out = np.full((len(nodes), DIMENSIONS), np.nan, np.float32)
        asked = Aggregation(graph, nodes, "table", table, decay, out)
        make_aggregator(backend, fanout).aggregate(asked)
        results.append(out)
    np.testing.assert_allclose(*results, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_a_hand_made_example(backend: str) -> None:
    graph = NeighbourRows(4)
    graph.insert(0, 1, 0.4, 0)
    graph.insert(0, 2, 0.8, 1)  # the most recent: weight .8, the older one .4 * .5
    table = np.array([[9, 9], [1, 0], [0, 1]], np.float32)
    out = np.empty((2, 2), np.float32)
    make_aggregator(backend, 4).aggregate(
        Aggregation(graph, np.array([0, 5], np.int32), "table", table, 0.5, out)
    )
    np.testing.assert_allclose(out, [[0.2, 0.8], [0.0, 0.0]], rtol=1e-6)


@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_a_batch_gives_what_each_target_alone_gives(backend: str) -> None:
    graph = random_graph(seed=3, length=9)
    table = np.random.default_rng(3).normal(size=(ITEMS, DIMENSIONS)).astype(np.float32)
    aggregator = make_aggregator(backend, 7)
    targets = np.array([*range(12), 4, 4], np.int32)
    batch = np.empty((len(targets), DIMENSIONS), np.float32)
    aggregator.aggregate(Aggregation(graph, targets, "table", table, 0.8, batch))
    for row, target in zip(batch, targets, strict=True):
        alone = np.empty((1, DIMENSIONS), np.float32)
        asked = Aggregation(graph, np.array([target], np.int32), "table", table, 0.8, alone)
        aggregator.aggregate(asked)
        np.testing.assert_array_equal(alone[0], row)


@pytest.mark.parametrize("backend", ["numba", "numpy", "int8"])
def test_what_is_asked_for_at_once_is_what_is_asked_for_in_turn(backend: str) -> None:
    graphs = [random_graph(seed, length=9) for seed in (3, 4)]
    rng = np.random.default_rng(3)
    tables = {
        name: rng.normal(size=(ITEMS, DIMENSIONS)).astype(np.float32) for name in ("near", "far")
    }
    outs = np.full((2, 3, 4, DIMENSIONS), np.nan, np.float32)
    together, alone = (
        [
            Aggregation(graph, rng.integers(0, 12, 4).astype(np.int32), name, tables[name], 0.8, to)
            for (graph, name), to in zip(
                ((graphs[0], "near"), (graphs[0], "far"), (graphs[1], "near")), out, strict=True
            )
        ]
        for rng, out in zip((np.random.default_rng(1), np.random.default_rng(1)), outs, strict=True)
    )
    make_aggregator(backend, 7).aggregate(*together)
    aggregator = make_aggregator(backend, 7)
    for one in alone:
        aggregator.aggregate(one)
    np.testing.assert_array_equal(*outs)


@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_a_neighbour_that_repeats_weighs_twice_and_one_without_weight_nothing(
    backend: str,
) -> None:
    graph = NeighbourRows(8)
    for neighbour, weight in ((0, 1.0), (1, 1.0), (0, 1.0), (2, 0.0)):
        graph.insert(0, neighbour, weight, 0)
    graph.insert(1, 2, 0.0, 0)
    table = np.array([[3, 0], [0, 3], [9, 9]], np.float32)
    out = np.empty((2, 2), np.float32)
    make_aggregator(backend, 8).aggregate(
        Aggregation(graph, np.arange(2, dtype=np.int32), "table", table, 1.0, out)
    )
    np.testing.assert_allclose(out, [[2, 1], [0, 0]], rtol=1e-6)


def aggregated(backend: Aggregator, graph: NeighbourRows, table: np.ndarray) -> np.ndarray:
    out = np.empty((12, table.shape[1]), np.float32)
    backend.aggregate(Aggregation(graph, np.arange(12, dtype=np.int32), "table", table, 0.9, out))
    return out


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    length=st.integers(1, 20),
    fanout=st.integers(1, 25),
    size=st.sampled_from([0.01, 0.1, 1.0, 50.0]),
)
def test_8_bits_are_near(seed: int, length: int, fanout: int, size: float) -> None:
    graph = random_graph(seed, length)
    table = np.random.default_rng(seed).normal(size=(ITEMS, 32)).astype(np.float32)
    table *= np.float32(size / np.abs(table).max())
    near, exact = (
        aggregated(make_aggregator(backend, fanout), graph, table) for backend in ("int8", "numpy")
    )
    # Half a step of the neighbours' rows and one and a half of the result's; its first values
    # are even, and coefficients have some ten bits.
    assert np.abs(near - exact).max() <= 0.03 * size
    assert (near[graph.degree == 0] == 0).all()


def test_8_bits_follow_what_changed_and_what_grew() -> None:
    graph = random_graph(seed=5, length=9)
    rng = np.random.default_rng(5)
    table = rng.normal(size=(ITEMS, 32)).astype(np.float32)
    kept = make_aggregator("int8", 7)
    first = aggregated(kept, graph, table)
    table[3:6] *= 2
    kept.changed("other", np.array([3], np.int32))
    np.testing.assert_array_equal(aggregated(kept, graph, table), first)  # nobody said so
    kept.changed("table", np.array([3, 4, 4, 5, ITEMS + 1], np.int32))
    table = np.concatenate([table, 5 * rng.normal(size=(4, 32)).astype(np.float32)])
    graph.insert(1, ITEMS + 2, 1.0, 0)
    after = aggregated(kept, graph, table)
    np.testing.assert_array_equal(after, aggregated(make_aggregator("int8", 7), graph, table))
    assert not np.array_equal(after, first)


def test_what_8_bits_do_not_take_is_named() -> None:
    with pytest.raises(BackendError, match="fanout = 65"):
        make_aggregator("int8", 65)
    with pytest.raises(BackendError, match="dimensions = 4"):
        Recommender(EngineSettings(aggregator="int8", dimensions=4))


def test_an_unknown_backend_is_named() -> None:
    with pytest.raises(ValueError, match="abacus"):
        make_aggregator("abacus", 4)
