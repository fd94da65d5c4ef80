"""Ring rows against a plain list of edges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.graph import NODES, WEIGHTS, InteractionGraph, NeighbourRows
from tests.engine.kernels import insert_both

# Weights that an edge holds exactly, as those of all kinds are.
weights = st.integers(0, WEIGHTS).map(lambda units: float(np.float32(units / WEIGHTS)))
edges = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, NODES - 1), weights, st.integers(0, 9))
)


@given(edges, st.integers(1, 7), st.integers(1, 10))
def test_a_row_holds_the_most_recent_neighbours_latest_first(
    inserted: list[tuple[int, int, float, int]], length: int, count: int
) -> None:
    graph = NeighbourRows(length, nodes=1)
    for edge in inserted:
        graph.insert(*edge)
    for node in range(len(graph.degree)):
        own = [edge[1:] for edge in inserted if edge[0] == node]
        own = sorted(own, key=lambda edge: edge[2])[::-1]  # those of one time by arrival
        held = own[: min(length, count)]
        assert graph.degree[node] == len(own)
        assert [tuple(edge) for edge in graph.recent(node, count).tolist()] == held
        assert graph.recent_ids(node, count).tolist() == [neighbour for neighbour, *_ in held]


def test_insertion_touches_one_row_only() -> None:
    graph = NeighbourRows(4, nodes=3)
    for node in range(3):
        graph.insert(node, 7, 1.0, 0)
    before = graph.edges.copy(), graph.times.copy()
    graph.insert(1, 8, 1.0, 1)
    for array, old in zip((graph.edges, graph.times), before, strict=True):
        assert (array != old).any(axis=1).tolist() == [False, True, False]


def test_a_row_is_contiguous_and_of_fixed_stride() -> None:
    graph = NeighbourRows(64)
    assert graph.edges.flags["C_CONTIGUOUS"]
    assert graph.edges.strides == (256, 4)


def test_an_edge_is_the_word_that_the_core_of_the_overlay_reads() -> None:
    graph = NeighbourRows(4)
    graph.insert(0, 0xABCDEF, 0.4, 1)
    assert graph.edges[0].tolist() == [102 << 24 | 0xABCDEF, 0, 0, 0]


@pytest.mark.parametrize(("neighbour", "weight"), [(NODES, 1.0), (1, 1.01), (1, -0.1)])
def test_what_an_edge_cannot_hold_is_refused(neighbour: int, weight: float) -> None:
    graph = NeighbourRows(4)
    with pytest.raises(OverflowError, match=str(neighbour)):
        graph.insert(0, neighbour, weight, 1)
    assert graph.degree[0] == 0


@given(edges, st.integers(1, 7), st.integers(0, 5), st.integers(0, 1000))
def test_removing_takes_a_neighbours_weight_in_one_row_and_nothing_else(
    inserted: list[tuple[int, int, float, int]], length: int, node: int, other: int
) -> None:
    graph = NeighbourRows(length, nodes=6)
    for edge in inserted:
        graph.insert(*edge)
    neighbour = next((edge[1] for edge in inserted if edge[0] == node), other)
    before = {n: graph.recent(n, length).tolist() for n in range(6)}
    graph.remove(node, neighbour)
    before[node] = [(i, 0.0 if i == neighbour else w, t) for i, w, t in before[node]]
    assert {n: graph.recent(n, length).tolist() for n in range(6)} == before


@given(edges, st.integers(1, 7), st.integers(1, 40))
def test_making_room_keeps_every_row(
    inserted: list[tuple[int, int, float, int]], length: int, nodes: int
) -> None:
    grown, roomy = NeighbourRows(length, nodes=1), NeighbourRows(length, nodes=64)
    for number, edge in enumerate(inserted):
        grown.insert(*edge)
        roomy.insert(*edge)
        if number == len(inserted) // 2:
            grown.reserve(nodes)
    have = min(len(grown.degree), 64)
    np.testing.assert_array_equal(grown.degree[:have], roomy.degree[:have])
    np.testing.assert_array_equal(grown.edges[:have], roomy.edges[:have])
    np.testing.assert_array_equal(grown.times[:have], roomy.times[:have])


def test_a_cleared_node_starts_again() -> None:
    graph = NeighbourRows(2)
    for neighbour in range(5):
        graph.insert(0, neighbour, 1.0, 0)
    graph.clear(0)
    assert graph.recent_ids(0, 2).tolist() == []
    graph.insert(0, 9, 1.0, 1)
    assert graph.recent(0, 2).tolist() == [(9, 1.0, 1)]


def test_a_removed_neighbour_weighs_nothing_and_a_cleared_node_has_none() -> None:
    graph = NeighbourRows(4)
    for neighbour in (1, 2, 1):
        graph.insert(0, neighbour, 1.0, 0)
    graph.remove(0, 1)
    assert graph.recent(0, 4)["weight"].tolist() == [0, 1, 0]
    graph.clear(0)
    assert len(graph.recent(0, 4)) == 0


def test_an_interaction_is_an_edge_at_both_ends() -> None:
    graph = InteractionGraph(8, 8)
    insert_both(graph, user=3, item=2000, weight=0.6, time=9)
    assert graph.users.recent(3, 8).tolist() == [(2000, np.float32(0.6), 9)]
    assert graph.items.recent(2000, 8).tolist() == [(3, np.float32(0.6), 9)]
    assert not np.delete(graph.users.degree, 3).any()
