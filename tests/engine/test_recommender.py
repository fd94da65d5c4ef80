"""What the engine promises: determinism, no future, and nothing that must not be shown."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import itertools
import pkgutil

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

import engine
from engine import Answer, EngineSettings, Item, Recommender, Rules
from engine.events import KIND_WEIGHTS, item_text
from tests.engine.builders import (
    WITHOUT_TEXT,
    films,
    ids,
    known,
    mixed,
    state,
    stream,
    took,
    trained,
)

WITH_TEXT = EngineSettings()
both = pytest.mark.parametrize("settings", [WITHOUT_TEXT, WITH_TEXT], ids=["graph", "text"])


# ---------------------------------------------------------------- determinism, no future


@both
def test_equal_calls_give_equal_answers_and_equal_state(settings: EngineSettings) -> None:
    one, two = known(settings), known(settings)
    for event in mixed():
        assert one.observe(event).items == two.observe(event).items
    assert state(one) == state(two)
    assert len(state(one)) > 40


@both
@hypothesis.settings(max_examples=10, deadline=None)
@hypothesis.given(
    cuts=st.lists(st.integers(1, 70), min_size=1, max_size=20), seed=st.integers(0, 3)
)
def test_a_log_cut_into_batches_anyhow_gives_equal_answers_and_equal_state(
    settings: EngineSettings, cuts: list[int], seed: int
) -> None:
    log = mixed(seed, events=200)
    answered = [number % 5 != seed for number in range(len(log))]
    single, batched = known(settings), known(settings)
    expected = [
        single.observe(event, answer).items for event, answer in zip(log, answered, strict=True)
    ]
    answers: list[Answer] = []
    for cut in itertools.cycle(cuts):
        at = slice(len(answers), len(answers) + cut)
        if len(answers) == len(log):
            break
        answers += batched.observe_many(log[at], answered[at])
    assert [answer.items for answer in answers] == expected
    assert state(batched) == state(single)


def test_as_many_answers_are_asked_for_as_interactions_are_told() -> None:
    made = known(WITHOUT_TEXT)
    before = state(made)
    with pytest.raises(ValueError, match="2 interactions, 1 answers"):
        made.observe_many(stream()[:2], [True])
    assert state(made) == before


def test_a_seed_decides_the_answers() -> None:
    event = stream()[-1]
    answers = [
        trained(stream(), EngineSettings(model="gnn", seed=seed)).recommend(event.user).items
        for seed in (0, 0, 1)
    ]
    assert answers[0] == answers[1] != answers[2]


@both
def test_the_past_does_not_depend_on_the_future(settings: EngineSettings) -> None:
    past, future = mixed()[:200], mixed()[200:]
    answers = []
    for tail in (future, future[::-1], mixed(seed=1), []):
        made = Recommender(settings)
        answers.append([made.observe(event).items for event in [*past, *tail]][:200])
    assert answers[0] == answers[1] == answers[2] == answers[3]


@both
def test_recommending_changes_nothing_and_agrees_with_the_answer(settings: EngineSettings) -> None:
    made = known(settings)
    for number, event in enumerate(mixed()):
        answer = made.observe(event)
        if number % 40:
            continue
        before = state(made)
        assert made.recommend(event.user).items == answer.items
        made.recommend("somebody new")
        made.recommend(mixed()[0].user, k=3, rules=Rules(diversity=0.5, per_category=1))
        assert state(made) == before


@pytest.mark.parametrize(
    "settings", [WITHOUT_TEXT, EngineSettings(exact_items=20, candidates=100)], ids=["all", "named"]
)
def test_asking_between_events_changes_no_later_answer(settings: EngineSettings) -> None:
    # What was scored for an answer is used again for the next event if nothing came between.
    asked, quiet = Recommender(settings), Recommender(settings)
    for event in mixed():
        asked.recommend(event.user)
        asked.recommend("user-1", k=50)
        assert asked.observe(event).items == quiet.observe(event).items
    assert state(asked) == state(quiet)


def test_both_aggregators_rank_alike() -> None:
    made = [
        trained(stream(), EngineSettings(model="gnn", aggregator=name))
        for name in ("numba", "numpy")
    ]
    for user in {event.user for event in stream()}:
        first, second = (
            {entry.item: entry.score for entry in one.recommend(user, 60).items} for one in made
        )
        # A rounding apart may be a step of a code apart.
        assert first == pytest.approx(second, abs=2e-2)


# ---------------------------------------------------------------- what is shown


@both
@pytest.mark.parametrize("excludes", [EngineSettings().excludes, ["all"]], ids=["shop", "all"])
def test_excluded_disliked_and_hidden_items_are_never_shown(
    settings: EngineSettings, excludes: list[str]
) -> None:
    # The catalogue names hidden items alone.
    settings = settings.model_copy(update={"excludes": excludes, "recommend_unlisted": True})
    made = Recommender(settings)
    hidden = {f"film-{n}" for n in range(1, 61, 3)}
    for item in hidden:
        made.upsert_item(Item(item=item, hidden=True))
    excluded: dict[str, set[str]] = {}
    lists = 0
    for event in mixed():
        own = excluded.setdefault(event.user, set())
        if event.item is None:
            own.clear()
        elif excludes == ["all"] or event.kind in (*excludes, "dislike"):
            own.add(event.item)
        shown = ids(made.observe(event))
        lists += bool(shown)
        assert len(set(shown)) == len(shown) <= 10
        assert not own & set(shown)
        assert not hidden & set(shown)
    assert lists > 380


def test_an_item_hidden_later_disappears_and_comes_back() -> None:
    made = trained(stream())
    user = stream()[-1].user
    for asker in (user, "unknown"):
        first = ids(made.recommend(asker))[0]
        made.upsert_item(Item(item=first, hidden=True))
        assert first not in ids(made.recommend(asker, 60))
        made.upsert_item(Item(item=first))
        assert first in ids(made.recommend(asker))


def test_a_disliked_item_is_not_shown_and_teaches_nothing_else() -> None:
    made = trained(stream())
    user = stream()[-1].user
    before = state(made)
    disliked = ids(made.recommend(user))[0]
    assert disliked not in ids(made.observe(took(user, disliked, kind="dislike")))
    assert disliked not in ids(made.recommend(user, 60))
    changed = {where for where, value in state(made).items() if before.get(where) != value}
    assert {"/".join(where.split("/")[:2]) for where in changed} <= {
        "users/taken", "users/disliked", "items/use_order",
    }  # fmt: skip
    assert changed


@pytest.mark.parametrize("k", [1, 7, 25, 1000])
def test_k_may_be_chosen_for_a_request(k: int) -> None:
    made = trained(stream(), WITHOUT_TEXT.model_copy(update={"excludes": ["all"]}))
    user = stream()[-1].user
    left = len(made.items) - len({event.item for event in stream() if event.user == user})
    shown = ids(made.recommend(user, k))
    assert len(shown) == len(set(shown)) == min(k, left)
    assert ids(made.recommend(user, 5))[:k] == shown[:5]
    assert len(ids(made.recommend("unknown", k))) == min(k, len(made.items))


def test_k_of_the_settings_is_what_an_answer_holds() -> None:
    made = trained(stream(), EngineSettings(model="gnn", k=3))
    assert len(made.observe(stream()[-1]).items) == 3


def test_scores_are_finite_and_best_first() -> None:
    made = known(WITH_TEXT)
    for event in mixed():
        scores = [entry.score for entry in made.observe(event).items]
        assert scores == sorted(scores, reverse=True)
        assert np.isfinite(scores).all()


# ---------------------------------------------------------------- users and items at the edge


def test_without_items_the_list_is_empty() -> None:
    made = Recommender(WITHOUT_TEXT)
    assert made.recommend("ann").items == []
    assert made.observe(took("ann", None, kind="forget")).items == []
    assert made.observe(took("ann", "only")).items == []


def test_a_catalogue_without_events_is_shown_from_the_start() -> None:
    made = Recommender(WITHOUT_TEXT)
    for n in range(30):
        made.upsert_item(Item(item=f"m{n}"))
    assert len(ids(made.recommend("ann"))) == 10


def test_somebody_unknown_gets_what_is_trending() -> None:
    made = Recommender(WITHOUT_TEXT)
    for n in range(60):
        made.observe(took(f"u{n}", "old" if n < 20 else "new" if n < 50 else f"rare {n}", n))
    answer = made.recommend("unknown")
    assert ids(answer)[:2] == ["new", "old"]
    assert {entry.reason for entry in answer.items} == {"trending"}
    assert made.users.find("unknown") is None


def test_the_first_event_makes_the_answer_personal() -> None:
    made = Recommender(WITHOUT_TEXT)
    for n in range(120):  # two circles that share nothing, the second ten times as large
        circle = "ab"[n % 12 > 0]
        way = (1, -1)[n // 12 % 2]  # else film 5 would never follow film 0, which is learnt
        for film in range(4):
            item = f"{circle}-film {(n // 12 + n + way * film) % 6}"
            made.observe(took(f"{circle}{n}", item, 10 * n + film))
    assert ids(made.recommend("ann"))[0].startswith("b")
    shown = ids(made.observe(took("ann", "a-film 0", 10_000)))
    assert set(shown[:5]) == {f"a-film {n}" for n in range(1, 6)}


def test_taking_an_item_again_keeps_one_count_and_the_item_unshown() -> None:
    made = trained(stream())
    made.observe(took("ann", "film-1", 0))
    number = made.items.find("film-1")
    counts, steps = made.popularity.counts.copy(), made.popularity.events
    transitions = made.transitions.weights.copy()
    learnt = [made.head.weights.copy(), made.embeddings.outputs.copy()]
    for at in range(1, 100):
        assert "film-1" not in ids(made.observe(took("ann", "film-1", at, kind="click")))
    np.testing.assert_array_equal(made.popularity.counts, counts)
    np.testing.assert_array_equal(made.transitions.weights, transitions)
    assert made.popularity.events == steps
    np.testing.assert_array_equal(made.head.weights, learnt[0])
    np.testing.assert_array_equal(made.embeddings.outputs, learnt[1])
    user = made.users.find("ann")
    assert user is not None
    assert set(made.graph.users.recent_ids(user, 64).tolist()) == {number}
    assert len(made.observe(took("ann", "film-2", 200)).items) == 10


def test_items_the_catalogue_does_not_know_are_learnt_and_shown() -> None:
    made = known(WITH_TEXT)
    for n in range(40):
        made.observe(took(f"u{n % 10}", f"unlisted {n % 7}", n))
    answer = made.observe(took("ann", "unlisted 0", 100))
    assert any(item.startswith("unlisted") for item in ids(answer)[:3])


def test_ids_of_any_script_are_kept_as_they_are() -> None:
    made = Recommender(WITHOUT_TEXT)
    made.upsert_item(Item(item="千と千尋", title="Spirited Away"))
    made.observe(took("žofie 🎬", "naïve/é", 0))
    answer = made.observe(took("Ωμέγα", "naïve/é", 1))
    assert ids(answer) == ["千と千尋"]
    assert ids(made.recommend("žofie 🎬")) == ["千と千尋"]


@both
def test_state_grows_past_its_first_size(settings: EngineSettings) -> None:
    made = Recommender(settings)
    for n in range(2500):
        made.observe(took(f"u{n}", f"m{n}", n, kind="purchase"))
    for number, user in enumerate(("u0", "u1023", "u1024", "u2499")):
        shown = ids(made.observe(took(user, f"m{number + 5}", 10_000)))
        assert len(shown) == 10
        assert f"m{user[1:]}" not in shown
    assert made.users.find("u2499") == made.items.find("m2499") == 2499


# ---------------------------------------------------------------- reasons


def test_reasons_name_the_title_of_what_the_user_took() -> None:
    made = known(WITH_TEXT)
    taken: dict[str, set[str]] = {}
    found: set[str] = set()
    titles = {item.item: item.title for item in films()}
    for event in mixed():
        own = taken.setdefault(event.user, set())
        if event.item is None:
            own.clear()
        elif KIND_WEIGHTS[event.kind] > 0:
            own.add(titles[event.item])
        for entry in made.observe(event).items:
            start, _, title = entry.reason.partition("because of ")
            if title:
                assert (start, title in own) == ("", True)
                found.add("because of")
            else:
                found.add(entry.reason)
    assert found == {"because of", "trending", "similar text"}


def test_without_a_title_the_item_is_named_and_a_later_title_replaces_it() -> None:
    made = Recommender(WITHOUT_TEXT)
    for n in range(20):
        for item in ("x", "y"):
            made.observe(took(f"u{n}", item, 2 * n))
    assert made.observe(took("ann", "x", 100)).items[0].reason == "because of x"
    made.upsert_item(Item(item="x", title="The X"))
    assert made.recommend("ann").items[0].reason == "because of The X"


# ---------------------------------------------------------------- text


def test_review_text_describes_an_item_that_has_none() -> None:
    made = Recommender(WITH_TEXT)
    for n in range(40):
        kind, word = ("horror", "ghost") if n % 2 else ("food", "pasta")
        words = f"number {n}, all about {word} and nothing but {word}"
        made.observe(took(f"u{n % 8}", f"{kind}{n % 10}", n, kind="review", text=words))
    vectors = made.vectors.vectors
    one, two, food = (vectors[made.items.intern(name)] for name in ("horror1", "horror3", "food2"))
    assert one @ two > one @ food + 0.5


@pytest.mark.parametrize(
    "settings", [EngineSettings(review_text=False), WITHOUT_TEXT], ids=["no reviews", "no text"]
)
def test_reviews_may_be_left_unread(settings: EngineSettings) -> None:
    read, unread = Recommender(settings), Recommender(settings)
    for n in range(20):
        read.observe(took(f"u{n % 4}", f"m{n}", n, kind="review", text=f"some words {n}"))
        unread.observe(took(f"u{n % 4}", f"m{n}", n, kind="review"))
    assert state(read) == state(unread)


def test_a_review_of_an_item_that_has_a_text_changes_nothing() -> None:
    read, unread = Recommender(WITH_TEXT), Recommender(WITH_TEXT)
    for made in (read, unread):
        for n in range(8):
            made.upsert_item(Item(item=f"m{n}", title=f"Film number {n}"))
    for n in range(20):
        read.observe(took(f"u{n % 4}", f"m{n % 8}", n, kind="review", text=f"some words {n}"))
        unread.observe(took(f"u{n % 4}", f"m{n % 8}", n, kind="review"))
    assert state(read) == state(unread)


def test_a_user_is_shown_what_reads_like_what_they_took() -> None:
    made = Recommender(WITH_TEXT)
    themes = {"ghost": "A haunted house and its ghosts", "pasta": "Cooking pasta in Naples"}
    for theme, text in themes.items():
        for n in range(8):
            made.upsert_item(Item(item=f"{theme} {n}", text=f"{text}, part {n}"))
    answer = made.observe(took("ann", "ghost 0"))
    assert all(item.startswith("ghost") for item in ids(answer)[:3])
    reasons = {entry.item: entry.reason for entry in answer.items}
    assert "similar text" in reasons.values()
    assert all(item.startswith("ghost") for item in reasons if reasons[item] == "similar text")


def test_an_embedding_from_elsewhere_does_as_one_made_here() -> None:
    here, elsewhere = Recommender(WITH_TEXT), Recommender(WITH_TEXT)
    for item in films():
        here.upsert_item(item)
        elsewhere.upsert_item(item, embedding=here._encode(item_text(item)))
    assert state(here) == state(elsewhere)


def test_the_text_of_an_item_is_its_own_or_else_its_title_and_categories() -> None:
    assert item_text(Item(item="1", title="Alien", text="In space", categories=["A"])) == "In space"
    assert item_text(Item(item="1", title="Alien", categories=["A", "B"])) == "Alien. A, B"
    assert item_text(Item(item="1", title="Alien")) == "Alien"
    assert item_text(Item(item="1", categories=["A"])) == ""


# ---------------------------------------------------------------- documentation


def test_every_documented_example_of_the_engine_runs() -> None:
    trains = importlib.util.find_spec("torch") is not None
    names = [
        found.name
        for found in pkgutil.walk_packages(engine.__path__, "engine.")
        if trains or not found.name.startswith("engine.training.")
    ]
    results = [doctest.testmod(importlib.import_module(name)) for name in names]
    assert sum(result.failed for result in results) == 0
    assert sum(result.attempted for result in results) >= 5
