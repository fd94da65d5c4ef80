"""Business rules: what they let through, of requests as of settings."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from engine import EngineSettings, Item, Recommender, Rules, lookup
from tests.engine.builders import films, ids, known, mixed, state, stream

CATEGORIES = {film.item: set(film.categories) for film in films()}
GENRE = Counter(name for own in CATEGORIES.values() for name in own).most_common(1)[0][0]
USERS = sorted({event.user for event in stream()})
ASKERS = [*USERS, "unknown"]


@pytest.fixture(scope="module")
def made() -> Recommender:
    """An engine that nobody may change."""
    engine = known(EngineSettings())
    for event in stream():
        engine.observe(event)
    return engine


def likeness(made: Recommender, items: list[str]) -> float:
    """Mean cosine of the vectors of any two items."""
    vectors = made.vectors.vectors[[made.items.intern(item) for item in items]]
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return float((unit @ unit.T)[np.triu_indices(len(items), 1)].mean())


@pytest.mark.parametrize("user", ASKERS)
def test_include_and_exclude_filter_the_whole_ranking(made: Recommender, user: str) -> None:
    whole = made.recommend(user, 60).items
    only = made.recommend(user, 60, Rules(include=frozenset([GENRE])))
    without = made.recommend(user, 60, Rules(exclude=frozenset([GENRE])))
    assert only.items == [entry for entry in whole if GENRE in CATEGORIES[entry.item]] != []
    assert without.items == [entry for entry in whole if GENRE not in CATEGORIES[entry.item]] != []


def test_exclude_is_stronger_and_unknown_categories_have_no_items(made: Recommender) -> None:
    genre, none = frozenset([GENRE]), frozenset(["no such category"])
    for user in ASKERS:
        assert made.recommend(user, rules=Rules(include=genre, exclude=genre)).items == []
        assert made.recommend(user, rules=Rules(include=none)).items == []
        plain = made.recommend(user).items
        assert made.recommend(user, rules=Rules(exclude=none)).items == plain
        assert made.recommend(user, rules=Rules(include=none, diversity=0.5)).items == []


@pytest.mark.parametrize("user", ASKERS)
def test_items_are_named_that_alone_may_be_shown_or_may_not(made: Recommender, user: str) -> None:
    whole = made.recommend(user, 60).items
    some = frozenset(entry.item for entry in whole[::3]) | {"no such item"}
    only = made.recommend(user, 60, Rules(only=some)).items
    assert only == [entry for entry in whole if entry.item in some] != []
    without = made.recommend(user, 60, Rules(without=some)).items
    assert without == [entry for entry in whole if entry.item not in some] != []
    assert made.recommend(user, 60, Rules(only=frozenset())).items == []
    assert made.recommend(user, 60, Rules(only=some, without=some)).items == []
    assert made.recommend(user, 60).items == whole


def test_what_was_seen_is_left_out_though_it_may_come_again() -> None:
    made = known(EngineSettings(excludes=[]))
    for event in stream():
        made.observe(event, answer=False)
    for user in USERS:
        taken = {event.item for event in stream() if event.user == user}
        whole = made.recommend(user, 60).items
        assert taken & {entry.item for entry in whole}
        unseen = made.recommend(user, 60, Rules(unseen=True)).items
        assert unseen == [entry for entry in whole if entry.item not in taken] != []
    stranger = made.recommend("unknown", 60)
    assert made.recommend("unknown", 60, Rules(unseen=True)).items == stranger.items


def test_items_that_are_asked_for_compete_in_a_large_catalogue_too() -> None:
    made = known(EngineSettings(exact_items=20, candidates=100))
    for event in stream():
        made.observe(event, answer=False)
    assert not made.all_compete
    for user in ASKERS:
        plain = made.recommend(user, 3).items
        free = [item for item in CATEGORIES if item not in {entry.item for entry in plain}][:5]
        asked = set(ids(made.recommend(user, 60, Rules(only=frozenset(free)))))
        final = set(lookup.taken_for_good(made, user))
        assert asked == set(free) - final
        assert made.recommend(user, 3).items == plain


@pytest.mark.parametrize("most", [1, 2, 3])
@pytest.mark.parametrize("diversity", [0.0, 0.4])
def test_no_more_of_a_category_than_may_be(made: Recommender, most: int, diversity: float) -> None:
    for user in ASKERS:
        shown = ids(made.recommend(user, rules=Rules(per_category=most, diversity=diversity)))
        counts = Counter(name for item in shown for name in CATEGORIES[item])
        assert len(shown) == len(set(shown)) > 1
        assert max(counts.values()) <= most


def test_per_category_passes_over_only_what_it_must(made: Recommender) -> None:
    for user in ASKERS:
        expected: list[str] = []
        counts: Counter[str] = Counter()
        for item in ids(made.recommend(user, 60)):
            if all(counts[name] < 2 for name in CATEGORIES[item]) and len(expected) < 10:
                expected.append(item)
                counts.update(CATEGORIES[item])
        assert ids(made.recommend(user, rules=Rules(per_category=2))) == expected


def test_without_diversity_nothing_changes(made: Recommender) -> None:
    for user in ASKERS:
        plain = made.recommend(user).items
        assert made.recommend(user, rules=Rules(diversity=0.0)).items == plain
        assert made.recommend(user, rules=Rules(per_category=60)).items == plain


def test_more_diversity_makes_lists_less_alike(made: Recommender) -> None:
    means = []
    for diversity in (0.0, 0.25, 0.5, 0.9):
        likenesses = []
        for user in USERS:
            shown = ids(made.recommend(user, rules=Rules(diversity=diversity)))
            assert len(set(shown)) == len(shown) == len(ids(made.recommend(user)))
            likenesses.append(likeness(made, shown))
        means.append(np.mean(likenesses))
    assert means == sorted(means, reverse=True)
    assert means[-1] < means[0] - 0.05


def test_the_best_item_stays_first_however_diverse(made: Recommender) -> None:
    for user in ASKERS:
        first = made.recommend(user).items[0]
        assert made.recommend(user, rules=Rules(diversity=0.9)).items[0] == first


def test_rules_of_a_request_stand_for_those_of_the_settings_and_do_not_stay() -> None:
    names = [GENRE]
    strict = EngineSettings(
        exclude_categories=names, per_category=2, diversity=0.3, include_categories=["Drama", GENRE]
    )
    free, bound = known(EngineSettings()), known(strict)
    rules = Rules(frozenset(["Drama", GENRE]), frozenset(names), 2, 0.3)
    assert Rules.of(strict) == rules
    for event in mixed():
        answer = free.observe(event)
        expected = free.recommend(event.user, rules=rules)
        assert bound.observe(event).items == expected.items
        assert bound.recommend(event.user).items == expected.items
        # The whole step is compiled as one: a last bit may differ from that of its parts.
        again = bound.recommend(event.user, rules=Rules())
        assert ids(again) == ids(answer)
        scores = [[entry.score for entry in one.items] for one in (again, answer)]
        assert scores[0] == pytest.approx(scores[1], abs=1.5e-4)
        assert bound.recommend(event.user).items == expected.items
    assert state(free) == state(bound)  # rules decide what is shown, not what is learnt


@pytest.mark.parametrize("k", [1, 5, 30])
def test_k_and_rules_go_together(made: Recommender, k: int) -> None:
    rules = Rules(exclude=frozenset([GENRE]), diversity=0.3)
    for user in ASKERS:
        shown = ids(made.recommend(user, k, rules))
        longer = ids(made.recommend(user, 60, Rules(exclude=frozenset([GENRE]))))
        assert len(shown) == len(set(shown)) == min(k, len(longer))
        assert set(shown) <= set(longer)


RULES = [
    Rules(),
    Rules(include=frozenset([GENRE])),
    Rules(per_category=2),
    Rules(diversity=0.9),
    Rules(exclude=frozenset([GENRE]), per_category=1, diversity=0.5),
]


@pytest.mark.parametrize("rules", RULES)
def test_no_rule_brings_back_what_is_hidden_or_taken(rules: Rules) -> None:
    made = known(EngineSettings(excludes=["all"]))
    hidden = {film.item for film in films()[::3]}
    for film in films()[::3]:
        made.upsert_item(Item(item=film.item, categories=film.categories, hidden=True))
    taken: dict[str, set[str]] = {}
    for event in mixed():
        own = taken.setdefault(event.user, set())
        made.observe(event)
        if event.item is None:
            own.clear()
        else:
            own.add(event.item)
        assert not (own | hidden) & set(ids(made.recommend(event.user, 60, rules)))
    assert not hidden & set(ids(made.recommend("unknown", 60, rules)))


def test_a_change_of_categories_counts_at_once() -> None:
    made = known(EngineSettings())
    made.upsert_item(Item(item="film-1", categories=["Fresh"]))
    only = Rules(include=frozenset(["Fresh"]))
    assert ids(made.recommend("ann", rules=only)) == ["film-1"]
    made.upsert_item(Item(item="film-1", categories=["Stale"]))
    assert ids(made.recommend("ann", rules=only)) == []
