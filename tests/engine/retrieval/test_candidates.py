"""Who is named to compete in a large catalogue, against the obvious searches."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.features.transitions import Transitions
from engine.retrieval.candidates import Candidates
from tests.engine.kernels import record

ITEMS = 40
steps = st.lists(
    st.tuples(st.lists(st.integers(0, ITEMS - 1), max_size=5), st.integers(0, ITEMS - 1)),
    max_size=30,
)


def obvious(transitions: Transitions, history: list[int]) -> dict[int, float]:
    """How strongly a history leads to each item."""
    strength: dict[int, float] = {}
    for q, source in enumerate(history):
        row = transitions.row(source)
        for item, (directed, symmetric) in row.items():
            share = 0.9**q / np.sqrt(len(row) + 1)
            strength[item] = strength.get(item, 0.0) + share * (directed + symmetric)
    return strength


@given(steps, st.lists(st.integers(0, ITEMS - 1), min_size=1, max_size=6), st.integers(1, 12))
def test_what_transitions_lead_to_most_is_reached(
    taken: list[tuple[list[int], int]], history: list[int], limit: int
) -> None:
    transitions = Transitions(ITEMS)
    for before, item in taken:
        record(transitions, np.array(before, np.int32), item, 1.0)
    candidates = Candidates(10, limit)
    reached = candidates.reached(transitions, np.array(history, np.int32)).tolist()
    strength = obvious(transitions, history)
    assert len(set(reached)) == len(reached) == min(limit, len(strength))
    weakest = sorted(strength.values(), reverse=True)[: len(reached)]
    assert sorted((strength[item] for item in reached), reverse=True) == pytest.approx(
        weakest, rel=1e-4
    )
    assert (candidates.position == -1).all()


def test_the_nearest_by_text_and_by_embedding_are_found() -> None:
    rng = np.random.default_rng(0)
    texts = rng.normal(size=(3000, 16)).astype(np.float32)
    outputs = rng.normal(size=(3000, 8)).astype(np.float32)
    events = np.full(3000, 5)
    candidates = Candidates(100, 800)
    candidates.index_texts(texts)
    candidates.index_embeddings(outputs, events)
    found = []
    for _ in range(20):
        taste = rng.normal(size=16).astype(np.float32)
        user = rng.normal(size=8).astype(np.float32)
        near = candidates.near(taste, user)
        assert len(near) == 200
        exact = np.argsort(-(texts @ taste))[:100], np.argsort(-(outputs @ user))[:100]
        found.append(len(set(near[:100]) & set(exact[0])) + len(set(near[100:]) & set(exact[1])))
    assert np.mean(found) > 180


def test_an_item_is_indexed_when_its_embedding_has_learnt_a_little() -> None:
    candidates = Candidates(100, 800)
    candidates.index_embeddings(np.ones((0, 8), np.float32), np.ones(0, np.int64))
    user = np.ones(8, np.float32)
    for events in (1, 2, 3):
        candidates.index_embedding(7, events, user)
    assert 7 not in candidates.near(None, user)
    candidates.index_embedding(7, 4, user)
    assert 7 in candidates.near(None, user)
