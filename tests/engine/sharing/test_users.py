"""Users move from engine to engine with all that is theirs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.fuzz_checks import header_of
from engine import EngineSettings, Item, Recommender
from engine.state.container import SavedStateError
from engine.state.order_free_digest import commuting_state
from tests.engine.builders import WITHOUT_TEXT, mixed, state, stream
from tests.engine.stories import HYBRID, INDEXED, saved, story, told


def users_of(engine: Recommender) -> dict[str, object]:
    return {
        name: value for name, value in commuting_state(engine).items() if name.startswith("user ")
    }


def trained(settings: EngineSettings = WITHOUT_TEXT, seed: int = 1) -> Recommender:
    engine = Recommender(settings)
    engine.observe_many(mixed(seed, 300))
    return engine


def test_a_file_of_some_users_gives_them_to_an_engine_that_numbers_otherwise(
    tmp_path: Path,
) -> None:
    engine = trained()
    leaving = engine.users.names[::2]
    engine.users_apart(leaving).save(tmp_path / "users")
    other = Recommender(WITHOUT_TEXT)
    for name in sorted(engine.items.names, reverse=True):
        other.upsert_item(Item(item=name))
    other.observe_many([e for e in mixed(7, 100) if e.user not in leaving])
    before, events = users_of(other), other.popularity.events
    other.take_in(Recommender.load(tmp_path / "users"))
    after, there = users_of(other), users_of(engine)
    assert len(leaving) > 5
    for name in leaving:
        assert after[f"user {name}"] == there[f"user {name}"]
    staying = [name for name in before if name.removeprefix("user ") not in leaving]
    assert {name: after[name] for name in staying} == {name: before[name] for name in staying}
    assert other.popularity.events == events  # nothing was learnt of them anew


@pytest.mark.parametrize("settings", [HYBRID, INDEXED.model_copy(update={"max_items": 100})])
def test_the_users_of_a_file_are_those_that_the_whole_of_it_has(
    tmp_path: Path, settings: EngineSettings, caplog: pytest.LogCaptureFixture
) -> None:
    engine = Recommender(settings)
    told(engine, story(400))
    engine.save(tmp_path / "all")
    with caplog.at_level("INFO"):
        alone = Recommender.load_users(tmp_path / "all")
    assert caplog.text == ""
    assert alone.popularity.events == 0 < engine.popularity.events
    one, other = Recommender(settings), Recommender(settings)
    for target, source in ((one, Recommender.load(tmp_path / "all")), (other, alone)):
        told(target, story(100, seed=1))
        target.take_in(source)
    assert len(users_of(one)) > 30
    assert state(one) == state(other)


def test_of_users_alone_their_own_entries_must_be_sound(tmp_path: Path) -> None:
    engine = trained()
    engine.save(tmp_path / "all")
    whole = (tmp_path / "all").read_bytes()
    for name, is_read in (("items/popularity/by_stage", False), ("users/graph/edges", True)):
        start, end = header_of(whole)[name]["data_offsets"]
        first = len(whole) - header_of(whole)["checksum"]["data_offsets"][1] + start
        assert end > start
        damaged = whole[:first] + bytes([whole[first] ^ 1]) + whole[first + 1 :]
        (tmp_path / "damaged").write_bytes(damaged)
        with pytest.raises(SavedStateError, match=f"damaged: {name}"):
            Recommender.load(tmp_path / "damaged")
        if is_read:
            with pytest.raises(SavedStateError, match=f"damaged: {name}"):
                Recommender.load_users(tmp_path / "damaged")
        else:
            assert Recommender.load_users(tmp_path / "damaged").users.names == engine.users.names


@pytest.mark.parametrize("settings", [WITHOUT_TEXT, INDEXED.model_copy(update={"model": "gnn"})])
def test_users_are_answered_by_their_new_engine_as_by_the_old(settings: EngineSettings) -> None:
    engine = Recommender(settings)
    engine.observe_many(stream(3, 400))
    again = Recommender(settings)
    again.observe_many(stream(3, 400))
    apart = engine.users_apart(engine.users.names)
    for number in range(len(again.users)):
        again.clear_user(number)
    assert all(not again.history(number).size for number in range(len(again.users)))
    again.take_in(apart)
    for name in engine.users.names:
        assert again.recommend(name).items == engine.recommend(name).items


def test_a_taste_is_read_again_from_the_history() -> None:
    engine = Recommender(HYBRID)
    told(engine, [step for step in story(300) if getattr(step, "kind", "") != "review"])
    apart = engine.users_apart(engine.users.names)
    again = Recommender(HYBRID)
    told(again, [step for step in story(300) if isinstance(step, tuple)])
    again.take_in(apart)
    alike = 0
    for name in engine.users.names:
        one, other = engine.users.find(name), again.users.find(name)
        assert one is not None
        assert other is not None
        mine, theirs = engine.taste.profiles[one], again.taste.profiles[other]
        assert mine.shape == theirs.shape
        alike += bool(theirs.any()) == bool(mine.any())
    assert alike == len(engine.users)


def test_what_an_engine_knew_of_a_user_is_replaced() -> None:
    engine, other = trained(), trained(seed=5)
    name = engine.users.names[0]
    other.take_in(engine.users_apart([name]))
    assert users_of(other)[f"user {name}"] == users_of(engine)[f"user {name}"]
    # Of what they took before, the weight is gone from the items' rows.
    number = other.users.find(name)
    held = set(other.graph.users.recent_ids(number or 0, 64).tolist())
    for item in range(len(other.items)):
        row = other.graph.items.recent(item, 32)
        weights = row["weight"][row["id"] == number]
        assert item in held or not weights.any()


def test_moving_changes_nothing_at_the_old_engine(tmp_path: Path) -> None:
    engine = trained()
    before = saved(engine, tmp_path / "before")
    engine.users_apart([*engine.users.names, "nobody"])
    assert saved(engine, tmp_path / "after") == before


def test_a_full_engine_makes_room_for_who_comes() -> None:
    engine = trained()
    small = Recommender(EngineSettings(model="gnn", max_users=3, max_items=200))
    small.take_in(engine.users_apart(engine.users.names))
    assert small.users.names != engine.users.names[:3]
    assert sorted(small.users.names) == sorted(engine.users.names[-3:])
    there = users_of(engine)
    assert all(there[name] == found for name, found in users_of(small).items())


def test_users_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"the engines differ in engine\.dimensions"):
        Recommender(EngineSettings(model="gnn", dimensions=8)).take_in(trained())


def test_a_long_list_of_items_moves_whole() -> None:
    engine = Recommender(WITHOUT_TEXT)
    event = stream(0, 1)[0]
    from msgspec import structs

    engine.observe_many(
        [structs.replace(event, user="ann", item=f"i{n}", timestamp=n) for n in range(3000)]
    )
    other = Recommender(WITHOUT_TEXT)
    other.take_in(engine.users_apart(["ann"]))
    taken = other.taken.of(0)
    assert [other.items.names[item] for item in taken.tolist()] == [f"i{n}" for n in range(3000)]
    np.testing.assert_array_equal(other.taken.weights_of(0), engine.taken.weights_of(0))
    np.testing.assert_array_equal(other.taken.marks_of(0), engine.taken.marks_of(0))
