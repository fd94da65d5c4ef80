"""What is saved of an object: all that it declares, bit by bit; nothing is missed."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from engine import Recommender
from engine.retrieval import vector_index
from engine.state import snapshot as saving
from engine.state.schema import State, entries
from tests.engine.stories import HYBRID, INDEXED, comparable, parts, story, told


@pytest.mark.parametrize("puts", [0, 1, 39, 40, 41, 150])
def test_an_index_goes_on_as_one_that_was_never_saved(
    puts: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(vector_index, "_RELOADED_AFTER", 40)
    vectors = np.random.default_rng(0).normal(size=(700, 16)).astype(np.float32)

    class Held:
        STATE = State(parts=("index",))

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
        STATE = State(arrays=("array",))

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


LAYOUT = "2 e39e039c235f"


def test_the_layout_belongs_to_the_version() -> None:
    """Files of a released version must stay readable: a change to what is saved raises it."""
    names = [
        (name, "JSON" if isinstance(value, bytes) else f"{value.dtype} {value.shape}")
        for name, value in entries(Recommender(HYBRID))
    ]
    digest = hashlib.sha256(repr(sorted(names)).encode()).hexdigest()[:12]
    assert f"{saving.VERSION} {digest}" == LAYOUT, "raise snapshot.VERSION, and change LAYOUT"
