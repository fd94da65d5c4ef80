"""A saved engine comes back as it was, and nothing else is taken for one."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from msgspec import structs

from engine import EngineSettings, Interaction, Item, Recommender, saving, vector_index
from engine.context import Contexts
from engine.datasets import Synthetic
from engine.saving import SavedStateError, State
from engine.text.encoder import TextEncoder

Step = Interaction | tuple[Item, np.ndarray | None]

HYBRID = EngineSettings(dimensions=32, text_dimensions=20, neighbours=64, transitions=256)
INDEXED = EngineSettings(exact_items=60, candidates=100)
GNN = EngineSettings(model="gnn", neighbours=8, transitions=8, aggregator="numpy")
INT8 = EngineSettings(aggregator="int8", neighbours=64)
LLM = EngineSettings(model="llm", exclude_categories=["Horror"], low_value=3.0)
UNTOLD = {
    "_kept",
    "_features",
    "_encoder",
    "_every",
    "_position",
    "aggregator",
    "_aggregates",
    "_index",
    "_departures",  # the same object as `departures`
    "_gone",
}
"""Scratch, of which nothing is promised; and what is compared where it belongs."""


def story(events: int = 600, seed: int = 0) -> list[Step]:
    """Items and what users do to them: late items, reviews, dislikes, forgets, hidden items."""
    draw = np.random.default_rng(seed)
    source = Synthetic(events=events, users=40, items=120, seed=seed)
    films = list(source.items())
    steps: list[Step] = [(film, draw.normal(size=384).astype(np.float32)) for film in films[:50]]
    for number, event in enumerate(source.interactions()):
        changes: dict[str, Any] = {}
        if number % 17 == 5:
            changes = {"kind": "dislike"}
        elif number % 37 == 30:
            changes = {"kind": "forget", "item": None}
        elif number % 31 == 3:
            # Of items that the catalogue knows nothing of, too: reviews are then their text.
            item = event.item if number % 2 else f"unlisted-{number % 5}"
            changes = {"kind": "review", "item": item, "text": f"About {item}", "value": 4.5}
        steps.append(structs.replace(event, **changes))
        if number % 9 == 0 and 50 + number // 9 < len(films):
            film = films[50 + number // 9]
            steps.append((film, draw.normal(size=384).astype(np.float32)))
        if number % 40 == 0:
            changed = structs.replace(films[number // 40], hidden=number % 80 == 0, text="")
            steps.append((structs.replace(changed, categories=["Other"], title="ø \u2028"), None))
    return steps


def crowd() -> list[Step]:
    """More users and items than there is room for at first."""
    draw = np.random.default_rng(1)
    steps: list[Step] = []
    for number in range(1100):
        item = Item(item=f"late-{number}", categories=["Late"], properties={"year": 1990.0})
        steps.append((item, draw.normal(size=384).astype(np.float32) if number < 900 else None))
        user, at = f"late-{number}", 1_800_000_000_000 + number
        for taken in (item.item, f"late-{number // 2}"):
            steps.append(
                Interaction(event_id="", user=user, item=taken, timestamp=at, kind="purchase")
            )
    return steps


def told(engine: Recommender, steps: list[Step]) -> list[Any]:
    """What the engine answers to each step."""
    answers: list[Any] = []
    for step in steps:
        if isinstance(step, Interaction):
            answers.append(engine.observe(step).items)
        else:
            engine.upsert_item(*step)
    answers += [engine.recommend(f"user-{number}", k=20).items for number in range(45)]
    return answers


def saved(engine: Recommender, path: Path) -> bytes:
    engine.save(path)
    return path.read_bytes()


def parts(thing: Any, where: str = "engine") -> Iterator[tuple[str, Any]]:
    yield where, thing
    for name in thing.STATE.parts:
        yield from parts(getattr(thing, name), f"{where}.{name}")


def comparable(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.dtype, value.shape, value.strides, value.tobytes()
    if isinstance(value, list):
        return [comparable(entry) for entry in value]
    if isinstance(value, dict):  # a category that lost its last item is none
        return {key: comparable(entry) for key, entry in value.items() if entry != set()}
    if isinstance(value, np.random.Generator):
        return value.bit_generator.state
    return value


def assert_same(one: Recommender, two: Recommender) -> None:
    """Everything in memory is the same but scratch, what is derived included."""
    for (where, left), (_, right) in zip(parts(one), parts(two), strict=True):
        for name in set(left.STATE.names()) - set(left.STATE.parts) - UNTOLD:
            same = comparable(getattr(left, name)) == comparable(getattr(right, name))
            assert same, f"{where}.{name}"


# ---------------------------------------------------------------- there and back


@pytest.mark.parametrize(
    ("settings", "half"),
    [
        (HYBRID, 0),
        (HYBRID, 400),
        (INDEXED, 30),
        (INDEXED, 400),
        (GNN, 400),
        (INT8, 400),
        (LLM, 400),
    ],
    ids=["empty", "hybrid", "before the indexes", "indexed", "gnn", "int8", "llm"],
)
def test_a_loaded_engine_goes_on_as_one_that_was_never_saved(
    tmp_path: Path, settings: EngineSettings, half: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vector_index, "_RELOADED_AFTER", 40)
    before, after = story()[:half], [*story()[half:], *crowd()]
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
    assert engine._candidates._texts.is_built
    assert engine._candidates._embeddings.is_built
    assert engine._hidden.any()
    assert engine.dislikes._items
    assert engine.vectors._reviews.any()
    assert engine.vectors._basis.any()
    assert engine.popularity._values[0] > 0
    told(engine, crowd())
    assert len(engine._hidden) > 1024 < len(engine.contexts.lengths)


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


def test_an_index_of_nothing_is_saved_too(tmp_path: Path) -> None:
    engine = Recommender(EngineSettings(exact_items=1))
    for name in "abc":
        engine.upsert_item(Item(item=name))
    assert engine._candidates._texts.is_built
    engine.save(tmp_path / "state")
    loaded = Recommender.load(tmp_path / "state")
    assert told(loaded, story()[:200]) == told(engine, story()[:200])


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


def test_room_takes_no_space(tmp_path: Path) -> None:
    engine = Recommender(HYBRID)
    small = len(saved(engine, tmp_path / "state"))
    engine.transitions.reserve(50_000)
    engine.graph.users.reserve(50_000)
    engine.head.reserve(50_000)
    assert len(saved(engine, tmp_path / "state")) < small + 100


# ---------------------------------------------------------------- nothing is missed


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


# ---------------------------------------------------------------- files


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    engine = Recommender(INDEXED)
    told(engine, story()[:200])
    return saved(engine, tmp_path_factory.mktemp("saved") / "state")


def refused(tmp_path: Path, content: bytes) -> str:
    """The one line that says why a file is no state, without its path."""
    path = tmp_path / "state"
    path.write_bytes(content)
    with pytest.raises(SavedStateError) as caught:
        Recommender.load(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


def with_manifest(whole: bytes, **changes: Any) -> bytes:
    """A file whose manifest says something else, with the right checksum."""
    magic, at, length, _ = saving._HEAD.unpack_from(whole)
    manifest = msgspec.json.encode({**msgspec.json.decode(whole[at : at + length]), **changes})
    digest = hashlib.sha256(manifest).digest()
    head = saving._HEAD.pack(magic, at, len(manifest), digest)
    return head + whole[len(head) : at] + manifest


def manifest_of(whole: bytes) -> dict[str, Any]:
    _, at, length, _ = saving._HEAD.unpack_from(whole)
    return msgspec.json.decode(whole[at : at + length])  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04", b"{}", bytes(500), b"Millrace", b"\x80\x04."]
)
def test_a_foreign_file_is_refused(tmp_path: Path, content: bytes) -> None:
    assert refused(tmp_path, content) == "not a saved state of Millrace"


def test_a_file_cut_short_is_refused(tmp_path: Path, whole: bytes) -> None:
    for length in (16, 63, 64, 65, 1000, len(whole) // 2, len(whole) - 1):
        assert refused(tmp_path, whole[:length]).startswith("cut short, or damaged: ")
    assert refused(tmp_path, whole + b"\n").startswith("cut short, or damaged: ")


def test_a_damaged_file_is_refused_wherever_it_is(tmp_path: Path, whole: bytes) -> None:
    places = np.random.default_rng(0).integers(0, len(whole), 60)
    for place in [*range(0, 64, 3), *places.tolist(), len(whole) - 1]:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        assert "damaged" in refused(tmp_path, bytes(damaged)) or place < 16


def test_another_version_is_refused(tmp_path: Path, whole: bytes) -> None:
    other = with_manifest(whole, version=99, entries=None)
    said = f"saved in version 99 of the format, this Millrace reads {saving.VERSION}"
    assert refused(tmp_path, other) == said


def test_another_encoder_is_refused(tmp_path: Path, whole: bytes) -> None:
    other = with_manifest(whole, encoder="word2vec")
    assert refused(tmp_path, other) == (
        f"its texts were embedded by word2vec, here it is {TextEncoder.name}"
    )


def test_unknown_settings_are_refused(tmp_path: Path, whole: bytes) -> None:
    settings = {**manifest_of(whole)["settings"], "k": 0, "colour": "red"}
    message = refused(tmp_path, with_manifest(whole, settings=settings))
    assert message.startswith("its settings are not understood: ")
    assert "colour" in message


def test_state_that_is_kept_otherwise_is_refused(
    tmp_path: Path, whole: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as changed:
        changed.setattr(Contexts, "STATE", State(arrays=("lengths",), unsaved=("levels",)))
        assert refused(tmp_path, whole) == "not what this Millrace keeps: contexts.levels"
    entries = manifest_of(whole)["entries"]
    (entry,) = (entry for entry in entries if entry["name"] == "contexts.lengths")
    entry["dtype"] = "<f8"
    message = refused(tmp_path, with_manifest(whole, entries=entries))
    assert message == "contexts.lengths is float64, here it is int64"


LAYOUT = "2 e39e039c235f"


def test_the_layout_belongs_to_the_version() -> None:
    """Files of a released version must stay readable: a change to what is saved raises it."""
    names = [
        (name, "JSON" if isinstance(value, bytes) else f"{value.dtype} {value.shape}")
        for name, value in saving._entries(Recommender(HYBRID))
    ]
    digest = hashlib.sha256(repr(sorted(names)).encode()).hexdigest()[:12]
    assert f"{saving.VERSION} {digest}" == LAYOUT, "raise engine.saving.VERSION, and change LAYOUT"


def test_nothing_is_pickled(tmp_path: Path, whole: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("dump", "dumps", "load", "loads", "Pickler", "Unpickler"):
        monkeypatch.setattr(pickle, name, None)
    (tmp_path / "state").write_bytes(whole)
    Recommender.load(tmp_path / "state").save(tmp_path / "again")
    for entry in manifest_of(whole)["entries"]:
        assert entry["dtype"][1:] in (
            "son", "f2", "f4", "f8", "i4", "i8", "u1", "u4", "b1",
        )  # fmt: skip


def test_a_write_that_fails_leaves_the_file_as_it_was(
    tmp_path: Path, whole: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state"
    path.write_bytes(whole)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(saving.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        Recommender(HYBRID).save(path)
    assert path.read_bytes() == whole
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Recommender.load(tmp_path / "none")
