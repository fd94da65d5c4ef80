"""What a dislike, or a low rating, does to the items near the one it is about."""

from __future__ import annotations

import pytest

from engine import EngineSettings, Recommender
from engine.events import Kind
from engine.features.dislikes import judge
from engine.features.user_items import UserItems
from tests.engine.builders import WITHOUT_TEXT, ids, known, state, took, trained

HYBRID = EngineSettings()
both = pytest.mark.parametrize("settings", [WITHOUT_TEXT, HYBRID], ids=["gnn", "hybrid"])


def circles() -> list[tuple[str, str]]:
    """Users and what they take: two circles of eight items each, which share nobody."""
    return [
        (f"{circle}-user {n}", f"{circle} {(n * 3 + step * (1 + n % 3)) % 8}")
        for n in range(40)
        for circle in "ab"
        for step in range(5)
    ]


def in_circles(settings: EngineSettings = WITHOUT_TEXT) -> Recommender:
    """Ann has taken an item of each circle."""
    events = [took(user, item, at) for at, (user, item) in enumerate(circles())]
    return trained([*events, took("ann", "a 0", 9000), took("ann", "b 0", 9001)], settings)


def scores(made: Recommender, user: str = "ann") -> dict[str, float]:
    return {entry.item: entry.score for entry in made.recommend(user, 60).items}


def mean_rank(made: Recommender, circle: str) -> float:
    shown = ids(made.recommend("ann", 60))
    ranks = [rank for rank, item in enumerate(shown) if item.startswith(circle)]
    return sum(ranks) / len(ranks)


@both
def test_items_near_a_disliked_one_score_lower_and_others_as_before(
    settings: EngineSettings,
) -> None:
    made = in_circles(settings)
    before = scores(made)
    made.observe(took("ann", "a 1", 9100, kind="dislike"))
    after = scores(made)
    assert before.keys() - after.keys() == {"a 1"}
    row = {
        made.items.names[j]: w[1] for j, w in made.transitions.row(made.items.intern("a 1")).items()
    }
    strongest = max(row.values())
    near = [item for item in after if row.get(item, 0) > 0]
    assert len(near) >= 4
    for item, score in after.items():
        lowered = 0.5 * row.get(item, 0) / strongest
        assert score == pytest.approx(before[item] - lowered, abs=1e-3)


@pytest.mark.parametrize("kind", ["rating", "review"])
@both
def test_a_low_rating_ranks_neighbours_lower_than_a_high_one(
    settings: EngineSettings, kind: Kind
) -> None:
    low, high = in_circles(settings), in_circles(settings)
    low.observe(took("ann", "a 1", 9100, kind=kind, value=1.0))
    high.observe(took("ann", "a 1", 9100, kind=kind, value=5.0))
    assert mean_rank(low, "a") > mean_rank(high, "a")
    assert mean_rank(low, "b") < mean_rank(high, "b")


@pytest.mark.parametrize(
    ("kind", "value", "disliked"),
    [
        ("rating", 2.0, True), ("rating", 2.1, False), ("rating", -3.0, True),
        ("review", 2.0, True), ("review", None, False), ("purchase", 1.0, False),
        ("view", 0.0, False), ("dislike", None, True), ("dislike", 5.0, True),
    ],
)  # fmt: skip
def test_what_counts_as_a_dislike(kind: Kind, value: float | None, disliked: bool) -> None:
    made = in_circles()
    made.observe(took("ann", "a 1", 9100, kind=kind, value=value))
    ann, item = made.users.intern("ann"), made.items.intern("a 1")
    assert made.disliked.of(ann).tolist() == [item] * disliked


def test_what_is_low_is_a_setting() -> None:
    for low, disliked in ((2.0, False), (3.0, True)):
        made = trained([took("ann", "a", value=3.0)], EngineSettings(model="gnn", low_value=low))
        assert bool(len(made.disliked.of(0))) == disliked


@pytest.mark.parametrize(("kind", "value"), [("rating", 4.0), ("review", 5.0), ("like", None)])
@pytest.mark.parametrize("first", [("dislike", None), ("rating", 1.0)])
def test_a_better_opinion_takes_it_back(
    kind: Kind, value: float | None, first: tuple[Kind, float | None]
) -> None:
    made = in_circles()
    made.observe(took("ann", "a 1", 9100, kind=first[0], value=first[1]))
    ann = made.users.intern("ann")
    assert len(made.disliked.of(ann)) == 1
    lowered = mean_rank(made, "a")
    made.observe(took("ann", "a 1", 9200, kind=kind, value=value))
    assert len(made.disliked.of(ann)) == 0
    assert mean_rank(made, "a") < lowered


@pytest.mark.parametrize("kind", ["view", "click", "cart", "purchase"])
def test_no_opinion_takes_nothing_back(kind: Kind) -> None:
    made = in_circles()
    made.observe(took("ann", "a 1", 9100, kind="dislike"))
    made.observe(took("ann", "a 1", 9200, kind=kind))
    assert len(made.disliked.of(made.users.intern("ann"))) == 1


def test_a_dislike_is_of_its_user_alone() -> None:
    made = in_circles()
    made.observe(took("bob", "a 0", 9050))
    before = made.recommend("bob", 60).items
    made.observe(took("ann", "a 1", 9100, kind="dislike"))
    assert made.recommend("bob", 60).items == before


def test_disliking_again_or_asking_changes_nothing() -> None:
    made = in_circles()
    made.observe(took("ann", "a 1", 9100, kind="dislike"))
    before = state(made)
    made.observe(took("ann", "a 1", 9200, kind="dislike"))
    made.recommend("ann", 60)
    assert state(made) == before


def test_a_dislike_does_not_outlive_a_forget() -> None:
    made = known(HYBRID)
    made.observe(took("ann", "film-1", kind="dislike"))
    made.forget("ann")
    assert len(made.disliked.of(made.users.intern("ann"))) == 0
    assert "film-1" in ids(made.recommend("ann", 60))


def test_the_last_eight_are_kept_latest_last() -> None:
    kept = UserItems()
    for item in (*range(9), 4):
        kept.make_room(16)
        judge(kept.arrays, 3, item, -1)
    assert kept.of(3).tolist() == [1, 2, 3, 5, 6, 7, 8, 4]
    for item in (7, 100):
        judge(kept.arrays, 3, item, 1)
    assert kept.of(3).tolist() == [1, 2, 3, 5, 6, 8, 4]
    assert kept.of(0).tolist() == []
    kept.clear(3)
    assert kept.of(3).tolist() == []


@both
def test_an_item_disliked_first_and_taken_later_counts_once(settings: EngineSettings) -> None:
    made = in_circles(settings)
    made.observe(took("bob", "a 1", 9002, kind="dislike"))
    for at in (9003, 9004):
        answer = made.observe(took("bob", "a 1", at, kind="purchase"))
        assert made.contexts.lengths[made.users.find("bob")] == 1
        assert "trending" not in {entry.reason for entry in answer.items[:3]}
    bob, before = made.users.find("bob"), made.popularity.counts.copy()
    assert bob is not None
    made.forget("bob")
    item = made.items.find("a 1")
    assert before[item] - made.popularity.counts[item] == 1
