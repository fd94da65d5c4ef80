"""What is saved of an object: all that it declares, bit by bit; nothing is missed."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import ClassVar

import msgspec
import numpy as np
import pytest

from engine import Recommender, SavedStateError
from engine.features.context import CONTEXTS
from engine.features.table import FEATURE_NAMES
from engine.retrieval import vector_index
from engine.state import migrations
from engine.state import snapshot as saving
from engine.state.schema import ANY, ROWS, Array, Generator, State, Value, entries
from tests.engine.state.fixtures import make_landed
from tests.engine.stories import HYBRID, INDEXED, comparable, parts, story, told


@pytest.mark.parametrize("puts", [0, 1, 39, 40, 41, 150])
def test_an_index_goes_on_as_one_that_was_never_saved(
    puts: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(vector_index, "_RELOADED_AFTER", 40)
    vectors = np.random.default_rng(0).normal(size=(700, 16)).astype(np.float32)

    class Held:
        STATE = State(parts={"index": "items/index"})

        def __init__(self) -> None:
            self.index = vector_index.VectorIndex()

    def put(index: vector_index.VectorIndex, start: int, stop: int) -> None:
        for number in range(start, stop):
            index.put(number if number % 3 else number // 2, vectors[number])

    held = Held()
    held.index.build(np.arange(100), vectors[:100])
    put(held.index, 100, 100 + puts)
    saving.write_state(tmp_path / "state", held, {}, None)
    loaded = saving.read_state(tmp_path / "state", lambda _: Held(), "")
    for number in range(100 + puts, 600):
        put(held.index, number, number + 1)
        held.index.search(vectors[number], 5)  # asking changes nothing
        put(loaded.index, number, number + 1)
    assert held.index._index.save() == loaded.index._index.save()
    for vector in vectors:
        assert np.array_equal(held.index.search(vector, 20), loaded.index.search(vector, 20))


ARRAYS = {
    "room of zeros": np.concatenate([np.arange(5000.0), np.zeros(3000)]),
    "room of ones": np.ones((2000, 3), np.float32),
    "last row differs": np.arange(4097),
    "negative zeros": np.array([1.0, 2.0, -0.0, -0.0]),
    "no numbers": np.array([np.nan, np.inf, np.nan]),
    "second axis": np.eye(4, 3000, dtype=np.float16),
    "columns in memory": np.asfortranarray(np.arange(24.0).reshape(2, 12)),
    "empty": np.zeros(0, np.int32),
    "rows of nothing": np.zeros((0, 64), np.float32),
    "booleans": np.array([True, False, False]),
}


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
def test_arrays_come_back_bit_by_bit(array: np.ndarray, tmp_path: Path) -> None:
    class Held:
        STATE = State({"array": Array("array", (ANY,) * array.ndim)})

        def __init__(self, array: np.ndarray) -> None:
            self.array = array

    saving.write_state(tmp_path / "state", Held(array), {}, None)
    loaded = saving.read_state(tmp_path / "state", lambda _: Held(array[:0]), "")
    assert comparable(loaded.array) == comparable(array)
    assert loaded.array.flags.writeable


def unspoken(engine: Recommender) -> list[str]:
    """Attributes that a class's `STATE` does not name, names that are not there, and doubles."""
    odd = []
    for where, part in parts(engine):
        names = part.STATE.names()
        odd += [f"{where}.{name}" for name in vars(part).keys() ^ set(names)]
        odd += [f"{where}.{name} twice" for name in set(names) if names.count(name) > 1]
    return odd


def test_every_attribute_is_declared_saved_or_unsaved() -> None:
    engine = Recommender(INDEXED)
    told(engine, story())
    assert unspoken(engine) == []
    assert len(list(parts(engine))) > 15


def test_an_attribute_that_is_not_declared_is_found() -> None:
    engine = Recommender(HYBRID)
    engine.graph.users.fresh = 1  # type: ignore[attr-defined]
    del engine.contexts.levels
    assert sorted(unspoken(engine)) == ["engine.contexts.levels", "engine.graph.users.fresh"]


class Weights:
    """A part with one row a feature; `Wider` has one more, in another place, and other state."""

    STATE: ClassVar[State] = State(
        {
            "weights": Array("model/weights", (("graph", "text"), None)),
            "users": Value("users/ids", list[str], counts=True),
        }
    )

    def __init__(self) -> None:
        self.weights = np.array([[1.0, 1.5], [2.0, 2.5]])
        self.users: list[str] = []


class Wider:
    STATE: ClassVar[State] = State(
        {
            "weights": Array("model/weights", (("hour", "text", "graph"), None)),
            "users": Value("users/ids", list[str], counts=True),
            "by_hour": Array("users/by_hour", (ROWS, None), fill=3),
            "name": Value("model/name", str),
            "_draws": Generator("model/random"),
        }
    )

    def __init__(self) -> None:
        self.weights = np.array([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]])
        self.users: list[str] = []
        self.by_hour = np.full((2, 24), 7, np.float32)
        self.name = "new"
        self._draws = np.random.default_rng(1)


def test_what_is_new_keeps_its_initial_value_when_an_older_file_is_loaded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old = Weights()
    old.weights += 10
    old.users = ["ann", "bob", "cid"]
    saving.write_state(tmp_path / "state", old, {}, None)
    with caplog.at_level(logging.INFO, "millrace.state"):
        new = saving.read_state(tmp_path / "state", lambda _: Wider(), "")
    assert new.weights.tolist() == [[0.1, 0.2], [12.0, 12.5], [11.0, 11.5]]
    assert new.users == old.users
    assert new.by_hour.tolist() == [[7.0] * 24] * 2 + [[3.0] * 24]
    assert new.name == "new"
    assert new._draws.bit_generator.state == np.random.default_rng(1).bit_generator.state
    (said,) = caplog.messages
    assert "model/weights[hour], users/by_hour, model/name, model/random" in said


def test_what_is_no_more_is_named_once_and_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    saving.write_state(tmp_path / "state", Wider(), {}, None)
    with caplog.at_level(logging.INFO, "millrace.state"):
        old = saving.read_state(tmp_path / "state", lambda _: Weights(), "")
    assert old.weights.tolist() == [[0.5, 0.6], [0.3, 0.4]]
    (said,) = caplog.messages
    assert "model/name" in said
    assert "model/weights[hour]" in said


def test_a_feature_that_is_added_starts_with_its_initial_weight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine's file without the rows of one feature, as one from before that feature has."""
    engine = Recommender(HYBRID)
    told(engine, story()[:200])
    without = [name for name in FEATURE_NAMES if name != "stage"]
    saved = dict(entries(engine))
    for table, axes in (("weights", [0]), ("covariance", [0, 2])):
        for axis in axes:
            rows = saved[f"model/head/{table}"]
            assert isinstance(rows, np.ndarray)
            saved[f"model/head/{table}"] = np.delete(rows, FEATURE_NAMES.index("stage"), axis)
            saved[f"model/head/{table}/axis-{axis}"] = msgspec.json.encode(without)
    monkeypatch.setattr(saving, "entries", lambda _: saved.items())
    engine.save(tmp_path / "state")
    loaded, fresh = Recommender.load(tmp_path / "state"), Recommender(HYBRID)
    learnt = np.array([name != "stage" for name in FEATURE_NAMES])
    assert np.array_equal(loaded.head.weights[learnt], engine.head.weights[learnt])
    assert np.array_equal(loaded.head.weights[~learnt], fresh.head.weights[~learnt])
    assert not np.array_equal(engine.head.weights[~learnt], fresh.head.weights[~learnt])
    covariance = fresh.head.covariance
    covariance[np.ix_(learnt, range(CONTEXTS), learnt)] = engine.head.covariance[
        np.ix_(learnt, range(CONTEXTS), learnt)
    ]
    assert np.array_equal(loaded.head.covariance, covariance)
    told(loaded, story()[200:250])


@pytest.mark.parametrize(
    "lacks",
    [
        pytest.param(name, marks=pytest.mark.long if number % 8 else ())
        for number, (name, _) in enumerate(entries(Recommender(INDEXED)))
    ],
)
def test_an_engine_goes_on_without_any_one_entry(
    lacks: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told_indexed: Recommender
) -> None:
    """Which entry will be new in a later version is not known."""
    saved = {name: value for name, value in entries(told_indexed) if name != lacks}
    with monkeypatch.context() as changed:
        changed.setattr(saving, "entries", lambda _: saved.items())
        told_indexed.save(tmp_path / "state")
    if lacks in _NEEDED:
        with pytest.raises(SavedStateError):
            Recommender.load(tmp_path / "state")
    else:
        told(Recommender.load(tmp_path / "state"), story()[300:330])


@pytest.fixture(scope="module")
def told_indexed() -> Recommender:
    engine = Recommender(INDEXED)
    told(engine, story()[:300])
    return engine


_NEEDED = {
    "users/ids", "items/ids", "items/index/texts/keys", "items/index/texts/vectors",
    "items/index/embeddings/keys", "items/index/embeddings/vectors", "items/transitions/capacity",
    "items/transitions/top", "items/text/embeddings", "users/taken/capacity",
    "users/taken/top", "users/disliked/capacity", "users/disliked/top",
}  # fmt: skip
"""Others point into these: without one, the file is refused."""


def test_the_landed_version_s_checkpoint_is_taken_over_and_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its answers were another model's: what is new in the head has its initial weight."""
    with caplog.at_level(logging.INFO, "millrace.state"):
        engine = Recommender.load(make_landed.HERE / "landed.millrace", make_landed.SETTINGS)
    (said,) = caplog.messages
    assert "not in it, and as in a new engine: " in said
    again = {"again", "again_often", "again_rank", "again_time"}
    new = {"cosine", "lift", "follows", "surging"} | again
    assert {name for name in FEATURE_NAMES if f"model/head/weights[{name}]" in said} == new
    fresh = Recommender(make_landed.SETTINGS).head.weights
    moved = (engine.head.weights != fresh).any(1)
    kept = [name for name, is_moved in zip(FEATURE_NAMES, moved, strict=True) if is_moved]
    assert kept == [name for name in FEATURE_NAMES if name not in {*new, "disliked"}]
    _, after = make_landed.split()
    landed = json.loads((make_landed.HERE / "landed.json").read_text())["answers"]
    given = make_landed.answers(engine, iter(after))
    assert engine.settings == make_landed.SETTINGS
    assert [len(answer) for answer in given] == [len(answer) for answer in landed]
    shared = sum(
        len({item for item, _ in mine} & {item for item, _ in theirs})
        for mine, theirs in zip(given, landed, strict=True)
    )
    assert shared > 0.5 * sum(map(len, landed))


_REPLACED_IN_FORMAT_4 = {
    "items/departures/count", "items/popularity/cursor", "items/popularity/events",
    "items/popularity/trending_count", "items/popularity/value_moments", "model/head/accumulated",
    "users/dislikes", "users/taken/counts", "users/taken/items/joined",
    "users/taken/items/lengths", "users/taken/weights/joined", "users/taken/weights/lengths",
}  # fmt: skip


def test_every_name_of_the_landed_version_has_one_here() -> None:
    ours = {name for name, _ in entries(Recommender(HYBRID))}
    assert set(migrations._NAMES.values()) - ours == _REPLACED_IN_FORMAT_4
