"""The worker's own histograms against prometheus_client's."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client import Histogram as Reference

from streams.messages.schemas import LatencyUs
from streams.worker.durations import BOUNDS_US, Histogram, StageDurations, exposed

DURATIONS = st.lists(st.one_of(st.sampled_from(BOUNDS_US), st.floats(0, 1e8)), max_size=50)


def reference(durations_us: list[float]) -> tuple[list[tuple[str, float]], float]:
    registry = CollectorRegistry()
    bounds = [bound / 1e6 for bound in BOUNDS_US]
    histogram = Reference("t_seconds", "Time.", buckets=bounds, registry=registry)
    for us in durations_us:
        histogram.observe(us / 1e6)
    [family] = registry.collect()
    buckets = [(s.labels["le"], s.value) for s in family.samples if s.name == "t_seconds_bucket"]
    [total] = [s.value for s in family.samples if s.name == "t_seconds_sum"]
    return buckets, total


@given(DURATIONS, DURATIONS)
def test_histograms_add_up_to_what_prometheus_client_counts(
    first: list[float], second: list[float]
) -> None:
    histograms = [Histogram(), Histogram()]
    for histogram, durations in zip(histograms, (first, second), strict=True):
        for us in durations:
            histogram.observe(us)
    buckets, total = exposed(histograms)
    expected, expected_total = reference([*first, *second])
    assert buckets == expected
    assert abs(total - expected_total) <= 1e-9 * max(1.0, expected_total)


def test_no_histogram_is_an_empty_one() -> None:
    assert exposed([]) == reference([])


@given(st.lists(st.tuples(*[st.floats(0, 1e7)] * 9), max_size=20))
def test_each_stage_of_an_answer_is_counted_under_its_name(rows: list[tuple[float, ...]]) -> None:
    stages = LatencyUs.__struct_fields__
    together = StageDurations()
    apart = {stage: Histogram() for stage in stages}
    for row in rows:
        latency = dict(zip(stages, row, strict=True))
        together.observe(LatencyUs(**latency))
        for stage, us in latency.items():
            apart[stage].observe(us)
    assert together.histograms.keys() == apart.keys()
    for stage, histogram in together.histograms.items():
        assert exposed([histogram]) == exposed([apart[stage]])
