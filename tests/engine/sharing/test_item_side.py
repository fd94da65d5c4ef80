"""Engines that have a part of the users each, and tell each other what they added to items."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from msgspec import structs

from engine import EngineSettings, Interaction, Item, Recommender
from engine.features.popularity import Popularity, record_popularity
from engine.features.surge import Surge, record_surge
from engine.features.transitions import NOTED
from engine.sharing import DeltaError, ItemDelta
from engine.sharing.counts import SharedCounts
from engine.sharing.learnt import _SMALLEST
from tests.engine.builders import WITHOUT_TEXT, mixed, state, stream
from tests.engine.stories import saved

# What is told of transitions reaches as far back as the history then.
SHORT = EngineSettings(model="gnn", history=NOTED)


class Fleet:
    """Engines that each have the users of one partition, and where their events stand."""

    def __init__(self, engines: int, settings: EngineSettings = SHORT) -> None:
        self.engines = [Recommender(settings) for _ in range(engines)]
        for engine in self.engines:
            engine.share()
        self.offsets, self.told = [0] * engines, [0] * engines

    def observe(self, event: Interaction) -> None:
        owner = self.owner(event.user)
        self.engines[owner].observe(event)
        self.offsets[owner] += 1

    def owner(self, user: str) -> int:
        return sum(user.encode()) % len(self.engines)

    def collect(self, owner: int, limit: int = 1 << 30) -> ItemDelta:
        """What one engine added, through bytes."""
        ranges = {owner: (self.told[owner], self.offsets[owner])}
        self.told[owner] = self.offsets[owner]
        engine = self.engines[owner]
        delta = engine.collect_delta(ranges, limit)
        return ItemDelta.decode(delta.encode(), engine.settings.dimensions)

    def exchange(self, limit: int = 1 << 30) -> None:
        owners = [n for n, told in enumerate(self.told) if told < self.offsets[n]]
        for owner, delta in [(owner, self.collect(owner, limit)) for owner in owners]:
            for number, engine in enumerate(self.engines):
                assert engine.apply_delta(delta) == (number != owner)


def item_side(engine: Recommender) -> dict[str, np.ndarray]:
    """What is counted of items, by name of the count, rows in the order of the items' names."""
    order = np.argsort(engine.items.names)
    p = engine.popularity.arrays
    return {
        "counts": p.counts[order],
        "recent": p.recent[order] / p.inflation[0],
        "surge": engine.own.surge.counts[order] / engine.own.surge.inflation[0],
        "ratings": p.value_sums[1][order],
        "by_stage": p.by_stage[:, order],
        "stage_total": p.stage_total,
        "moments": p.moments,
        "events": p.clock[:1],
    }


def transitions(engine: Recommender) -> dict[tuple[str, str], tuple[float, float]]:
    names = engine.items.names
    return {
        (names[source], names[target]): weights
        for source in range(len(names))
        for target, weights in engine.transitions.row(source).items()
    }


def assert_counted_alike(one: Recommender, other: Recommender) -> None:
    left, right = item_side(one), item_side(other)
    for name in left:
        np.testing.assert_allclose(left[name], right[name], rtol=1e-4, atol=1e-4, err_msg=name)
    mine, theirs = transitions(one), transitions(other)
    assert mine.keys() == theirs.keys()
    for pair, weights in mine.items():
        assert weights == pytest.approx(theirs[pair], rel=1e-3, abs=1e-3), pair


@hypothesis_settings(max_examples=10, deadline=None)
@given(
    st.integers(2, 4),
    st.integers(0, 10),
    st.lists(st.integers(1, 60), min_size=1, max_size=20),
)
def test_engines_that_share_count_as_one(engines: int, seed: int, gaps: list[int]) -> None:
    events = [structs.replace(e, kind="purchase") for e in stream(seed, 300)]
    one, fleet = Recommender(SHORT), Fleet(engines)
    exchanges = set(np.cumsum(gaps).tolist())
    for number, event in enumerate(events):
        one.observe(event)
        fleet.observe(event)
        if number in exchanges:
            fleet.exchange()
    fleet.exchange()
    for engine in fleet.engines:
        alike = item_side(engine)
        counted = item_side(one)
        for name in ("counts", "stage_total", "events"):
            np.testing.assert_allclose(alike[name], counted[name], rtol=1e-6, err_msg=name)
        np.testing.assert_array_equal(alike["counts"], counted["counts"])


@pytest.mark.parametrize("excludes", [["all"], []], ids=["once", "repeats"])
def test_engines_that_share_after_each_event_know_what_one_knows(excludes: list[str]) -> None:
    settings = EngineSettings(model="gnn", history=NOTED, excludes=excludes)
    one, fleet = Recommender(settings), Fleet(2, settings)
    for event in stream(3, 300):
        one.observe(event)
        fleet.observe(event)
        fleet.exchange()
    for engine in fleet.engines:
        assert_counted_alike(one, engine)


def test_learnt_rows_reach_the_others() -> None:
    fleet = Fleet(2)
    for number, event in enumerate(stream(1, 400)):
        fleet.observe(event)
        if number % 20 == 19:
            fleet.exchange()
    one, other = fleet.engines
    there = other.items.find_all(one.items.names)
    untaught = Recommender(SHORT)
    untaught.share()
    for name in one.items.names:
        untaught.list_item(name)
    for name in ("outputs", "personal_outputs"):
        mine, theirs = getattr(one.embeddings, name), getattr(other.embeddings, name)[there]
        apart = np.abs(mine[: len(there)] - theirs).max()
        learnt = np.abs(mine[: len(there)] - getattr(untaught.embeddings, name)[: len(there)]).max()
        assert apart < 3 * _SMALLEST < learnt
    apart = np.abs(one.head.bias[: len(there)] - other.head.bias[there]).max()
    assert apart < 3 * _SMALLEST < np.abs(one.head.bias).max()


def test_an_item_that_another_engine_names_is_no_item_of_the_catalogue() -> None:
    fleet, delta = fleet_with_a_delta()
    engine = fleet.engines[1]
    engine.apply_delta(delta)
    assert engine.unlisted[engine.items.find_all(delta.names)].all()


def test_an_item_starts_alike_whatever_its_number() -> None:
    one, other = Fleet(2).engines
    for name in ("a", "b"):
        one.upsert_item(Item(item=name))
    for name in ("b", "a"):
        other.upsert_item(Item(item=name))
    np.testing.assert_array_equal(one.embeddings.inputs[:, :2], other.embeddings.inputs[:, 1::-1])
    np.testing.assert_array_equal(one.embeddings.outputs[:2], other.embeddings.outputs[1::-1])
    assert not np.array_equal(one.embeddings.outputs[0], one.embeddings.outputs[1])


# ------------------------------------------------------------------ counted once


def fleet_with_a_delta() -> tuple[Fleet, ItemDelta]:
    fleet = Fleet(2)
    for event in stream(5, 60):
        fleet.observe(event)
    return fleet, fleet.collect(0)


def test_a_delta_that_is_sent_twice_counts_once() -> None:
    fleet, delta = fleet_with_a_delta()
    engine = fleet.engines[1]
    assert engine.apply_delta(delta)
    before = state(engine)
    assert not engine.apply_delta(delta)
    assert state(engine) == before
    # Nor does the part of a later one that is known already, of another partition.
    assert engine.item_side is not None
    assert engine.item_side.positions == {0: fleet.offsets[0]}


def test_an_engine_that_was_saved_goes_on_where_its_items_stood(tmp_path: Path) -> None:
    fleet, delta = fleet_with_a_delta()
    engine = fleet.engines[1]
    engine.apply_delta(delta)
    engine.save(tmp_path / "state")
    again = Recommender.load(tmp_path / "state")
    assert engine.item_side is not None
    again.share(engine.item_side.positions)
    assert not again.apply_delta(delta)
    for event in stream(6, 60):
        if fleet.owner(event.user) == 0:
            fleet.observe(event)
    later = fleet.collect(0)
    assert again.apply_delta(later)
    assert engine.apply_delta(later)
    assert saved(again, tmp_path / "one") == saved(engine, tmp_path / "other")


def test_an_engine_knows_its_own_delta() -> None:
    fleet, delta = fleet_with_a_delta()
    before = state(fleet.engines[0])
    assert not fleet.engines[0].apply_delta(delta)
    assert state(fleet.engines[0]) == before


@pytest.mark.parametrize("ranges", [{0: (5, 50)}, {0: (0, 10), 7: (0, 3)}])
def test_events_of_which_some_are_known_are_refused(ranges: dict[int, tuple[int, int]]) -> None:
    fleet, delta = fleet_with_a_delta()
    engine = fleet.engines[1]
    assert engine.apply_delta(replace(delta, ranges={0: (0, 10)}))
    before = state(engine)
    with pytest.raises(DeltaError, match="ranges: offsets"):
        engine.apply_delta(replace(delta, ranges=ranges))
    assert state(engine) == before


def test_what_is_told_is_not_told_again() -> None:
    fleet, _ = fleet_with_a_delta()
    delta = fleet.engines[0].collect_delta({})
    assert (delta.rows, delta.events, delta.names) == (0, 0, [])
    delta = fleet.engines[1].collect_delta({})
    fleet.engines[0].apply_delta(delta)
    back = fleet.engines[0].collect_delta({})
    assert (back.rows, back.events) == (0, 0)  # what others said is theirs


def test_an_engine_that_tells_what_it_added_goes_on_as_one_that_does_not(tmp_path: Path) -> None:
    alone, sharing = Recommender(WITHOUT_TEXT), Recommender(WITHOUT_TEXT)
    events = mixed(2, 300)
    for engine in (alone, sharing):
        for name in sorted({event.item for event in events if event.item}):
            engine.upsert_item(Item(item=name))
    sharing.share()
    for number, event in enumerate(events):
        assert sharing.observe(event).items == alone.observe(event).items
        if number % 7 == 0:
            sharing.collect_delta({0: (number, number + 1)})
    assert saved(sharing, tmp_path / "one") == saved(alone, tmp_path / "other")


def test_an_engine_that_shares_nothing_has_nothing_to_tell() -> None:
    with pytest.raises(RuntimeError, match="share"):
        Recommender(WITHOUT_TEXT).collect_delta({})


# ------------------------------------------------------------------ bounds


def test_a_limit_tells_all_counts_and_of_what_was_learnt_the_most_changed_first() -> None:
    fleet = Fleet(2)
    for event in stream(8, 200):
        fleet.observe(event)
    engine = fleet.engines[0]
    delta = fleet.collect(0, limit=5)
    assert delta.counted.counts.sum() == pytest.approx(engine.popularity.counts.sum())
    assert len(delta.followed.sources) == 5
    assert all(len(part.items) <= 5 for part in delta.learnt.values())
    told = delta.learnt["outputs"]
    assert len(told.items) == 5
    rest = [engine.collect_delta({}, limit=5).learnt["outputs"] for _ in range(100)]
    assert all(part.scales.max(initial=0) <= told.scales.min() for part in rest)
    assert not set(rest[0].items.tolist()) & set(told.items.tolist())
    assert len(rest[-1].items) == 0  # what waited is all told in the end


def test_who_is_forgotten_is_counted_nowhere() -> None:
    # What is taken back of repeats depends on their order.
    fleet = Fleet(2, SHORT.model_copy(update={"excludes": ["all"]}))
    events = stream(9, 200)
    for event in events:
        fleet.observe(event)
    fleet.exchange()
    for user in {event.user for event in events}:
        fleet.observe(structs.replace(events[-1], user=user, kind="forget", item=None))
    fleet.exchange()
    for engine in fleet.engines:
        np.testing.assert_allclose(engine.popularity.counts, 0.0, atol=1e-4)
        # As far as transitions were told: of the latest items of a history, here of all.
        for weights in transitions(engine).values():
            assert weights == pytest.approx((0.0, 0.0), abs=0.05)


def test_an_item_that_left_is_not_told_of_and_its_number_is_anothers() -> None:
    fleet = Fleet(2, EngineSettings(model="gnn", max_items=3))
    event = stream(0, 1)[0]

    def take(item: str, at: int) -> None:
        fleet.observe(structs.replace(event, user="b", item=item, kind="purchase", timestamp=at))

    for at, item in enumerate("abcd"):  # d takes a's number
        take(item, at)
    owner = fleet.owner("b")
    delta = fleet.collect(owner)
    assert sorted(delta.names) == ["b", "c", "d"]
    told = dict(zip(delta.names, delta.counted.counts.tolist(), strict=True))
    assert told == {"b": 1.0, "c": 1.0, "d": 1.0}
    pairs = zip(delta.followed.sources.tolist(), delta.followed.targets.tolist(), strict=True)
    assert {(delta.names[s], delta.names[t]) for s, t in pairs} <= {("b", "c")}
    other = fleet.engines[1 - owner]
    for name in "xyz":
        other.upsert_item(Item(item=name))
    other.apply_delta(delta)
    assert sorted(other.items.names) == ["b", "c", "d"]
    assert other.popularity.counts[:3].tolist() == [1.0, 1.0, 1.0]


def test_a_delta_of_more_items_than_there_can_be_is_refused() -> None:
    fleet, delta = fleet_with_a_delta()
    small = Recommender(EngineSettings(model="gnn", max_items=5))
    small.share()
    with pytest.raises(DeltaError, match=r"names: \d+ items, and engine.max_items is 5"):
        small.apply_delta(delta)
    assert fleet.engines[1].apply_delta(delta)


# ------------------------------------------------------------------ parts


def test_faded_counts_are_told_across_the_pass_over_them() -> None:
    # The surge's counts are divided about every 12,000 events, when their numbers are too large.
    popularity, surge = Popularity(2000), Surge(200)
    shared = SharedCounts(popularity, surge)
    recent, surging = np.zeros(3), np.zeros(3)
    events = 26_000
    for number in range(events):
        item = number % 3
        record_popularity(popularity.arrays, item, 0, 3, 1.0, False, 0.0, 0)
        record_surge(surge.arrays, item, 1.0, 0, number)
        if number % 1000 == 999:
            _, counted, _ = shared.collect(3)
            ages = np.arange(1000)[::-1]
            for position, item in enumerate(counted.items.tolist()):
                own = ages[(number - ages) % 3 == item]
                for told, half_life in (
                    (counted.recent, 2000), (counted.surge, 200),
                ):  # fmt: skip
                    assert told[position] == pytest.approx(
                        (0.5 ** (own / half_life)).sum(), rel=1e-4
                    )
            recent[counted.items] += counted.counts
            surging[counted.items] += counted.counts
    assert recent.sum() == surging.sum() == events
    assert surge.inflation[0] < 1e12


@pytest.mark.parametrize("aggregator", ["int8", "numpy"])
def test_an_aggregator_that_keeps_tables_sees_what_others_learnt(
    aggregator: str, tmp_path: Path
) -> None:
    settings = EngineSettings(model="gnn", aggregator=aggregator, dimensions=8)  # type: ignore[arg-type]
    fleet = Fleet(2, settings)
    for number, event in enumerate(stream(4, 200)):
        fleet.observe(event)
        if number % 25 == 24:
            fleet.exchange()
    engine = fleet.engines[0]
    engine.save(tmp_path / "state")
    again = Recommender.load(tmp_path / "state")  # which keeps nothing yet
    for event in stream(6, 40):
        if fleet.owner(event.user) == 0:
            later = structs.replace(event, timestamp=event.timestamp + 10**9)
            assert engine.observe(later).items == again.observe(later).items


def test_in_a_large_catalogue_what_others_take_becomes_a_candidate() -> None:
    settings = EngineSettings(model="gnn", exact_items=10, candidates=100)
    fleet = Fleet(2, settings)
    for engine in fleet.engines:
        for number in range(30):
            engine.upsert_item(Item(item=f"item-{number}"))
    for event in stream(4, 120):
        fleet.observe(event)
    one, other = fleet.engines

    def is_indexed(engine: Recommender, name: str) -> bool:
        item = engine.items.find(name)
        keys = engine.retrieval._embeddings
        return item is not None and any(
            2 * engine.retrieval._key(item) + version in keys for version in range(2)
        )

    often = [name for n, name in enumerate(one.items.names) if one.popularity.counts[n] >= 4]
    new = [name for name in often if not is_indexed(other, name)]
    assert new
    other.apply_delta(fleet.collect(0))
    assert all(is_indexed(other, name) for name in new)
