"""The benchmark of engines that share their items: whom it asks, and what it counts."""

from __future__ import annotations

from itertools import islice

import pytest

from benchmarks.shared_items import EVENTS_A_FLUSH, Fleet, evaluated
from engine import EngineSettings
from engine.datasets import Synthetic

SETTINGS = EngineSettings(model="gnn")
SOURCE = Synthetic(2 * EVENTS_A_FLUSH + 10, users=30, items=60, seed=1)


def test_one_engine_tells_and_follows_nothing() -> None:
    fleet = Fleet(1, SETTINGS, [], shares=False)
    assert 0 < evaluated(fleet, SOURCE.interactions()) < 1
    assert (fleet.bytes, fleet.rows, fleet.adding) == (0, [], [])


def test_each_user_is_their_owners_and_each_flush_reaches_the_others() -> None:
    fleet = Fleet(3, SETTINGS, [], shares=True)
    events = list(SOURCE.interactions())
    assert 0 < evaluated(fleet, events) < 1
    for number, engine in enumerate(fleet.engines):
        assert {fleet.owner(user) for user in engine.users.names} == {number}
    assert len(fleet.collecting) == 2 * 3
    assert len(fleet.adding) == 2 * 3 * 2
    costs = fleet.costs()
    assert costs["delta_bytes_per_event"] * len(events) == pytest.approx(fleet.bytes, rel=0.01)
    assert costs["flush_us"]["rows"] > 100
    assert costs["flush_us"]["per_row"] > 0
    assert costs["following_us"] > 0
    # All of the whole flushes is known to each; the last events are not told yet.
    for engine in fleet.engines:
        assert engine.item_side is not None
        assert sum(engine.item_side.positions.values()) == 2 * EVENTS_A_FLUSH


def test_engines_that_share_nothing_count_their_own_events_alone() -> None:
    fleet = Fleet(2, SETTINGS, [], shares=False)
    events = list(islice(SOURCE.interactions(), 100))
    evaluated(fleet, events)
    assert sum(engine.popularity.events for engine in fleet.engines) <= len(events)
    assert fleet.adding == []
