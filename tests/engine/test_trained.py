"""A model folder and its serving, without what trains: on tables drawn at random."""

from __future__ import annotations

import io
import json
import os
import shutil
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from engine import EngineSettings, Interaction, Item, Recommender
from engine.propagation import Aggregation, DeviceWork
from engine.trained import TrainedModel, TrainedModelError
from engine.trained.folder import (
    ARRAYS,
    ENCODER,
    IDS,
    LEVELS,
    MANIFEST,
    TOKENIZER,
    Tables,
    quantise,
    seal,
    write_tables,
)
from engine.trained.warm import WarmStartError
from engine.training.recipe import Recipe, Serving, TextPart

DATA = Path(__file__).parents[1] / "data" / "trained"
USERS, ITEMS, TEXT = 5, 40, 4
LIKE, TAKE = 2 * 8, 32
WORDS = ["[UNK]", "space", "love", "war", "story", "a", "of"]


def recipe(aggregator: str = "numba", int8: bool = False, text: bool = True) -> Recipe:
    return Recipe(
        name="test", description="drawn at random", dimensions=8, members=2, take_dimensions=TAKE,
        text=TextPart(dimensions=TEXT, tokens=5) if text else None,
        serving=Serving(aggregator=aggregator, int8=int8),
    )  # fmt: skip


def tables(seed: int = 0) -> Tables:
    """The last user took nothing, the first more than one row of the graph holds."""
    g = np.random.default_rng(seed)
    degrees = np.array([150, 64, 3, 65, 0])
    width = LIKE + TAKE

    def drawn(*shape: int) -> np.ndarray:
        return g.normal(0, 0.3, shape).astype(np.float32)

    return Tables(
        rows=drawn(ITEMS * len(LEVELS), width), users=drawn(USERS, width),
        outputs=drawn(ITEMS, width), like_bias=drawn(ITEMS), take_bias=drawn(ITEMS),
        user_bias=drawn(USERS), texts=drawn(ITEMS, TEXT), text_mean=drawn(6),
        text_basis=drawn(TEXT, 6), text_rows=drawn(2, TEXT, width),
        # Of the first 30 items: 10 are left to be recommended to everybody.
        edges=g.integers(0, 30 * len(LEVELS), degrees.sum()).astype(np.int32),
        starts=np.concatenate([[0], np.cumsum(degrees)]),
    )  # fmt: skip


def write(folder: Path, made: Recipe, held: Tables | None = None) -> Path:
    folder.mkdir()
    users, items = [f"u{n}" for n in range(USERS)], [f"i{n}" for n in range(ITEMS)]
    write_tables(folder, users, items, held or tables(), made.serving.int8)
    if made.text:
        shutil.copy(DATA / ENCODER, folder / ENCODER)
        tokenizer = Tokenizer(WordLevel({word: n for n, word in enumerate(WORDS)}, "[UNK]"))
        tokenizer.pre_tokenizer = Whitespace()
        tokenizer.save(str(folder / TOKENIZER))
    seal(folder, made)
    return folder


def reference_embedding(t: Tables, user: int | None, asked: np.ndarray | None) -> np.ndarray:
    """e_u as engine/training/model.py defines it, one neighbour after another, in 64 bits."""
    total, n = np.zeros(t.rows.shape[1]), 0
    own = np.zeros(t.rows.shape[1])
    if user is not None:
        own = t.users[user].astype(float)
        for edge in t.edges[t.starts[user] : t.starts[user + 1]]:
            total += t.rows[edge]
            n += 1
    if asked is not None:
        total += asked
        n += 1
    return own + (total / n * (n / (3 * np.sqrt(n + 5))) if n else 0)


def reference_text(t: Tables, text: str) -> np.ndarray:
    table = np.random.default_rng(0).normal(size=(16, 6)).astype(np.float32)
    ids = [WORDS.index(word) if word in WORDS else 0 for word in text.split()][:5]
    mean = table[ids].astype(float).mean(0)
    projected = t.text_basis @ (mean / np.linalg.norm(mean) - t.text_mean)
    projected /= np.linalg.norm(projected)
    return projected @ (t.text_rows[0] + t.text_rows[1])


def reference_ranking(t: Tables, user: int | None, asked: np.ndarray | None) -> dict[str, float]:
    e = reference_embedding(t, user, asked)
    taken = set()
    if user is not None:
        taken = {int(edge) // len(LEVELS) for edge in t.edges[t.starts[user] : t.starts[user + 1]]}
    scores = {}
    for item in set(range(ITEMS)) - taken:
        like = t.like_bias[item] + e[:LIKE] @ t.outputs[item, :LIKE]
        scores[f"i{item}"] = t.take_bias[item] + e[LIKE:] @ t.outputs[item, LIKE:] + 0.5 * like
    return scores


@pytest.mark.parametrize("aggregator", ["numba", "numpy"])
@pytest.mark.parametrize("user", [0, 1, 2, 3, 4, None])
def test_serves_what_the_formulas_say(aggregator: str, user: int | None, tmp_path: Path) -> None:
    model = TrainedModel.load(write(tmp_path / "m", recipe(aggregator)))
    name = "nobody" if user is None else f"u{user}"
    expected = reference_ranking(tables(), user, None)
    answer = model.recommend(name, 7)
    assert [item for item, _ in answer] == sorted(expected, key=lambda i: -expected[i])[:7]
    assert dict(answer) == pytest.approx({i: expected[i] for i, _ in answer}, abs=1e-4)
    e = reference_embedding(tables(), user, None)[:LIKE] if user is not None else np.zeros(LIKE)
    likes = tables().like_bias + tables().outputs[:, :LIKE] @ e
    likes += 0 if user is None else tables().user_bias[user]
    found = model.scores(name, ["i3", "new", "i39"])
    assert found.dtype == np.float32
    assert found == pytest.approx([likes[3], likes.mean(), likes[39]], abs=1e-4)


@pytest.mark.parametrize("user", [0, 2, 4, None])
def test_a_request_s_text_is_one_more_that_was_liked(user: int | None, tmp_path: Path) -> None:
    model = TrainedModel.load(write(tmp_path / "m", recipe()))
    name = "nobody" if user is None else f"u{user}"
    for text in ("space war", "a story of love and more words than are read"):
        expected = reference_ranking(tables(), user, reference_text(tables(), text))
        answer = dict(model.request(name, text, 5))
        assert list(answer) == sorted(expected, key=lambda i: -expected[i])[:5]
        assert answer == pytest.approx({i: expected[i] for i in answer}, abs=1e-4)
    assert model.recommend(name, 5) != model.request(name, "space war", 5)


def test_a_device_aggregates_while_the_text_is_encoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = TrainedModel.load(write(tmp_path / "model", recipe()))
    expected = [model.request(user, "a love story") for user in ("u0", "nobody")]
    assert model.encoder is not None
    aggregate, encode = model.aggregator.aggregate, model.encoder.encode
    begun = threading.Event()

    def aggregate_then(*asked: Aggregation) -> None:
        assert begun.wait(30), "The text waits for the device."
        aggregate(*asked)

    def encode_now(text: str) -> NDArray[np.float32]:
        begun.set()
        return encode(text)

    monkeypatch.setattr(model.aggregator, "work", DeviceWork())
    monkeypatch.setattr(model.aggregator, "aggregate", aggregate_then)
    monkeypatch.setattr(model.encoder, "encode", encode_now)
    assert [model.request(user, "a love story") for user in ("u0", "nobody")] == expected
    begun.clear()
    monkeypatch.setattr(model.encoder, "encode", lambda _: begun.set() or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        model.request("u0", "a love story")


def test_a_model_without_text_ignores_it(tmp_path: Path) -> None:
    model = TrainedModel.load(write(tmp_path / "m", recipe(text=False)))
    assert model.request("u0", "space war") == model.recommend("u0")


def test_no_more_than_there_are(tmp_path: Path) -> None:
    model = TrainedModel.load(write(tmp_path / "m", recipe()))
    left = len(reference_ranking(tables(), 0, None))
    assert len(model.recommend("u0", 1000)) == left < ITEMS


def test_in_8_bits_the_scores_are_close(tmp_path: Path) -> None:
    exact = TrainedModel.load(write(tmp_path / "exact", recipe()))
    small = TrainedModel.load(write(tmp_path / "small", recipe("int8", int8=True)))
    names = [f"i{n}" for n in range(ITEMS)]
    for user in exact.users:
        wanted, found = exact.scores(user, names), small.scores(user, names)
        assert not np.array_equal(wanted, found)
        assert np.abs(wanted - found).max() < 0.03 * np.ptp(wanted)
    sizes = [(tmp_path / n / ARRAYS).stat().st_size for n in ("small", "exact")]
    assert sizes[0] < 0.4 * sizes[1]


def test_quantisation_errs_by_half_a_step_at_most() -> None:
    table = np.random.default_rng(1).normal(size=(50, 16)).astype(np.float32)
    table[7] = 0
    values, scale = quantise(table)
    assert values.dtype == np.int8
    assert np.all(np.abs(values * scale[:, None] - table) <= scale[:, None] * 0.5001)


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (lambda f: (f / MANIFEST).unlink(), "no model folder"),
        (lambda f: (f / MANIFEST).write_text("{"), "no model folder"),
        (lambda f: (f / MANIFEST).write_text('{"format": "other"}'), "no model folder"),
        (lambda f: (f / ENCODER).unlink(), "encoder.onnx is missing"),
        (lambda f: (f / ENCODER).write_bytes(b"x" + (f / ENCODER).read_bytes()[1:]), "checksum"),
        (lambda f: (f / ARRAYS).write_bytes((f / ARRAYS).read_bytes()[:-1]), "checksum"),
        (lambda f: edited(f, version=9), "version 9"),
        (lambda f: edited(f, files={}), "does not name its files"),
        (lambda f: edited(f, recipe={"name": "x"}), "recipe is not understood"),
        (lambda f: named(f, "../outside"), "../outside is missing"),
        (lambda f: piped(f / MANIFEST), "model.json: not a file"),
        (lambda f: (f / MANIFEST).write_text("[" * 100_000), "no model folder"),
        (lambda f: with_ids(f, "[" * 100_000), "ids.json: maximum recursion depth"),
        (lambda f: with_ids(f, "\udcff"), "damaged: ids.json"),
        (lambda f: with_ids(f, "[]"), "ids.json: not the ids"),
        (lambda f: with_ids(f, '{"users": [[1]], "items": []}'), "ids.json: not the ids"),
        (lambda f: with_ids(f, '{"users": ["a", "a"], "items": []}'), "each once"),
    ],
)
def test_what_is_damaged_is_told_in_a_line(harm, says: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "m", recipe())
    (tmp_path / "outside").write_text("not of the model")
    harm(folder)
    with pytest.raises(TrainedModelError, match=says) as caught:
        TrainedModel.load(folder)
    assert "\n" not in str(caught.value)


def edited(folder: Path, **fields: object) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(manifest | fields))


def piped(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def with_ids(folder: Path, text: str) -> None:
    (folder / IDS).write_text(text, errors="surrogateescape")
    seal(folder, recipe())


def named(folder: Path, name: str) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    edited(folder, files=manifest["files"] | {name: "0" * 64})


def test_tables_of_another_size_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "m", recipe())
    with np.load(folder / ARRAYS) as held:
        arrays = dict(held)
    arrays["outputs"] = arrays["outputs"][1:]
    np.savez(folder / ARRAYS, **arrays)
    seal(folder, recipe())
    with pytest.raises(TrainedModelError, match="outputs is"):
        TrainedModel.load(folder)


def no_numbers(arrays: dict[str, np.ndarray]) -> None:
    arrays["outputs"][0, 0] = np.nan


def far_edges(arrays: dict[str, np.ndarray]) -> None:
    arrays["edges"] = np.full_like(arrays["edges"], 2**31 - 1)


def starts_that_fall(arrays: dict[str, np.ndarray]) -> None:
    arrays["starts"][1] = 2**40


def scales_that_overflow(arrays: dict[str, np.ndarray]) -> None:
    arrays["rows"] = np.full_like(arrays["rows"], 127, np.int8)
    arrays["rows_scale"] = np.full(len(arrays["rows"]), 3e38, np.float32)


def words(arrays: dict[str, np.ndarray]) -> None:
    arrays["take_bias"] = arrays["take_bias"].astype(str)


def another_text(arrays: dict[str, np.ndarray]) -> None:
    arrays["text_rows"] = arrays["text_rows"][:, 1:]


def no_basis(arrays: dict[str, np.ndarray]) -> None:
    arrays["text_basis"] = np.float32(0)


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (no_numbers, "outputs holds what is no number"),
        (scales_that_overflow, "rows holds what is no number"),
        (words, "take_bias holds what is no number"),
        (another_text, "text_rows is"),
        (no_basis, "not the tables of a model"),
        (far_edges, "do not name rows"),
        (starts_that_fall, "do not name rows"),
    ],
)
def test_numbers_that_would_lead_kernels_astray_are_refused(harm, says, tmp_path: Path) -> None:
    folder = write(tmp_path / "m", recipe())
    with np.load(folder / ARRAYS) as held:
        arrays = {name: array.copy() for name, array in held.items()}
    harm(arrays)
    np.savez(folder / ARRAYS, **arrays)
    seal(folder, recipe())
    with pytest.raises(TrainedModelError, match=says):
        TrainedModel.load(folder)


def test_a_shape_that_is_declared_and_not_there_takes_no_memory(tmp_path: Path) -> None:
    folder = write(tmp_path / "m", recipe())
    held = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        held, {"descr": "<f4", "fortran_order": False, "shape": (2**36, 64)}
    )
    with zipfile.ZipFile(folder / ARRAYS, "w") as archive:
        archive.writestr("rows.npy", held.getvalue())
    seal(folder, recipe())
    with pytest.raises(TrainedModelError, match=r"rows.npy is no array of shape \(68719476736, 64"):
        TrainedModel.load(folder)
    with zipfile.ZipFile(folder / ARRAYS, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("rows.npy", bytes(10_000_000))
    seal(folder, recipe())
    with pytest.raises(TrainedModelError, match=r"rows\.npy is compressed"):
        TrainedModel.load(folder)


def event(number: int, user: str, item: str) -> Interaction:
    return Interaction(
        event_id=str(number), user=user, item=item, timestamp=1_000_000_000_000 + number,
        kind="rating", value=5.0,
    )  # fmt: skip


def test_a_warm_engine_begins_with_what_the_model_learnt(tmp_path: Path) -> None:
    folder = write(tmp_path / "m", recipe())
    warm = Recommender.new(EngineSettings(trained=str(folder)))
    t = tables()
    assert warm.items.names == [f"i{n}" for n in range(ITEMS)]
    assert np.array_equal(warm.embeddings.outputs[:ITEMS], t.outputs[:, LIKE:])
    assert np.array_equal(warm.embeddings.personal[:USERS], t.users[:, LIKE:])
    cold = Recommender.new(EngineSettings())
    for engine in (warm, cold):
        for n in range(ITEMS):
            engine.upsert_item(Item(item=f"i{n}"))
        for n in range(12):
            engine.observe(event(n, f"u{n % 3}", f"i{n}"))
    assert warm.recommend("u0").items != cold.recommend("u0").items
    assert not np.array_equal(warm.embeddings.outputs[:ITEMS], t.outputs[:, LIKE:])  # went on
    warm.save(tmp_path / "state")
    shutil.rmtree(folder)  # what is saved needs the folder no more
    assert Recommender.load(tmp_path / "state").recommend("u0").items == warm.recommend("u0").items


def test_only_a_new_engine_of_the_model_s_width_can_be_warm_started(tmp_path: Path) -> None:
    model = TrainedModel.load(write(tmp_path / "m", recipe()))
    with pytest.raises(WarmStartError, match=r"engine\.dimensions = 16"):
        Recommender(EngineSettings(dimensions=16)).warm_start(model)
    with pytest.raises(WarmStartError, match=r"engine\.max_users = 3"):
        Recommender(EngineSettings(max_users=3)).warm_start(model)
    engine = Recommender()
    engine.upsert_item(Item(item="i1"))
    engine.observe(event(0, "ann", "i1"))
    with pytest.raises(WarmStartError, match="observed nothing"):
        engine.warm_start(model)
