"""The simulation of many workers, where its answer is known."""

from __future__ import annotations

import pytest

from benchmarks.scale_out import LOAD, Costs, busiest, simulate
from streams.tools.planning.telling import KINDS
from streams.worker.item_deltas import FOLLOWING_SHARE, LONGEST_SECONDS, most_rows

FREE = Costs(own=1e-3, delta=0.0, row=0.0, rows=1.0)
DEAR = Costs(own=1e-3, delta=200e-6, row=0.9e-6, rows=20.0)


def test_workers_that_follow_at_no_cost_scale_by_their_number_and_wait_as_queues_do() -> None:
    eight = simulate(8, FREE, delta_seconds=0.05, seed=0, events=8_000)
    assert eight["events_per_second"] == 8_000
    assert eight["speedup"] == 8
    # Mean of M/D/1 (Pollaczek-Khinchine): service and rho / (2 (1 - rho)) of it; the median of so
    # loaded a queue is below it.
    mean_ms = 1.0 + LOAD / (2 * (1 - LOAD))
    assert 1.0 < eight["answer_ms"]["p50"] < mean_ms < eight["answer_ms"]["p99"]


def test_following_takes_a_share_of_each_worker_however_many_there_are() -> None:
    assert busiest(1, DEAR, 0.1).events_per_second == pytest.approx(1_000)
    before = 1.0
    for workers in (2, 8, 16, 64):
        fleet = busiest(workers, DEAR, 0.1)
        share = (workers - 1) * fleet.adding / fleet.delta_seconds
        # Counts are all told, every `LONGEST_SECONDS` at least.
        assert share <= FOLLOWING_SHARE * 1.01 or fleet.delta_seconds == LONGEST_SECONDS
        assert share < 0.1
        assert fleet.events_per_second == pytest.approx(workers * 1_000 * (1 - share))
        told = fleet.events_per_second / workers * fleet.delta_seconds
        assert fleet.rows <= told + KINDS * most_rows(workers)
        assert fleet.rows <= told * DEAR.rows * 1.01
        assert fleet.events_per_second > before
        before = fleet.events_per_second


def test_what_others_taught_is_known_when_they_tell_it() -> None:
    lag = simulate(4, FREE, delta_seconds=0.2, seed=0, events=8_000)["lag_ms"]
    assert lag["p50"] == pytest.approx(100, abs=20)  # a uniform wait
    assert 180 < lag["p99"] < 250  # and the work of its own that comes first
    dear = simulate(4, DEAR, delta_seconds=0.2, seed=0, events=8_000)
    assert dear["delta_seconds"] > 0.2
    assert dear["lag_ms"]["p50"] > lag["p50"]
