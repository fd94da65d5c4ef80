"""A saved engine comes back as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine import EngineSettings, Item, Recommender
from engine.datasets import Synthetic
from engine.retrieval import vector_index
from engine.state import snapshot as saving
from engine.state.container import SavedStateError
from tests.engine.stories import HYBRID, INDEXED, assert_same, crowd, saved, story, told

GNN = EngineSettings(model="gnn", neighbours=8, transitions=8, aggregator="numpy")
INT8 = EngineSettings(aggregator="int8", neighbours=64)
LLM = EngineSettings(model="llm", exclude_categories=["Horror"], low_value=3.0)


@pytest.mark.parametrize(
    ("settings", "half", "late"),
    [
        pytest.param(HYBRID, 0, 1100, marks=pytest.mark.long),
        (HYBRID, 400, 1100),
        pytest.param(INDEXED, 30, 1100, marks=pytest.mark.long),
        (INDEXED, 400, 200),
        pytest.param(INDEXED, 400, 1100, marks=pytest.mark.long),
        pytest.param(GNN, 400, 1100, marks=pytest.mark.long),
        (INT8, 400, 0),
        pytest.param(INT8, 400, 1100, marks=pytest.mark.long),
        pytest.param(LLM, 400, 1100, marks=pytest.mark.long),
    ],
    ids=[
        "empty",
        "hybrid",
        "before the indexes",
        "indexed",
        "indexed, more than there is room for",
        "gnn",
        "int8",
        "int8, more than there is room for",
        "llm",
    ],
)
def test_a_loaded_engine_goes_on_as_one_that_was_never_saved(
    tmp_path: Path, settings: EngineSettings, half: int, late: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vector_index, "_RELOADED_AFTER", 40)
    before, after = story()[:half], [*story()[half:], *crowd(late)]
    never, original = Recommender(settings), Recommender(settings)
    assert told(never, before) == told(original, before)
    first = saved(original, tmp_path / "state")
    loaded = Recommender.load(tmp_path / "state")
    assert loaded.settings == settings
    assert_same(loaded, never)
    assert saved(loaded, tmp_path / "again") == first
    expected = told(never, after)
    assert told(loaded, after) == expected
    assert told(original, after) == expected
    assert_same(loaded, never)
    assert (
        saved(loaded, tmp_path / "1")
        == saved(never, tmp_path / "2")
        == saved(original, tmp_path / "3")
    )


def test_what_is_learnt_does_not_depend_on_being_asked_for_answers(tmp_path: Path) -> None:
    asked, silent = Recommender(HYBRID), Recommender(HYBRID)
    for number, event in enumerate(Synthetic(events=400, users=12, items=60).interactions()):
        asked.observe(event)
        # Sometimes asked, too: the same user's next event then learns from that answer's scores.
        answered = silent.observe(event, answer=number % 3 == 0).items
        assert bool(answered) == (number % 3 == 0) or number < 10
    files = tmp_path / "asked", tmp_path / "silent"
    asked.save(files[0])
    silent.save(files[1])
    assert files[0].read_bytes() == files[1].read_bytes()


def test_notes_are_kept_with_the_state(tmp_path: Path) -> None:
    path = tmp_path / "state"
    Recommender(GNN).save(path, {"partitions": {"0": 12}})
    assert saving.read_notes(path, dict[str, dict[str, int]]) == {"partitions": {"0": 12}}
    Recommender.load(path)
    with pytest.raises(SavedStateError, match="its notes are not understood"):
        saving.read_notes(path, list[int])


def test_other_settings_apply_unless_they_shape_the_state(tmp_path: Path) -> None:
    path = tmp_path / "state"
    Recommender(GNN).save(path)
    other = GNN.model_copy(update={"k": 3, "low_value": 1.0})
    assert Recommender.load(path, other).settings == other
    shaped = GNN.model_copy(update={"neighbours": 16})
    with pytest.raises(SavedStateError, match=r"engine.neighbours = 8, here it is 16"):
        Recommender.load(path, shaped)


def test_the_story_exercises_what_is_saved() -> None:
    engine = Recommender(INDEXED)
    told(engine, story())
    assert engine.retrieval._texts.is_built
    assert engine.retrieval._embeddings.is_built
    assert engine.hidden.any()
    assert engine.disliked.length.any()
    assert engine.vectors._reviews.any()
    assert engine.vectors._basis.any()
    assert engine.popularity._moments[0] > 0
    told(engine, crowd())
    assert len(engine.hidden) > 1024 < len(engine.contexts.lengths)


def test_an_index_of_nothing_is_saved_too(tmp_path: Path) -> None:
    engine = Recommender(EngineSettings(exact_items=1))
    for name in "abc":
        engine.upsert_item(Item(item=name))
    assert engine.retrieval._texts.is_built
    engine.save(tmp_path / "state")
    loaded = Recommender.load(tmp_path / "state")
    assert told(loaded, story()[:200]) == told(engine, story()[:200])


def test_room_takes_no_space(tmp_path: Path) -> None:
    engine = Recommender(HYBRID)
    small = len(saved(engine, tmp_path / "state"))
    engine.transitions.reserve(50_000)
    engine.graph.users.reserve(50_000)
    engine.head.reserve(50_000)
    assert len(saved(engine, tmp_path / "state")) < small + 100
