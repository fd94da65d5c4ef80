"""The synthetic stream: the same every time, like a real one, and worth learning."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import islice, pairwise

import numpy as np
import pytest

from engine.datasets import Synthetic
from engine.events import Interaction


@pytest.fixture(scope="module")
def stream() -> list[Interaction]:
    return list(Synthetic().interactions())


def test_equal_parameters_give_equal_streams(stream: list[Interaction]) -> None:
    np.random.seed(1)  # global state must not matter
    again = Synthetic()
    assert list(islice(again.interactions(), 5_000)) == stream[:5_000]
    assert list(again.interactions()) == stream
    assert list(again.items()) == list(Synthetic().items())


def test_other_parameters_give_other_events_and_ids(stream: list[Interaction]) -> None:
    ids = {event.event_id for event in stream}
    assert len(ids) == len(stream)
    for other in (Synthetic(seed=1), Synthetic(30_000), Synthetic(users=601), Synthetic(items=799)):
        events = list(islice(other.interactions(), 500))
        assert ids.isdisjoint(event.event_id for event in events)
        assert [e.item for e in events] != [e.item for e in stream[:500]]


def test_it_is_made_lazily() -> None:
    huge = Synthetic(10**9, users=50, items=50)
    events = list(islice(huge.interactions(), 3))
    assert len(events) == 3
    assert huge.count == 10**9


def test_sizes_and_time(stream: list[Interaction]) -> None:
    dataset = Synthetic()
    next(dataset.interactions())
    assert (dataset.name, dataset.format) == ("synthetic", "synthetic, made by Millrace")
    assert len(stream) == dataset.count == 20_000
    assert len(list(dataset.items())) == 800
    assert 570 <= len({event.user for event in stream}) <= 600
    assert len({event.item for event in stream}) > 700
    times = [event.timestamp for event in stream]
    assert times == sorted(times)
    assert times[0] >= 1_704_067_200_000  # 2024-01-01
    assert 150 < (times[-1] - times[0]) / 86_400_000 < 210


def test_no_item_is_used_before_it_appears(stream: list[Interaction]) -> None:
    appears = {item.item: item.timestamp or 0 for item in Synthetic().items()}
    assert all(appears[event.item or ""] <= event.timestamp for event in stream)
    assert len(set(appears.values())) > 400


def test_new_users_keep_arriving(stream: list[Interaction]) -> None:
    first: dict[str, int] = {}
    for n, event in enumerate(stream):
        first.setdefault(event.user, n)
    late = sum(n > len(stream) // 2 for n in first.values())
    assert late > 0.15 * len(first)


def test_kinds_and_ratings(stream: list[Interaction]) -> None:
    kinds = Counter(event.kind for event in stream)
    assert set(kinds) == {"view", "click", "purchase", "rating"}
    assert min(kinds.values()) > 300
    values = {event.value for event in stream if event.kind == "rating"}
    assert values == {1.0, 2.0, 3.0, 4.0, 5.0}
    assert all(event.value is None for event in stream if event.kind != "rating")


def test_users_come_in_visits(stream: list[Interaction]) -> None:
    last: dict[str, int] = {}
    gaps = []
    for event in stream:
        if event.user in last:
            gaps.append((event.timestamp - last[event.user]) / 1000)
        last[event.user] = event.timestamp
    seconds = np.array(gaps)
    assert np.mean(seconds < 600) > 0.7
    assert np.mean(seconds > 86_400) > 0.05


def test_popularity_is_long_tailed(stream: list[Interaction]) -> None:
    counts = np.sort(list(Counter(event.item for event in stream).values()))[::-1]
    assert counts[:80].sum() > 0.3 * counts.sum()


def test_items_read_well_and_fit_their_genres() -> None:
    items = list(Synthetic().items())
    assert len({item.title for item in items}) == len(items)
    for item in items:
        assert 1 <= len(item.categories) <= 2
        assert item.text.startswith(f"{item.title}. Genres: {', '.join(item.categories)}. ")
        assert f" {item.categories[0].lower()} film about " in item.text
        assert item.title.endswith(f"({item.properties['year']})")
    assert len({genre for item in items for genre in item.categories}) == 10


def test_series_are_seen_in_order(stream: list[Interaction]) -> None:
    titles = {item.item: item.title.rsplit(" (", 1)[0] for item in Synthetic().items()}
    seen: dict[str, set[str]] = defaultdict(set)
    sequels = skipped = 0
    for event in stream:
        title = titles[event.item or ""]
        if title.endswith((" 2", " 3")):
            sequels += 1
            before = title[:-2] + (" 2" if title.endswith("3") else "")
            skipped += before not in seen[event.user]
        seen[event.user].add(title)
    assert sequels > 1000
    assert skipped == 0


def test_tastes_drift(stream: list[Interaction]) -> None:
    """The genres of neighbouring quarters of a user's history agree more than of the outer two."""
    genre = {item.item: item.categories[0] for item in Synthetic().items()}
    history: dict[str, list[str]] = defaultdict(list)
    for event in stream:
        history[event.user].append(genre[event.item or ""])
    near, far = [], []
    for genres in history.values():
        if len(genres) >= 60:
            quarters = [Counter(part.tolist()) for part in np.array_split(genres, 4)]
            near += [(a & b).total() / a.total() for a, b in pairwise(quarters)]
            far.append((quarters[0] & quarters[3]).total() / quarters[0].total())
    assert np.mean(near) > 1.1 * np.mean(far)


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.long)])
def test_a_personal_ranking_beats_popularity(seed: int) -> None:
    """Prequential HR@10 over all unseen items: what followed the last ten items, against counts."""
    dataset = Synthetic(seed=seed)
    column = {item.item: n for n, item in enumerate(dataset.items())}
    popularity = np.zeros(len(column))
    follows = np.zeros((len(column), len(column)))
    history: dict[str, list[int]] = defaultdict(list)
    hits = Counter[str]()
    for number, event in enumerate(dataset.interactions()):
        item, past = column[event.item or ""], history[event.user]
        if item in past:
            continue
        recent = past[:-11:-1]
        if past and number % 2:  # half of them say it as well
            personal = sum(
                0.8**n * follows[other] / np.sqrt(popularity[other] + 1)
                for n, other in enumerate(recent)
            )
            for name, score in (
                ("popularity", popularity),
                ("personal", personal + 1e-6 * popularity),
            ):
                ranked = np.array(score, dtype=float)
                ranked[past] = -1.0
                hits[name] += item in np.argpartition(-ranked, 10)[:10]
            hits["events"] += 1
        for n, other in enumerate(recent):
            follows[other, item] += 0.8**n
        popularity[item] += 1
        past.append(item)
    assert hits["personal"] > 2 * hits["popularity"]
    assert 0.05 < hits["popularity"] / hits["events"] < 0.15


@pytest.mark.parametrize("bad", [{"users": 0}, {"items": 0}, {"seed": -1}, {"events": -1}])
def test_impossible_sizes(bad: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least 1 user and 1 item"):
        Synthetic(**bad)


@pytest.mark.parametrize(("users", "items"), [(1, 1), (3, 2), (500, 5)])
def test_tiny_worlds_still_give_every_event(users: int, items: int) -> None:
    events = list(Synthetic(200, users=users, items=items).interactions())
    assert len(events) == 200
