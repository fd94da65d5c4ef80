"""Users who left make room, and nobody notices but the memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import EngineSettings, Interaction, Recommender
from engine.graph import NODES
from engine.state import renumbering
from engine.state.order_free_digest import commuting_state
from engine.state.schema import entries
from tests.engine.builders import forgets, mixed, took

MANY = 1_200
"""More than the 1,024 that tables have room for at first."""


def crowded(chosen: EngineSettings) -> Recommender:
    """An engine of many users, each of a few events."""
    made = Recommender(chosen)
    events = [took(f"user-{n * 7 % MANY}", f"item-{n * n % 61}", n) for n in range(2 * MANY)]
    made.observe_many(events, [False] * len(events))
    return made


def leaving(made: Recommender, share: float, seed: int) -> list[str]:
    names = [name for name in made.users.names if name]
    drawn = np.random.default_rng(seed).permutation(len(names))[: int(share * len(names))]
    return [names[n] for n in drawn.tolist()]


def after(names: list[str]) -> list[Interaction]:
    """Of those who stayed, of who comes back, of newcomers, and requests to be forgotten."""
    events = []
    for n in range(200):
        user = names[n * 7 % len(names)] if n % 3 else f"new-{n % 20}"
        kind = ("rating", "view", "dislike", "purchase")[n % 4]
        events.append(took(user, f"item-{n * n % 70}", n * 1_000, kind=kind))
        if n % 40 == 39:
            events.append(forgets(user))
    return events + mixed(seed=5, events=100)


@settings(max_examples=4)
@given(share=st.sampled_from([0.34, 0.5, 0.97, 1.0]), seed=st.integers(0, 9))
@pytest.mark.parametrize("aggregator", ["numba", pytest.param("int8", marks=pytest.mark.long)])
def test_answers_are_the_same(aggregator: str, share: float, seed: int) -> None:
    chosen = EngineSettings(model="gnn", aggregator=aggregator)
    one, other = crowded(chosen), crowded(chosen)
    gone = leaving(one, share, seed)
    one.leave(gone)
    other.leave(gone)
    assert other.compact_users()
    assert commuting_state(one) == commuting_state(other)
    for event in after(gone + [name for name in one.users.names if name]):
        assert one.observe(event).items == other.observe(event).items
    assert commuting_state(one) == commuting_state(other)
    for user in filter(None, one.users.names):
        assert one.recommend(user).items == other.recommend(user).items


def test_tables_are_shorter_and_hold_nobody_else(tmp_path: Path) -> None:
    made = crowded(EngineSettings())
    gone = leaving(made, 0.8, 1)
    made.leave(gone)
    before = len(made.contexts.lengths), len(made.taken.entries)
    assert made.compact_users()
    known = [name for name in made.users.names if name]
    assert len(made.users) == len(known) == made.users.known
    assert len(made.contexts.lengths) == 1024 < before[0]
    assert len(made.taken.entries) < before[1]
    numbers = made.graph.items.edges[made.graph.items.edges > NODES - 1] & (NODES - 1)
    assert numbers.max() < len(known)
    made.save(tmp_path / "saved")
    again = Recommender.load(tmp_path / "saved")
    for event in after(known):
        assert again.observe(event).items == made.observe(event).items
    assert not made.compact_users()


def test_tables_of_half_of_the_users_take_half_of_the_memory() -> None:
    made = Recommender(EngineSettings(model="gnn"))
    events = [took(f"user-{n % 3_000}", f"item-{n * n % 61}", n) for n in range(6_000)]
    made.observe_many(events, [False] * len(events))

    def taken() -> int:
        of_users = {name: held for name, held in entries(made) if name.startswith("users/")}
        return sum(len(held) if isinstance(held, bytes) else held.nbytes for held in
                   of_users.values())  # fmt: skip

    before = taken()
    made.leave(leaving(made, 0.5, 1))
    assert made.compact_users()
    assert taken() < 0.6 * before


def test_nothing_is_done_where_most_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    made = crowded(EngineSettings(model="gnn"))
    made.leave(leaving(made, 0.3, 1))
    assert not made.compact_users()
    small = Recommender(EngineSettings(model="gnn"))
    small.observe_many(mixed())
    small.leave([name for name in small.users.names if name])
    assert not small.compact_users()
    monkeypatch.setattr(renumbering, "_LEAST", 16)
    assert small.compact_users()
    assert len(small.users) == 0
    small.observe_many(mixed())
