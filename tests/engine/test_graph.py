"""Ring rows against a plain list of edges."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.graph import InteractionGraph, NeighbourRows

edges = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 1000), st.floats(0, 2, width=32), st.integers(0, 9))
)


@given(edges, st.integers(1, 7), st.integers(1, 10))
def test_a_row_holds_the_most_recent_neighbours_latest_first(
    inserted: list[tuple[int, int, float, int]], length: int, count: int
) -> None:
    graph = NeighbourRows(length, nodes=1)
    for edge in inserted:
        graph.insert(*edge)
    for node in range(len(graph.degree)):
        own = [edge[1:] for edge in inserted if edge[0] == node][::-1]
        held = own[: min(length, count)]
        assert graph.degree[node] == len(own)
        assert [tuple(edge) for edge in graph.recent(node, count).tolist()] == held
        assert graph.recent_ids(node, count).tolist() == [neighbour for neighbour, *_ in held]


def test_insertion_touches_one_row_only() -> None:
    graph = NeighbourRows(4, nodes=3)
    for node in range(3):
        graph.insert(node, 7, 1.0, 0)
    before = graph.rows.copy()
    graph.insert(1, 8, 1.0, 1)
    changed = (graph.rows != before).any(axis=1)
    assert changed.tolist() == [False, True, False]


def test_a_row_is_contiguous_and_of_fixed_stride() -> None:
    graph = NeighbourRows(64)
    assert graph.rows.flags["C_CONTIGUOUS"]
    assert graph.rows.strides == (1024, 16)


def test_a_removed_neighbour_weighs_nothing_and_a_cleared_node_has_none() -> None:
    graph = NeighbourRows(4)
    for neighbour in (1, 2, 1):
        graph.insert(0, neighbour, 1.0, 0)
    graph.remove(0, 1)
    assert graph.recent(0, 4)["weight"].tolist() == [0, 1, 0]
    graph.clear(0)
    assert len(graph.recent(0, 4)) == 0


def test_an_interaction_is_an_edge_at_both_ends() -> None:
    graph = InteractionGraph(8)
    graph.insert(user=3, item=2000, weight=0.5, time=9)
    assert graph.users.recent(3, 8).tolist() == [(2000, 0.5, 9)]
    assert graph.items.recent(2000, 8).tolist() == [(3, 0.5, 9)]
    assert not np.delete(graph.users.degree, 3).any()
