"""The compiled step: what it computes, and that it does not matter how a log is cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from engine import EngineSettings, Interaction, Item, Recommender
from engine.recommender import Answer
from tests.engine.builders import state
from tests.engine.step.reference import KINDS, StepReference

HYBRID = EngineSettings(k=50, dimensions=8, text_dimensions=4)
ITEMS, USERS = 50, 12
START_MS = 1_600_000_000_000


def catalogue(engine: Recommender) -> Recommender:
    """Tell an engine items, with embeddings, categories and years."""
    draw = np.random.default_rng(5)
    for number in range(ITEMS):
        item = Item(item=f"i{number}", title=f"Title {number}", categories=[f"c{number % 3}"],
                    properties={"year": 1960.0 + number})  # fmt: skip
        engine.upsert_item(item, draw.normal(size=384).astype(np.float32))
    return engine


def stream(events: int, seed: int = 0, late: float = 0.0) -> list[Interaction]:
    """Users of two tastes, in bursts; some events are of a kind that makes no edge, some late."""
    draw = np.random.default_rng(seed)
    found, now, user = [], START_MS, 0
    for number in range(events):
        user = user if draw.random() < 0.5 else int(draw.integers(USERS))
        now += int(draw.integers(1, 40_000))
        item = int(draw.integers(ITEMS // 2)) * 2 + user % 2
        kind = str(draw.choice(list(KINDS)))
        at = now - int(draw.integers(1, 400_000)) if draw.random() < late else now
        value = float(draw.integers(1, 6)) if kind == "rating" else None
        found.append(
            Interaction(
                event_id=str(number),
                user=f"u{user}",
                item=f"i{item}",
                timestamp=at,
                kind=kind,
                value=value,
            )
        )
    return found


SETTINGS: dict[str, dict[str, object]] = {
    "nothing comes again": {"excludes": ["all"]},
    "some come again": {"excludes": ["purchase", "rating"]},
    "other rates": {
        "trending_half_life": 200, "surging_half_life": 20, "embedding_rate": 0.1,
        "text_rate": 0.02, "bias_rate": 0.05, "weight_drift": 0.01,
    },
}  # fmt: skip


@pytest.mark.parametrize("chosen", SETTINGS.values(), ids=SETTINGS)
def test_a_step_is_what_the_formulas_say(chosen: dict[str, object]) -> None:
    engine = catalogue(Recommender(HYBRID.model_copy(update=chosen)))
    reference = StepReference(engine)
    compared = 0
    # Of a stream where no negative sample falls within a rounding of the border of two items: there
    # the engine's float32 and the reference's float64 may rightly draw another. A code that lies
    # half-way between two steps may go either way likewise: .01 of a score of 4 was seen.
    for event in stream(400, seed=2):
        answer = engine.observe(event)
        reference.observe(event)
        if not reference.edges[event.user]:
            continue
        expected = reference.scores(event.user)
        given = {ranked.item: ranked.score for ranked in answer.items}
        assert given.keys() == expected.keys()
        assert list(given.values()) == pytest.approx([expected[i] for i in given], abs=2e-2)
        compared += 1
    assert compared > 350
    n = len(reference.names)
    np.testing.assert_allclose(engine.head.weights, reference.weights, atol=1e-3)
    np.testing.assert_allclose(engine.embeddings.outputs[:n], reference.outputs, atol=1e-3)
    np.testing.assert_allclose(engine.embeddings.inputs[:, :n], reference.inputs, atol=1e-3)
    np.testing.assert_allclose(engine.taste.maps, reference.maps, atol=1e-3)


def without_times(answers: list[Answer]) -> list[list[tuple[str, float, str]]]:
    return [[tuple(ranked) for ranked in answer.items] for answer in answers]


SMALL_ROOM = {"max_users": 8, "max_items": 40}
CASES = {
    "hybrid": {},
    "few fit": SMALL_ROOM,
    "graph alone": {"model": "gnn"},
    "indexed": {"exact_items": 20, "candidates": 100},
    "in 8 bits": {"aggregator": "int8", "dimensions": 32, "model": "gnn"},
    "rules": {"per_category": 2},
    "repeats": {"excludes": ["purchase"]},
    "indexed repeats": {"exact_items": 20, "candidates": 100, "excludes": ["purchase"]},
}
cuts = st.lists(st.integers(1, 40), min_size=1, max_size=30)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@settings(max_examples=4)
@given(sizes=cuts, seed=st.integers(0, 3))
def test_state_and_answers_are_the_same_however_a_log_is_cut(
    case: dict[str, object], sizes: list[int], seed: int
) -> None:
    chosen = EngineSettings.model_validate(
        {"k": 5, "dimensions": 8, "text_dimensions": 4, "transitions": 8, **case}
    )
    events = stream(150, seed, late=0.1)
    for number in (30, 70, 71):
        events[number] = structs.replace(events[number], kind="forget", item=None)
    events[90] = structs.replace(events[90], kind="ignore")
    answers = [number % 7 != 3 for number in range(len(events))]
    one, other = catalogue(Recommender(chosen)), catalogue(Recommender(chosen))
    each = [one.observe(event, answer) for event, answer in zip(events, answers, strict=True)]
    batched: list[Answer] = []
    at = 0
    while at < len(events):
        size = sizes[len(batched) % len(sizes)]
        batched += other.observe_many(events[at : at + size], answers[at : at + size])
        at += size
    assert without_times(batched) == without_times(each)
    assert state(one) == state(other)


def test_a_catalogue_that_nearly_fills_what_is_scored_whole_has_its_room() -> None:
    """The tables double beyond `exact_items`, and what is scored whole ends there."""
    events = [
        structs.replace(event, item=f"item {number}" if number % 2 else f"item {number % 90}")
        for number, event in enumerate(stream(2800))
    ]
    made = [
        Recommender(EngineSettings(model="gnn", exact_items=exact, dimensions=8))
        for exact in (1500, 20_000)
    ]
    tight, wide = (engine.observe_many(events) for engine in made)
    assert 1400 < len(made[0].items) < 1500
    assert without_times(tight) == without_times(wide)
    assert state(made[0]) == state(made[1])


@pytest.mark.parametrize("exact", [1, 20_000])
def test_a_longer_list_begins_as_the_shorter_one_whoever_asked_before(exact: int) -> None:
    chosen = HYBRID.model_copy(update={"exact_items": exact, "candidates": 100, "k": 3})
    engine = catalogue(Recommender(chosen))
    engine.observe_many(stream(200))
    for user in range(USERS):
        short = engine.recommend(f"u{user}").items
        assert len(short) == 3
        for k in (10 + user, 5):  # each time more than was ever asked for, and less
            engine.forget_contest()
            longer = engine.recommend(f"u{user}", k).items
            assert len(longer) == k
            assert longer[:3] == short


def test_a_kind_of_next_to_no_weight_is_an_edge_all_the_same() -> None:
    engine = Recommender(EngineSettings(model="gnn", kinds={"glance": 0.001}))
    event = structs.replace(stream(1)[0], kind="glance", value=None)
    engine.observe(event)
    assert engine.graph.users.degree[0] == 1


def test_every_event_has_the_time_of_each_stage() -> None:
    engine = catalogue(Recommender(HYBRID))
    for answer in engine.observe_many(stream(50)):
        assert list(answer.stages_ns) == ["learn", "graph", "propagate", "text", "rank"]
        assert all(0 <= laps < 10**9 for laps in answer.stages_ns.values())
        assert answer.stages_ns["rank"] > 0


def test_an_unknown_kind_anywhere_in_a_batch_teaches_nothing() -> None:
    engine = catalogue(Recommender(HYBRID))
    before = state(engine)
    events = stream(5)
    events[3] = structs.replace(events[3], kind="bookmark")
    with pytest.raises(ValueError, match="'bookmark' is unknown"):
        engine.observe_many(events)
    assert state(engine) == before
