"""What the core costs in cycles, which are the same on every machine."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.overlay import Problem, measure_core


@pytest.mark.long
def test_the_core_keeps_to_its_budget(verilator: None) -> None:
    core = measure_core(Problem(np.random.default_rng(0), 300, 64))
    assert core["cycles_per_target"] <= 150
    assert 0.9 <= core["payload_share"] <= 1
    assert core["hashed_over_recent_at_latency_64"] <= 1.1
    assert core["two_port_speedup"] >= 1.8
