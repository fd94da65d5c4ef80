"""What a user took before: against a plain count of their row."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import EngineSettings, Recommender
from engine.events import Kind
from engine.features.repeats import gather_repeats
from engine.features.table import row
from engine.features.user_items import REPEATABLE, packed
from engine.graph import NeighbourRows
from tests.engine.builders import ids, took

ITEMS, RING = 6, 8


@given(
    st.lists(st.tuples(st.integers(0, ITEMS - 1), st.integers(0, 50)), max_size=20),
    st.sets(st.integers(0, ITEMS - 1), min_size=1),
)
def test_each_candidate_has_what_the_formulas_say(
    told: list[tuple[int, int]], some: set[int]
) -> None:
    rows, at, taken = NeighbourRows(RING), 0, []
    for item, step in told:
        at += step
        rows.insert(0, item, 1.0, at)
        taken.append((item, at))
    held = taken[-RING:][::-1]
    candidates = sorted(some)
    position = np.full(ITEMS, -1, np.int32)
    position[candidates] = np.arange(len(candidates))
    out = np.full((4, len(candidates) + 1), np.nan, np.float32)
    for again in (0, REPEATABLE):
        lists = packed([np.array([item | again for item in {item for item, _ in taken}], np.int64)])
        gather_repeats(rows.arrays, lists, 0, position, len(candidates), out)
        if not again:  # nothing may come again, and nobody asks for these numbers
            assert not out[:, : len(candidates)].any()
    for c, item in enumerate(candidates):
        times = [time for other, time in held if other == item]
        wanted = [0.0, 0.0, 0.0, 0.0]
        if times:
            q = [other for other, _ in held].index(item)
            gap = (held[0][1] - held[-1][1]) / max(len(held) - 1, 1) + 1
            since = (held[0][1] - times[0]) / gap
            wanted = [1.0, log(len(times)), log(1 + q), log(1 + since)]
        assert out[:, c].tolist() == pytest.approx(wanted, abs=1e-5)
    assert np.isnan(out[:, len(candidates) :]).all()


SHOP = EngineSettings(model="gnn", excludes=["purchase"])


def stream(engine: Recommender) -> None:
    """Twenty users who take the same three items round after round."""
    for n in range(300):
        item = f"item {(n // 20) % 3}"
        engine.observe(took(f"user {n % 20}", item, 1000 + n, kind="view"))
        engine.observe(took(f"user {n % 20}", f"other {n % 7}", 1000 + n, kind="purchase"))


def test_what_is_only_viewed_comes_again_and_what_is_bought_does_not() -> None:
    made = Recommender(SHOP)
    stream(made)
    made.observe(took("ann", "item 0", 2000, kind="view"))
    made.observe(took("ann", "item 1", 2001, kind="purchase"))
    shown = ids(made.recommend("ann", 20))
    assert "item 0" in shown
    assert "item 1" not in shown
    made.observe(took("ann", "item 0", 2002, kind="purchase"))
    assert "item 0" not in ids(made.recommend("ann", 20))
    made.observe(took("ann", "item 2", 2003, kind="view"))
    made.observe(took("ann", "item 2", 2004, kind="dislike"))
    assert "item 2" not in ids(made.recommend("ann", 20))


@pytest.mark.parametrize("kind", ["purchase", "rating", "review", "like", "read", "dislike"])
def test_by_default_what_was_viewed_comes_back_and_what_is_owned_does_not(kind: Kind) -> None:
    made = Recommender(EngineSettings(model="gnn"))
    seen: tuple[Kind, ...] = ("view", "click", "cart", kind)
    for at, other in enumerate(seen):
        made.observe(took("ann", other, at, kind=other))
    assert set(ids(made.recommend("ann"))) == {"view", "click", "cart"}


def test_where_every_kind_excludes_nothing_comes_again_and_repeats_weigh_nothing() -> None:
    made = Recommender(EngineSettings(model="gnn", excludes=["all"]))
    stream(made)
    shown = ids(made.recommend("user 1", 20))
    assert not [item for item in shown if item.startswith("item")]
    assert not made.head.weights[row("again") : row("again_time") + 1].any()


def test_that_users_come_back_is_learnt() -> None:
    made = Recommender(SHOP.model_copy(update={"excludes": []}))
    for n in range(400):  # each keeps to an item of their own
        made.observe(took(f"user {n % 20}", f"item {n % 20}", 1000 + n, kind="view"))
    assert ids(made.recommend("user 7"))[0] == "item 7"


def test_a_repeat_counts_and_forget_takes_all_of_it_back() -> None:
    made = Recommender(SHOP)
    for at in range(3):
        made.observe(took("ann", "item", 1000 + at, kind="view"))
    item = made.items.intern("item")
    assert made.popularity.counts[item] == pytest.approx(1.2)
    made.forget("ann")
    assert made.popularity.counts[item] == pytest.approx(0.0, abs=1e-6)
    assert made.taken.final_of(made.users.intern("ann")).tolist() == []


def test_a_kind_that_there_is_not_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"excludes: 'purchse' is no kind.*\"all\", rating"):
        EngineSettings(excludes=["purchse"])
    own = EngineSettings(excludes=["order_placed", "view"], kinds={"order_placed": 1.0})
    assert own.excludes == ["order_placed", "view"]
