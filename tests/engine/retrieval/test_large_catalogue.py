"""Catalogues of which only named candidates are scored, against the exact engine."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from engine import EngineSettings, Interaction, Item, Recommender, Rules
from engine.datasets import Synthetic
from tests.engine.builders import forgets, ids, state, took

EXACT = EngineSettings()
LARGE = EngineSettings(exact_items=50, candidates=200)
SOURCE = Synthetic(items=300, events=2000)
FILMS = list(SOURCE.items())
EVENTS = list(SOURCE.interactions())
MODELS = ("hybrid", *(pytest.param(model, marks=pytest.mark.long) for model in ("gnn", "llm")))

Told = Interaction | Item


def arriving() -> list[Told]:
    """Events, and films as they appear: most of them after the indexes were built."""
    told: list[Told] = [*FILMS, *EVENTS]
    return sorted(told, key=lambda one: (one.timestamp, isinstance(one, Interaction)))


def tell(made: Recommender, one: Told) -> list[str]:
    if isinstance(one, Interaction):
        return ids(made.observe(one))
    made.upsert_item(one)
    return []


def large(model: str = "hybrid") -> EngineSettings:
    return EngineSettings.model_validate({**LARGE.model_dump(), "model": model})


class Lived(NamedTuple):
    """An engine that was told everything and asked nothing; its answers; a file of its state."""

    engine: Recommender
    answers: list[list[str]]
    file: Path


@pytest.fixture(scope="module", params=MODELS)
def lived(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Lived:
    """An engine of each model; to be looked at only. What tells it more loads a copy."""
    made = Recommender(large(request.param))
    answers = [tell(made, step) for step in arriving()]
    file = tmp_path_factory.mktemp("lived") / "state"
    made.save(file)
    return Lived(made, answers, file)


only_hybrid = pytest.mark.parametrize("lived", ["hybrid"], indirect=True)


def test_equal_calls_give_equal_answers_and_equal_state_whatever_is_asked(lived: Lived) -> None:
    """What is asked for a user is what the answer to their last event says."""
    made = Recommender(lived.engine.settings)
    for number, (step, shown) in enumerate(zip(arriving(), lived.answers, strict=True)):
        assert tell(made, step) == shown
        if isinstance(step, Interaction) and number % 10 == 0:
            assert ids(made.recommend(step.user)) == shown
        if number % 50 == 0:
            made.recommend(f"user-{number % 60}", k=30, rules=Rules(diversity=0.3))
    assert state(lived.engine) == state(made)
    assert made.retrieval._embeddings.is_built
    assert made.retrieval._texts.is_built == (made.settings.model != "gnn")


def test_lists_are_full_from_the_first_event(lived: Lived) -> None:
    told = zip(arriving(), lived.answers, strict=True)
    assert {len(shown) for step, shown in told if isinstance(step, Interaction)} == {10}


@pytest.mark.parametrize("model", MODELS)
def test_nothing_taken_hidden_or_excluded_is_shown(model: str) -> None:
    settings = EngineSettings.model_validate(
        {
            **large(model).model_dump(),
            "exclude_categories": ["Horror"],
            "excludes": ["all"],
        }
    )
    made = Recommender(settings)
    horror = {film.item for film in FILMS if "Horror" in film.categories}
    assert horror
    hidden: set[str] = set()
    taken: dict[str, set[str]] = {}
    for number, step in enumerate(arriving()):
        if isinstance(step, Item):
            made.upsert_item(step)
            continue
        if number % 20 == 0 and step.item:  # just when it is popular
            hidden.add(step.item)
            film = next(film for film in FILMS if film.item == step.item)
            made.upsert_item(Item(item=film.item, categories=film.categories, hidden=True))
        own = taken.setdefault(step.user, set())
        if number % 17 == 5 and step.item:
            answer = made.observe(took(step.user, step.item, number, kind="dislike"))
            own.add(step.item)
        elif number % 97 == 30:
            answer = made.observe(forgets(step.user))
            own.clear()
        else:
            answer = made.observe(step)
            own.add(step.item or "")
        shown = ids(answer)
        assert len(set(shown)) == len(shown) <= 10
        assert not set(shown) & (own | hidden | horror)
        if number % 25 == 0:
            asked = set(ids(made.recommend(step.user, 1000)))
            assert not asked & (own | hidden | horror)
            assert not set(ids(made.recommend("unknown", 1000))) & (hidden | horror)
    assert len(hidden) > 30


def compared(steps: list[Told], model: str) -> tuple[float, float, float]:
    """How much of the exact engine's top 10 the other's has, over the last 300 events, and how
    often each had in it what was taken next, over the second half.
    """
    engines = (
        Recommender(EngineSettings.model_validate({"model": model})),
        Recommender(large(model)),
    )
    shares: list[float] = []
    hits: list[tuple[bool, bool]] = []
    taken: set[tuple[str, str | None]] = set()
    for number, step in enumerate(steps):
        if isinstance(step, Interaction):
            if number > len(steps) // 2 and (step.user, step.item) not in taken:
                exact, named = (step.item in ids(made.recommend(step.user)) for made in engines)
                hits.append((exact, named))
            taken.add((step.user, step.item))
        first, second = (tell(made, step) for made in engines)
        if first:
            shares.append(len(set(first) & set(second)) / len(first))
    exact_hits, named_hits = np.mean(hits, axis=0)
    return float(np.mean(shares[-300:])), float(exact_hits), float(named_hits)


@pytest.mark.parametrize(
    ("steps", "model", "least"),
    [
        (EVENTS, "hybrid", 0.8),
        (EVENTS, "gnn", 0.8),
        (EVENTS, "llm", 0.7),
        (arriving(), "hybrid", 0.5),
        pytest.param(arriving(), "gnn", 0.5, marks=pytest.mark.long),
        pytest.param(arriving(), "llm", 0.4, marks=pytest.mark.long),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_lists_are_much_like_those_of_the_exact_engine(
    steps: list[Told], model: str, least: float
) -> None:
    share, exact, named = compared(steps, model)
    kind = "events alone" if steps is EVENTS else "films as they appear"
    print(f"{model}, {kind}: {share:.3f} of the exact top 10; hits {named:.3f}, exact {exact:.3f}")
    assert share > least
    assert named > 0.9 * exact


def test_up_to_the_bound_answers_are_the_exact_ones() -> None:
    exact = Recommender(EXACT)
    bounded = Recommender(EngineSettings(exact_items=400, candidates=200))
    for step in arriving()[:1200]:
        assert tell(exact, step) == tell(bounded, step)
    assert not bounded.retrieval._texts.is_built


@only_hybrid
def test_a_new_item_near_the_users_taste_appears_before_anybody_took_it(lived: Lived) -> None:
    made = Recommender.load(lived.file)
    taken: Counter[str] = Counter()
    by_user: dict[str, list[str]] = {}
    for event in EVENTS:
        by_user.setdefault(event.user, []).append(event.item or "")
    films = {film.item: film for film in FILMS}
    for user, items in sorted(by_user.items()):
        if len(items) < 20:
            continue
        like = films[items[-1]]
        text = f"{like.text} Once more."
        name = f"new for {user}"
        made.upsert_item(
            Item(item=name, text=text, categories=like.categories, properties=like.properties)
        )
        number = made.items.find(name)
        assert number is not None
        assert made.popularity.counts[number] == 0
        taken[user] = name in ids(made.recommend(user, 20))
    assert len(taken) >= 10
    found = sum(taken.values()) / len(taken)
    print(f"{found:.2f} of {len(taken)} users are shown the new item in their top 20")
    assert found > 0.5


@only_hybrid
def test_somebody_unknown_or_forgotten_is_shown_what_is_trending(lived: Lived) -> None:
    made = Recommender.load(lived.file)
    answer = made.recommend("unknown")
    assert len(answer.items) == 10
    assert {entry.reason for entry in answer.items} == {"trending"}
    forgotten = made.observe(forgets(EVENTS[-1].user)).items
    assert forgotten == made.recommend("unknown").items  # without what that user had added
    first = forgotten[0].item
    disliked = made.observe(took("new", first, kind="dislike"))
    assert first not in ids(disliked)
    assert len(disliked.items) == 10


@only_hybrid
def test_somebody_unknown_may_ask_for_more_than_what_is_trending(lived: Lived) -> None:
    few = ids(lived.engine.recommend("unknown"))
    many = ids(lived.engine.recommend("unknown", 1000))
    assert many[:10] == few
    assert len(many) > 200


def test_an_item_enters_the_index_even_if_its_fourth_event_is_a_repeat() -> None:
    made = Recommender(EngineSettings(model="gnn", exact_items=50, candidates=200))
    for n in range(60):
        made.observe(took(f"u{n}", f"m{n}", n))
    for n, user in enumerate(("a", "b", "c", "c", "d", "e", "f")):
        made.observe(took(user, f"m{n}", 100 + 2 * n))
        made.observe(took(user, "target", 101 + 2 * n))
    item = made.items.intern("target")
    assert 2 * item in made.retrieval._embeddings
