"""What the soak benchmark makes of its samples."""

from __future__ import annotations

from array import array

from benchmarks.soak import summary


def test_the_slope_is_that_after_warm_up_and_the_ratio_that_of_the_tenths() -> None:
    events = 1_000_000
    samples = [(n, 100_000_000 + min(n, 250_000) * 100 + n * 7) for n in range(0, events, 10_000)]
    latencies = array("f", [9.0] * 100 + [10.0] * 100 + [5.0] * 700 + [15.0] * 100)
    report = summary(samples, latencies, latencies, events)
    assert report["slope_mb_per_million_events"] == 7.0
    assert report["total_us"]["p99_ratio"] == report["end_to_end_ms"]["p99_ratio"] == 1.5
    assert report["resident_mb"]["peak"] == report["resident_mb"]["end"]
