"""The simulation of many workers, where its answer is known."""

from __future__ import annotations

from benchmarks.scale_out import LOAD, simulate


def test_workers_that_follow_at_no_cost_scale_by_their_number_and_wait_as_queues_do() -> None:
    alone = simulate(8, own=1e-3, silent=0.0, seed=0, events=40_000)
    assert alone["events_per_second"] == 8_000
    # Mean of M/D/1 (Pollaczek-Khinchine): service and rho / (2 (1 - rho)) of it; the median of so
    # loaded a queue is below it.
    mean_ms = 1.0 + LOAD / (2 * (1 - LOAD))
    assert 1.0 < alone["answer_ms"]["p50"] < mean_ms < alone["answer_ms"]["p99"]


def test_what_following_costs_bounds_the_whole() -> None:
    rates = [simulate(w, own=1e-3, silent=5e-4, seed=0, events=500)["events_per_second"]
             for w in (1, 8, 64)]  # fmt: skip
    assert rates == [1_000, round(8 / 4.5e-3), round(64 / 32.5e-3)]
    assert rates[-1] < 1 / 5e-4


def test_only_what_answering_costs_more_than_following_makes_a_lag() -> None:
    equal = simulate(16, own=1e-3, silent=1e-3, seed=0, events=2_000)
    assert equal["lag_ms"] == {"p50": 0.0, "p99": 0.0, "p99_9": 0.0}
    assert simulate(16, own=1e-3, silent=1e-4, seed=0, events=2_000)["lag_ms"]["p99"] > 0
