"""Bounded users and items: what stays, what leaves, and that nobody is taken for another."""

from __future__ import annotations

import tempfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from engine import EngineSettings, Item, Recommender
from engine.datasets import Synthetic
from engine.features.transitions import purge_transitions
from engine.retrieval import vector_index
from engine.retrieval.vector_index import VectorIndex
from engine.state.eviction import UseOrder
from engine.text.encoder import TextEncoder
from engine.text.vectors import CATEGORY_DIMENSIONS, ItemVectors
from tests.engine.builders import forgets, ids, state, took
from tests.engine.reference import TransitionsReference

USERS, ITEMS = 3, 6
SMALL = EngineSettings(
    max_users=USERS, max_items=ITEMS, dimensions=8, text_dimensions=4, recommend_unlisted=True
)
users = st.sampled_from([f"u{n}" for n in range(6)])
items = st.sampled_from([f"i{n}" for n in range(14)])


class Limits(RuleBasedStateMachine):
    """An engine, one that is saved and loaded now and then, and plain dictionaries beside them."""

    settings = SMALL

    def __init__(self) -> None:
        super().__init__()
        self.engine, self.twin = Recommender(self.settings), Recommender(self.settings)
        self.clock = 0
        # Least recently used first; of a user their items, oldest first.
        self.users: OrderedDict[str, list[str]] = OrderedDict()
        self.items: OrderedDict[str, bool] = OrderedDict()
        self.counts: dict[str, float] = {}
        self.follows = TransitionsReference()
        self.evicted = [0, 0]
        # What somebody taught is taken back only as far as what they took still is there.
        self.taken_back = False

    def _use_item(self, item: str, hidden: bool | None = None) -> None:
        if item not in self.items and len(self.items) == ITEMS:
            gone, _ = self.items.popitem(last=False)
            self.evicted[1] += 1
            self.counts.pop(gone, None)
            for pair in [pair for pair in self.follows.weights if gone in pair]:
                del self.follows.weights[pair]
            for taken in self.users.values():
                taken[:] = [one for one in taken if one != gone]
        self.items[item] = bool(self.items.get(item)) if hidden is None else hidden
        if hidden is None:  # what the catalogue says again of an item is no use of it
            self.items.move_to_end(item)

    @rule(user=users, item=items)
    def take(self, user: str, item: str) -> None:
        self.clock += 1
        if user not in self.users and len(self.users) == USERS:
            self.users.popitem(last=False)
            self.evicted[0] += 1
        taken = self.users.setdefault(user, [])
        self.users.move_to_end(user)
        self._use_item(item)
        if item not in taken:
            self.counts[item] = self.counts.get(item, 0) + 1
            self.follows.record(taken[::-1], item, 1.0)  # type: ignore[arg-type]
            taken.append(item)
            event = took(user, item, self.clock, kind="purchase")
        else:  # again, which would move it in the history: not what is looked at here
            event = took(user, item, self.clock, kind="dislike")
        answers = [made.observe(event).items for made in (self.engine, self.twin)]
        assert answers[0] == answers[1]
        self._check(user, [entry.item for entry in answers[0]])

    @rule(item=items, hidden=st.booleans(), category=st.sampled_from("abc"), seed=st.integers(0, 9))
    def upsert(self, item: str, hidden: bool, category: str, seed: int) -> None:
        self._use_item(item, hidden)
        vector = np.random.default_rng(seed).normal(size=TextEncoder.dimensions).astype(np.float32)
        for made in (self.engine, self.twin):
            made.upsert_item(Item(item=item, hidden=hidden, categories=[category]), vector)

    @rule(user=users)
    def forget(self, user: str) -> None:
        for item in self.users.get(user, ()):
            self.counts[item] -= 1
        if self.users.pop(user, None):
            self.taken_back = True
        answers = [made.observe(forgets(user)).items for made in (self.engine, self.twin)]
        assert answers[0] == answers[1]

    @rule(user=users)
    def ask(self, user: str) -> None:
        answers = [made.recommend(user, k=50).items for made in (self.engine, self.twin)]
        assert answers[0] == answers[1]
        shown = [entry.item for entry in answers[0]]
        self._check(user, shown)
        assert set(shown) == {item for item, hidden in self.items.items() if not hidden} - set(
            self.users.get(user, ())
        )
        for entry in answers[0]:
            if entry.reason.startswith("because of "):
                assert entry.reason.removeprefix("because of ") in self.users[user]

    @rule()
    def restart(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            self.twin.save(Path(folder) / "state")
            self.twin = Recommender.load(Path(folder) / "state")

    def _check(self, user: str, shown: list[str]) -> None:
        assert not {item for item in shown if self.items.get(item, True)}  # unknown, or hidden
        assert not set(shown) & set(self.users.get(user, ()))
        number = self.engine.users.find(user)
        assert (number is None) == (user not in self.users)
        if number is not None:
            history = self.engine.graph.users.recent_ids(number, 64)[::-1]
            assert [self.engine.items.names[item] for item in history] == self.users[user]

    @invariant()
    def known_are_those_used_last(self) -> None:
        for table, known, limit in (
            (self.engine.users, self.users, USERS),
            (self.engine.items, self.items, ITEMS),
        ):
            assert sorted(filter(None, table.names)) == sorted(known)
            assert table.known == len(known) <= len(table) <= limit
            numbers = [number for number, name in enumerate(table.names) if name]
            assert [table.find(table.names[number]) for number in numbers] == numbers
        assert self.engine.evicted == tuple(self.evicted)
        assert len(self.engine.reasons) == len(self.engine.items)
        assert set(self.engine.categories._of) <= set(range(ITEMS))

    @rule()
    def look_at_counts_and_transitions(self) -> None:
        for name in self.items:
            number = self.engine.items.find(name)
            assert self.engine.popularity.counts[number] == self.counts.get(name, 0)
        with tempfile.TemporaryDirectory() as folder:
            self.engine.save(Path(folder) / "state")
            copy = Recommender.load(Path(folder) / "state")
        rows = np.arange(len(copy.items), dtype=np.int32)
        gone = copy.departures
        purge_transitions(copy.transitions.arrays, rows, len(rows), gone.last, gone.count)
        names = copy.items.names
        held = {
            (names[item], names[other]): weights
            for item in range(len(names))
            for other, weights in copy.transitions.row(item).items()
        }
        expected: dict[object, list[float]] = dict(self.follows.weights)
        assert held.keys() == expected.keys()
        for pair, weights in held.items():
            if not self.taken_back:
                assert weights == pytest.approx(expected[pair], abs=1e-4)


class IndexedLimits(Limits):
    """The same where candidates are named by indexes."""

    settings = SMALL.model_copy(update={"exact_items": 3})

    def ask(self, user: str) -> None: ...


class Int8Limits(Limits):
    """The same on quantised tables without text."""

    settings = SMALL.model_copy(update={"aggregator": "int8", "model": "gnn"})


for machine, examples in ((Limits, 5), (IndexedLimits, 3), (Int8Limits, 2)):
    case = machine.TestCase
    case.settings = hypothesis_settings(max_examples=examples, stateful_step_count=40)
    globals()[f"Test{machine.__name__}"] = case
del case, machine


@pytest.mark.parametrize("numbers", [1, 2, 50])
def test_the_order_of_use_is_that_of_a_dictionary(numbers: int) -> None:
    made, plain = UseOrder(1), OrderedDict[int, None]()
    assert made.oldest() == -1
    made.reserve(numbers)
    for number in np.random.default_rng(0).integers(0, numbers, 500).tolist():
        made.touch(number)
        plain[number] = None
        plain.move_to_end(number)
        assert made.oldest() == next(iter(plain))


@pytest.mark.parametrize("exact", [20_000, 30])
def test_limits_that_are_not_reached_change_nothing(exact: int) -> None:
    source = Synthetic(events=600, users=25, items=60)
    made = []
    for limits in ({"max_users": 25, "max_items": 60}, {}):
        engine = Recommender(EngineSettings(model="gnn", exact_items=exact, **limits))
        for film in source.items():
            engine.upsert_item(film)
        made.append((engine, [engine.observe(event).items for event in source.interactions()]))
    (one, answers), (other, expected) = made
    assert answers == expected
    assert one.evicted == (0, 0)
    assert state(one) == state(other)


def test_a_newcomer_is_as_somebody_unknown_and_leaves_no_trace_of_who_left() -> None:
    made = Recommender(EngineSettings(model="gnn", max_users=2))
    for at in range(8):
        made.observe(took("ann", f"i{at}", at))
    made.observe(took("ann", "i1", 8, kind="dislike"))
    made.observe(took("bob", "i1", 9))
    counts = made.popularity.counts.copy()
    answer = made.observe(took("eve", "i1", 10, kind="dislike"))
    assert made.users.find("ann") is None
    assert made.evicted.users == 1
    number = made.users.find("eve")
    assert number == 0
    assert made.contexts.lengths[number] == 0
    assert not made.embeddings.personal[number].any()
    assert set(ids(answer)) == {f"i{at}" for at in range(8)} - {"i1"}
    np.testing.assert_array_equal(made.popularity.counts, counts)
    for item in range(8):  # no item's second hop reads the newcomer for who left
        edges = made.graph.items.recent(item, 32)
        assert not edges["weight"][edges["id"] == number].any()


def test_an_item_that_left_is_a_new_one_when_it_returns() -> None:
    made = Recommender(EngineSettings(model="gnn", max_items=2))
    made.upsert_item(Item(item="a", title="Alien", categories=["Horror"], hidden=True))
    made.observe(took("ann", "b", 1))
    made.observe(took("ann", "c", 2))
    assert made.items.find("a") is None
    assert made.evicted.items == 1
    assert ids(made.recommend("bob")) == ["c", "b"]
    assert len(made.categories.items(["Horror"])) == 0
    made.observe(took("bob", "a", 3))
    assert made.items.find("b") is None
    assert "a" in ids(made.recommend("ann"))  # not hidden any more, and not taken by ann
    assert ids(made.recommend("bob")) == ["c"]


def test_text_rows_are_used_again() -> None:
    vectors = ItemVectors(4, 8)
    draw = np.random.default_rng(0)
    for number in range(300):
        vectors.set_item(number % 6, draw.normal(size=8).astype(np.float32), [f"c{number}"])
        vectors.clear((number + 3) % 6)
    rows = sorted([*vectors._rows.values(), *vectors._free_rows])
    assert rows == list(range(len(rows)))
    assert len(rows) <= 6
    assert vectors._texts == len(vectors._rows)
    assert vectors._has_text.sum() == vectors._texts


def test_names_of_categories_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.text.vectors._MOST_CATEGORIES", 5)
    vectors = ItemVectors(4, 8)
    told = [vectors._dimension(f"c{number % 60}") for number in range(120)]
    assert told[:5] == [0, 1, 2, 3, 4]
    assert told[60:] == told[:60]
    assert set(told) <= set(range(CATEGORY_DIMENSIONS))
    assert len(set(told)) > 20
    assert len(vectors._categories) == 5


def test_what_is_taken_out_of_an_index_is_not_found_and_leaves_it_at_the_next_reload() -> None:
    vectors = np.random.default_rng(0).normal(size=(200, 8)).astype(np.float32)
    index = VectorIndex()
    index.build(np.arange(200), vectors)
    for key in range(0, 200, 2):
        index.remove(key)
    assert 0 not in index
    assert 1 in index
    assert not {key for vector in vectors for key in index.search(vector, 50)} & {*range(0, 200, 2)}
    index.put(4, vectors[4])
    assert 4 in index
    for at in range(vector_index._RELOADED_AFTER):
        index.put(1000 + at, vectors[at % 200])
    assert not index._gone
    assert len(index._index) == 101 + vector_index._RELOADED_AFTER
    assert not {key for vector in vectors for key in index.search(vector, 50)} & {*range(6, 200, 2)}
