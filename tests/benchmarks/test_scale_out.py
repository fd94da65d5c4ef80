"""The simulation of many workers, where its answer is known."""

from __future__ import annotations

import pytest

from benchmarks.scale_out import LOAD, simulate


def test_workers_that_follow_at_no_cost_scale_by_their_number_and_wait_as_queues_do() -> None:
    alone = simulate(8, own=1e-3, following=0.0, delta_seconds=0.0, seed=0, events=8_000)
    assert alone["events_per_second"] == 8_000
    # Mean of M/D/1 (Pollaczek-Khinchine): service and rho / (2 (1 - rho)) of it; the median of so
    # loaded a queue is below it.
    mean_ms = 1.0 + LOAD / (2 * (1 - LOAD))
    assert 1.0 < alone["answer_ms"]["p50"] < mean_ms < alone["answer_ms"]["p99"]


def test_what_following_costs_bounds_the_whole() -> None:
    costs = {"own": 1e-3, "following": 5e-4, "delta_seconds": 0.2, "seed": 0, "events": 100}
    rates = [simulate(workers, **costs)["events_per_second"] for workers in (1, 8, 64)]
    assert rates == [1_000, round(8 / 4.5e-3), round(64 / 32.5e-3)]
    assert rates[-1] < 1 / 5e-4


def test_what_others_taught_is_known_when_they_tell_it() -> None:
    lag = simulate(8, own=1e-3, following=1e-9, delta_seconds=0.2, seed=0, events=8_000)["lag_ms"]
    assert lag["p50"] == pytest.approx(100, abs=20)  # a uniform wait
    assert 180 < lag["p99"] < 250  # and the work of its own that comes first
    busy = simulate(8, own=1e-3, following=5e-4, delta_seconds=0.2, seed=0, events=8_000)["lag_ms"]
    assert busy["p50"] > lag["p50"]
