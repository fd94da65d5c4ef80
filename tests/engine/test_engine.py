"""What the engine promises: determinism, no future, nothing that must not be shown."""

from __future__ import annotations

import doctest
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engine.recommender
from engine import EngineSettings, Interaction, Item, Recommender
from engine.datasets import Synthetic, open_dataset
from engine.evaluation.prequential import PrequentialEvaluator

ML_100K = Path(__file__).parents[3] / "shared" / "data" / "ml-100k"
WITHOUT_TEXT = EngineSettings(text=False)


def stream(seed: int = 0, events: int = 400) -> list[Interaction]:
    return list(Synthetic(events=events, users=25, items=60, seed=seed).interactions())


def trained(events: list[Interaction], settings: EngineSettings = WITHOUT_TEXT) -> Recommender:
    made = Recommender(settings)
    for event in events:
        made.observe(event)
    return made


def state(made: Recommender) -> dict[str, bytes]:
    """Every array that the engine holds, by where it is."""
    found: dict[str, bytes] = {}

    def look(value: Any, where: str) -> None:
        if isinstance(value, np.ndarray):
            found[where] = value.tobytes()
        elif isinstance(value, list) and value and isinstance(value[0], np.ndarray):
            for number, entry in enumerate(value):
                look(entry, f"{where}[{number}]")
        elif hasattr(value, "__dict__") and type(value).__module__.startswith("engine"):
            for name, entry in vars(value).items():
                if where + name not in ("_features", "_weights"):  # scratch of the last scoring
                    look(entry, f"{where}{name}.")

    for name, value in vars(made).items():
        if name not in ("_features", "_weights"):
            look(value, f"{name}.")
    assert len(found) > 20
    return found


def ids(answer: engine.recommender.Answer) -> list[str]:
    return [entry.item for entry in answer.items]


def test_equal_calls_give_equal_answers_and_equal_bytes_of_state() -> None:
    one, two = Recommender(WITHOUT_TEXT), Recommender(WITHOUT_TEXT)
    for event in stream():
        assert one.observe(event).items == two.observe(event).items
    assert state(one) == state(two)


def test_the_past_does_not_depend_on_the_future() -> None:
    past, future, other = stream()[:200], stream()[200:], stream(seed=1)
    futures = [future, future[::-1], other]
    answers = []
    for tail in futures:
        made = Recommender(WITHOUT_TEXT)
        answers.append([made.observe(event).items for event in [*past, *tail]][:200])
    assert answers[0] == answers[1] == answers[2]


def test_recommending_changes_nothing_and_agrees_with_the_answer() -> None:
    made = trained(stream()[:-1])
    last = stream()[-1]
    answer = made.observe(last)
    before = state(made)
    assert made.recommend(last.user).items == answer.items
    assert made.recommend("somebody new").items
    assert state(made) == before


def test_seen_and_hidden_items_are_never_shown() -> None:
    made = Recommender(WITHOUT_TEXT)
    hidden = {f"film-{n}" for n in range(1, 61, 3)}
    for item in hidden:
        made.upsert_item(Item(item=item, hidden=True))
    seen: dict[str, set[str]] = {}
    for event in stream():
        seen.setdefault(event.user, set()).add(event.item or "")
        shown = ids(made.observe(event))
        assert shown or len(seen) < 5
        assert not seen[event.user] & set(shown)
        assert not hidden & set(shown)


def test_an_item_hidden_later_disappears_and_comes_back() -> None:
    made = trained(stream())
    user = stream()[-1].user
    first = ids(made.recommend(user))[0]
    made.upsert_item(Item(item=first, hidden=True))
    assert first not in ids(made.recommend(user))
    made.upsert_item(Item(item=first))
    assert first in ids(made.recommend(user))


def test_a_disliked_item_is_not_shown_and_teaches_nothing_else() -> None:
    made = trained(stream())
    weights = made.head.weights.copy()
    user = stream()[-1].user
    disliked = ids(made.recommend(user))[0]
    answer = made.observe(
        Interaction(
            event_id="d", user=user, item=disliked, timestamp=1_700_000_000_000, kind="dislike"
        )
    )
    assert disliked not in ids(answer)
    np.testing.assert_array_equal(made.head.weights, weights)


def test_forget_leaves_somebody_unknown_who_may_come_back() -> None:
    events = stream()
    made = trained(events)
    user = events[-1].user
    counts = made.popularity.counts.sum()
    made.forget(user)
    made.forget(user)
    made.forget("never seen")
    assert made.popularity.counts.sum() < counts
    assert made.recommend(user).items == made.recommend("unknown").items
    number = made.users.find(user)
    assert number is not None
    assert not made.taste.profiles[number].any()
    assert not made.embeddings.users[number].any()
    assert number not in made.graph.items.rows["id"][made.graph.items.weights > 0]
    assert made.observe(events[-1]).items


@pytest.mark.parametrize("k", [1, 7, 1000])
def test_k_may_be_chosen_for_a_request(k: int) -> None:
    made = trained(stream())
    shown = ids(made.recommend(stream()[-1].user, k))
    assert len(shown) == len(set(shown)) <= k
    assert len(shown) == k or k == 1000


def test_reasons_name_what_the_user_took() -> None:
    made = Recommender(WITHOUT_TEXT)
    taken: dict[str, set[str]] = {}
    for event in stream():
        taken.setdefault(event.user, set()).add(event.item or "")
        for entry in made.observe(event).items:
            because = entry.reason.removeprefix("because of ")
            assert because in taken[event.user] or entry.reason in ("trending", "similar text")


def test_state_grows_past_its_first_size() -> None:
    made = Recommender(WITHOUT_TEXT)
    for n in range(2500):
        made.observe(
            Interaction(
                event_id=str(n), user=f"u{n}", item=f"m{n}", timestamp=10**12 + n, kind="click"
            )
        )
    answer = made.observe(
        Interaction(event_id="x", user="u2499", item="m1", timestamp=2 * 10**12, kind="click")
    )
    assert len(answer.items) == 10


def test_review_text_describes_an_item_that_has_none() -> None:
    made = Recommender()
    for n in range(40):
        kind, word = ("horror", "ghost") if n % 2 else ("food", "pasta")
        made.observe(
            Interaction(
                event_id=str(n), user=f"u{n % 8}", item=f"{kind}{n % 10}", kind="review",
                timestamp=10**12 + n, text=f"number {n}, all about {word} and nothing but {word}",
            )
        )  # fmt: skip
    vectors = made.vectors.vectors
    horror = [vectors[made.items.find(f"horror{n}") or 0] for n in (1, 3)]
    food = vectors[made.items.find("food2") or 0]
    assert horror[0] @ horror[1] > horror[0] @ food + 0.5


def test_the_documented_example_runs() -> None:
    assert doctest.testmod(engine.recommender).failed == 0


def test_the_synthetic_stream_is_learnt_far_better_than_popularity() -> None:
    source = Synthetic(events=6000, seed=5)
    evaluator = PrequentialEvaluator(EngineSettings(), source.items())
    for _ in evaluator.run(source.interactions()):
        pass
    report = evaluator.report()
    assert report["ndcg@10"] > 1.5 * report["baselines"]["popularity"]["ndcg@10"]
    assert report["queries"] > 4000


@pytest.mark.skipif(not ML_100K.is_dir(), reason="MovieLens 100K is not beside the repository")
def test_movielens_100k_is_ranked_well() -> None:
    source = open_dataset(ML_100K)
    evaluator = PrequentialEvaluator(EngineSettings(), source.items())
    for _ in evaluator.run(source.interactions()):
        pass
    report = evaluator.report()
    assert report["ndcg@10"] > 0.11
    assert report["batch_strict"]["ndcg@10"] > 0.095
    assert report["ndcg@10"] > 2 * report["baselines"]["popularity"]["ndcg@10"]
