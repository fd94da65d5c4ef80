"""The three models on one stream: what each reads, and what it must not read."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec import structs

from engine import EngineSettings, Recommender
from engine.text.encoder import TextEncoder
from tests.engine.builders import films, ids, known, mixed, state, took

MODELS = ("hybrid", "gnn", "llm")
every = pytest.mark.parametrize("model", MODELS)


def told(made: Recommender) -> list[list[tuple[str, float, str]]]:
    return [list(map(tuple, made.observe(event).items)) for event in mixed()]


@every
def test_each_model_is_deterministic_on_the_mixed_stream(model: str) -> None:
    one, two = (known(EngineSettings(model=model)) for _ in range(2))
    answers = told(one)
    assert answers == told(two)
    assert state(one) == state(two)
    assert sum(map(bool, answers)) > 380
    assert all(np.isfinite(score) for answer in answers for _, score, _ in answer)


def test_models_rank_differently() -> None:
    hybrid, gnn, llm = (told(known(EngineSettings(model=model))) for model in MODELS)
    assert hybrid != gnn != llm != hybrid


@pytest.mark.parametrize(
    ("model", "reasons"),
    [
        ("hybrid", {"because of", "trending", "similar text"}),
        ("gnn", {"because of", "trending"}),
        ("llm", {"trending", "similar text"}),
    ],
)
def test_a_model_gives_only_reasons_of_its_parts(model: str, reasons: set[str]) -> None:
    found = {
        "because of" if reason.startswith("because of ") else reason
        for answer in told(known(EngineSettings(model=model)))
        for _, _, reason in answer
    }
    assert found == reasons


def test_the_gnn_does_not_depend_on_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("a text was encoded")

    monkeypatch.setattr(TextEncoder, "__init__", never)
    settings = EngineSettings(model="gnn")
    told_texts, bare, given = (Recommender(settings) for _ in range(3))
    for film in films():
        told_texts.upsert_item(film)
        # The title is kept: it is what reasons name.
        bare.upsert_item(structs.replace(film, text="", categories=[], properties={}))
        given.upsert_item(film, np.ones(384, np.float32))
    for event in mixed():
        answer = told_texts.observe(event).items
        assert bare.observe(structs.replace(event, text=None)).items == answer
        assert given.observe(event).items == answer
    assert not told_texts.vectors.vectors.any()
    assert not told_texts.taste.profiles.any()


def test_the_llm_does_not_depend_on_the_tables_of_the_graph() -> None:
    plain, other = (known(EngineSettings(model="llm")) for _ in range(2))
    draw = np.random.default_rng(3)
    for number, event in enumerate(mixed()):
        if number % 10 == 0:
            e, t = other.embeddings, other.transitions
            for table in (
                e.inputs, e.outputs, e.personal_outputs, e.second_hop, e.users, e.personal,
                e.directions, t.weights,
            ):  # fmt: skip
                table[...] = draw.uniform(0, 3, table.shape)
        left, right = plain.observe(event).items, other.observe(event).items
        assert [entry[:2] for entry in left] == [entry[:2] for entry in right]


@pytest.mark.parametrize("model", ["hybrid", "llm"])
def test_a_model_that_reads_depends_on_texts(model: str) -> None:
    settings = EngineSettings(model=model)
    bare = Recommender(settings)
    for film in films():
        bare.upsert_item(structs.replace(film, text="", title="", categories=[], properties={}))
    assert told(bare) != told(known(settings))


@every
def test_a_part_that_is_off_learns_no_weight(model: str) -> None:
    made = known(EngineSettings(model=model, excludes=["purchase"]))
    told(made)
    off = made.head.active == 0
    assert off.any() == (model != "hybrid")
    assert not made.head.weights[off].any()
    assert made.head.weights[~off].any(axis=1).all()


@every
def test_somebody_new_is_shown_items_by_every_model(model: str) -> None:
    made = known(EngineSettings(model=model))
    told(made)
    assert len(ids(made.recommend("unknown"))) == 10
    assert len(ids(made.observe(took("new", "film-1")))) == 10
