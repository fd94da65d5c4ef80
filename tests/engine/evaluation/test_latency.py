"""Latencies in turns."""

from __future__ import annotations

import gc
import time
from collections import Counter

import numpy as np
import pytest

from engine.evaluation.latency import in_turns, measure, summary


def test_every_contender_is_asked_each_request_before_the_next_one() -> None:
    asked: list[tuple[str, int]] = []
    contenders = {
        name: (lambda request, name=name: asked.append((name, request))) for name in "abc"
    }
    counted = Counter(name for name, _, _ in in_turns(contenders, range(50), warm_up=10))
    assert counted == {"a": 40, "b": 40, "c": 40}
    assert [request for _, request in asked] == [n for n in range(50) for _ in "abc"]
    rounds = [tuple(name for name, _ in asked[at : at + 3]) for at in range(0, 150, 3)]
    assert {frozenset(one) for one in rounds} == {frozenset("abc")}
    assert len(set(rounds)) == 6, "each order occurs"


def test_a_slower_contender_is_measured_slower_and_warming_up_does_not_count() -> None:
    calls = Counter[str]()

    def slow_at_first(request: int) -> None:
        calls["first"] += 1
        time.sleep(0.05 if request == 0 else 0)

    found = measure({"first": slow_at_first, "slow": lambda _: time.sleep(0.01)}, range(6), 1)
    assert calls["first"] == 6
    assert found["slow"].requests == found["first"].requests == 5
    assert found["slow"].mean >= 10 > found["first"].mean
    assert found["slow"].cpu < 5, "sleeping is no work"


def test_summary_by_hand() -> None:
    wall = np.arange(1, 102) * 1e6
    found = summary(np.stack([wall, wall / 2], axis=1))
    assert (found.mean, found.p50, found.p99, found.requests) == (51.0, 51.0, 100.0, 101)
    assert found.sd == pytest.approx(np.std(np.arange(1, 102), ddof=1))
    assert found.cpu == pytest.approx(25.5)


def test_the_collector_is_as_it_was_even_after_an_error() -> None:
    def fail(_: int) -> None:
        raise OSError("down")

    with pytest.raises(OSError, match="down"):
        measure({"a": fail}, range(3), 0)
    assert gc.isenabled()


def test_nothing_left_to_count_is_an_error() -> None:
    with pytest.raises(ValueError, match="3 requests"):
        measure({"a": id}, range(3), 3)
