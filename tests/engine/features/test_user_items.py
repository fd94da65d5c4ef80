"""Items by user against plain lists; arrays that double; ids."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.arrays import IdTable, grown
from engine.features.user_items import UserItems, drop_first, mark_latest, purge
from tests.engine.kernels import put

taken = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 40), st.sampled_from([0.0, 0.4, 1.0])))


@given(taken, st.integers(0, 4))
def test_users_have_what_was_put_in_order_with_its_weight(
    added: list[tuple[int, int, float]], cleared: int
) -> None:
    seen, reference = UserItems(), {user: dict[int, float]() for user in range(5)}
    for user, item, weight in added:
        found = seen.weight(user, item)
        assert found == pytest.approx(reference[user].pop(item, None))
        put(seen, user, item, weight)
        reference[user][item] = weight
    seen.clear(cleared)
    reference[cleared] = {}
    for user, items in reference.items():
        assert seen.of(user).tolist() == list(items)
        np.testing.assert_allclose(seen.weights_of(user), list(items.values()))


def test_marks_go_where_their_items_go() -> None:
    seen = UserItems(2)
    for item in range(40):  # blocks are moved, and packed anew
        for user in range(2):
            put(seen, user, item, 1.0)
            mark_latest(seen.arrays, user, 100 * user + item)
    put(seen, 1, 7, 1.0)
    assert seen.marks_of(0).tolist() == list(range(40))
    assert seen.marks_of(1).tolist() == [100 + item for item in range(40) if item != 7] + [0]
    left = np.zeros(40, np.int64)
    left[[0, 20]] = 1
    purge(seen.arrays, 0, left, 0)
    drop_first(seen.arrays, 0)
    assert seen.marks_of(0).tolist() == [item for item in range(2, 40) if item != 20]


def test_making_room_for_users_keeps_what_they_have() -> None:
    seen = UserItems()
    put(seen, 1023, 5, 1.0)
    seen.reserve(5000)
    assert seen.of(1023).tolist() == [5]
    assert seen.of(4999).tolist() == []
    assert seen.weight(4999, 5) is None


@pytest.mark.parametrize(("size", "expected"), [(3, 3), (4, 6), (20, 20)])
def test_an_array_grows_to_at_least_twice_its_length(size: int, expected: int) -> None:
    array = np.arange(6).reshape(2, 3)
    made = grown(array, size, axis=1, fill=-1)
    assert made.shape == (2, expected)
    np.testing.assert_array_equal(made[:, :3], array)
    assert (made[:, 3:] == -1).all()
    assert (made is array) == (size <= 3)


def test_ids_are_numbered_by_first_appearance() -> None:
    table = IdTable()
    assert [table.intern(name) for name in ("b", "a", "b", "é", "a")] == [0, 1, 0, 2, 1]
    assert table.names == ["b", "a", "é"]
    assert len(table) == 3
    assert table.find("é") == 2
    assert table.find("c") is None
