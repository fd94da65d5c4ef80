"""Edges that are told late take their place by time."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.graph import NeighbourRows, purge_row


@given(
    st.permutations(range(30)).map(lambda order: order[:20]),
    st.integers(1, 25),
    st.integers(0, 12),
)
def test_a_row_is_the_same_bytes_in_whatever_order_its_edges_arrive(
    order: list[int], length: int, cleared: int
) -> None:
    """Also of a row that was full before, and one that starts again."""
    late, punctual = NeighbourRows(length), NeighbourRows(length)
    for graph in (late, punctual):
        for time in range(cleared):
            graph.insert(3, time, 1.0, time)
        graph.clear(3)
    for at in order:
        assert late.later(3, at) == sum(t > at for t in late.recent(3, length)["time"])
        late.insert(3, 100 + at, 0.4, at)
    for at in sorted(order):
        assert punctual.later(3, at) == 0
        punctual.insert(3, 100 + at, 0.4, at)
    np.testing.assert_array_equal(late.edges, punctual.edges)
    np.testing.assert_array_equal(late.times, punctual.times)
    np.testing.assert_array_equal(late.degree, punctual.degree)


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=30),
    st.sets(st.integers(0, 9)),
    st.integers(1, 9),
)
def test_a_purged_row_is_as_if_the_rest_alone_had_been_inserted(
    edges: list[tuple[int, int]], gone: set[int], length: int
) -> None:
    purged, rest = NeighbourRows(length), NeighbourRows(length)
    for neighbour, time in edges:
        purged.insert(1, neighbour, 1.0, time)
    held = purged.recent(1, length)[::-1]
    last = np.array([2 if n in gone else 1 for n in range(10)])
    purge_row(purged.arrays, 1, last, 2)
    np.testing.assert_array_equal(purged.recent(1, length)[::-1], held)  # none left since
    purge_row(purged.arrays, 1, last, 1)
    for neighbour, weight, time in held.tolist():
        if neighbour not in gone:
            rest.insert(1, neighbour, weight, time)
    if gone & set(held["id"].tolist()):
        np.testing.assert_array_equal(purged.edges[1], rest.edges[1])
    np.testing.assert_array_equal(purged.recent(1, length), rest.recent(1, length))
