"""Prequential evaluation: no leak, and every slice against the rules looked up event by event."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec import structs

from engine import EngineSettings, Interaction, Item
from engine.evaluation.prequential import PrequentialEvaluator
from tests.engine.builders import NOON, WITHOUT_TEXT, forgets, mixed, stream, took
from tests.engine.reference import mean_ndcg, prequential_queries


def evaluated(events: list[Interaction], items: list[Item] | None = None) -> PrequentialEvaluator:
    evaluator = PrequentialEvaluator(WITHOUT_TEXT, items or [])
    assert list(evaluator.run(events)) == list(range(1, len(events) + 1))
    return evaluator


def in_batches(events: list[Interaction]) -> list[Interaction]:
    """Several events of a user share a second, and some seconds begin with a repeat."""
    events = sorted(events, key=lambda event: (event.timestamp // 86_400_000, event.user))
    return [
        structs.replace(event, timestamp=NOON + 1000 * (number // 4))
        for number, event in enumerate(events)
    ]


def forgotten_in_a_batch() -> list[Interaction]:
    """After the stream, a user is forgotten and comes back within one second."""
    films = [f"film-{n}" for n in (3, 8, 1, 5, 9, 4)]
    first = [took("user-1", film) for film in films[:4]]
    then = [took("user-1", film) for film in films]
    later = stream()[-1].timestamp // 1000 * 1000 + 5000
    back = [structs.replace(event, timestamp=later) for event in (*first, forgets("user-1"), *then)]
    return [*stream(), *back]


@pytest.mark.parametrize(
    "events",
    [stream(events=300), mixed(events=300), in_batches(mixed(events=300)), forgotten_in_a_batch()],
    ids=["plain", "mixed", "batches", "forgotten in a batch"],
)
def test_every_slice_is_what_its_rule_says(events: list[Interaction]) -> None:
    report = evaluated(events).report()
    found = prequential_queries(WITHOUT_TEXT, events)
    whole = found["whole"]
    assert report["queries"] == len(whole)
    assert report["ndcg@10"] == pytest.approx(mean_ndcg(whole), abs=1e-5)
    for name in ("batch_strict", "cold_items", "cold_users", "first_events"):
        assert report[name]["queries"] == len(found[name]) > 0
        assert report[name]["ndcg@10"] == pytest.approx(mean_ndcg(found[name]), abs=1e-5)
    second_half = report["second_half"]
    assert second_half["queries"] == len(whole) - len(whole) // 2
    assert second_half["ndcg@10"] == pytest.approx(mean_ndcg(whole[len(whole) // 2 :]), abs=1e-5)


def test_a_batch_is_judged_by_the_list_from_before_it() -> None:
    found = prequential_queries(WITHOUT_TEXT, in_batches(stream()))
    lists = [(strict[0], plain[0]) for strict, plain in zip(found["batch_strict"], found["whole"])]  # noqa: B905
    assert any(strict != plain for strict, plain in lists)


def test_what_cannot_be_foretold_is_hit_by_chance_only() -> None:
    rng = np.random.default_rng(0)
    users, items = 40, 200
    left = [rng.permutation(items).tolist() for _ in range(users)]
    events, chances = [], []
    for number in range(2000):
        user = int(rng.integers(users))
        if len(left[user]) < items:
            chances.append(10 / len(left[user]))
        events.append(took(f"u{user}", f"m{left[user].pop()}", 5000 * number))
    evaluator = evaluated(events, [Item(item=f"m{n}") for n in range(items)])
    report = evaluator.report()
    assert report["queries"] == len(chances)
    chance = np.mean(chances)
    deviation = np.sqrt(np.sum([p * (1 - p) for p in chances])) / len(chances)
    assert abs(report["hr@10"] - chance) < 4 * deviation
    assert report["coverage@10"] > 0.9


def test_taking_an_item_again_is_no_query() -> None:
    events = [took("ann", "a", 0), took("ann", "b", 1), took("ann", "a", 2), took("ann", "b", 3)]
    report = evaluated(events).report()
    assert (report["queries"], report["first_events"]["queries"]) == (1, 1)


def test_a_dislike_is_no_query_and_its_item_is_out_of_the_ranking() -> None:
    events = [took("bob", "b", 0), took("ann", "a", 1), took("ann", "b", 2, kind="dislike")]
    report = evaluated([*events, took("ann", "b", 3)]).report()
    assert report["queries"] == 0


@pytest.mark.parametrize("item", [None, "a"])
def test_after_a_forget_a_user_starts_again(item: str | None) -> None:
    forget = structs.replace(forgets("ann"), item=item)
    events = [took("ann", "a", 0), took("ann", "b", 1), forget, took("ann", "a", 2)]
    report = evaluated([*events, took("ann", "b", 3)]).report()
    assert report["queries"] == 2
    assert report["first_events"]["queries"] == 2
    assert report["cold_users"]["queries"] == 2


def test_a_run_in_parts_is_one_run() -> None:
    events = mixed()
    whole, parts = evaluated(events).report(), PrequentialEvaluator(WITHOUT_TEXT)
    for part in (events[:77], events[77:]):
        assert list(parts.run(part)) == list(range(1, len(part) + 1))
    timed = {"latency_us": {}, "latency_us_over_time": []}
    assert parts.report() | timed == whole | timed


def test_baselines_answer_the_same_queries() -> None:
    report = evaluated(mixed()).report()
    for measures in report["baselines"].values():
        assert measures["queries"] == report["queries"]
        assert 0 < measures["ndcg@10"] < 1


def test_a_report_has_the_latency_of_every_stage() -> None:
    latency = evaluated(stream()).report()["latency_us"]
    assert set(latency) == {"recommend", "observe", "learn", "graph", "propagate", "text", "rank"}
    for measured in latency.values():
        assert 0 <= measured["p50"] <= measured["p99"] <= measured["p99_9"]


def test_a_stream_without_events_has_a_report_of_zeros() -> None:
    report = PrequentialEvaluator(EngineSettings(model="gnn")).report()
    assert report["queries"] == report["ndcg@10"] == report["coverage@10"] == 0
    assert report["latency_us"] == {}


def test_a_query_is_judged_without_what_the_user_had_and_a_repeat_with_it() -> None:
    pairs = [(f"u{n % 5}", f"film-{n}") for n in range(40)]
    events = [took(*pair, 1000 * n, kind="view") for n, pair in enumerate(pairs)]
    evaluator = PrequentialEvaluator(WITHOUT_TEXT)
    assert list(evaluator.run(events)) == list(range(1, 41))
    had = {item for user, item in pairs if user == "u0"}
    new = evaluator._rank("u0")
    assert len(new) == 10
    assert not had & set(new)
    assert had & set(evaluator._with_repeats)
    queries = evaluator.report()["queries"]
    later = [took("u0", item, 50_000 + n, kind="view") for n, item in enumerate(("film-0", new[0]))]
    list(evaluator.run(later))
    report = evaluator.report()
    assert (report["queries"], report["repeats"]) == (queries + 1, 1)
    assert report["with_repeats"]["engine"]["queries"] == report["queries"] + 1
