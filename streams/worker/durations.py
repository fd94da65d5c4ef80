"""Histograms of durations that an event hardly notices.

prometheus_client's own take a lock and a microsecond or two for each observation, and an event has
nine. Here an observation adds to plain integers; whoever asks adds them up.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate

from msgspec.structs import astuple

from streams.messages.schemas import LatencyUs

BOUNDS_US = (*(step * 10.0**power for power in range(7) for step in (1.0, 2.5, 5.0)), 1e7)
"""Upper bounds of the buckets: from 1 µs to 10 s."""
_BOUNDS_SECONDS = tuple(bound / 1e6 for bound in BOUNDS_US)

Buckets = list[tuple[str, float]]
"""Upper bounds, as Prometheus writes them, with how many values are at most that."""


class Histogram:
    """How many durations fell between which bounds. One thread observes; any may read.

    Attributes
    ----------
    counts
        One for each of `BOUNDS_US`, and one for what is longer.
    sum_us
        All durations together, in microseconds.
    """

    __slots__ = ("counts", "sum_us")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_US) + 1)
        self.sum_us = 0.0

    def observe(self, microseconds: float) -> None:
        """Count one duration."""
        self.counts[bisect_left(BOUNDS_US, microseconds)] += 1
        self.sum_us += microseconds


class StageDurations:
    """A histogram for each stage of an answer, and for `queue` and `total`."""

    def __init__(self) -> None:
        self.histograms = {stage: Histogram() for stage in LatencyUs.__struct_fields__}
        self._in_order = tuple(self.histograms.values())

    def observe(self, latency: LatencyUs) -> None:
        """Count the stages of one answer."""
        # `Histogram.observe`, written out: nine calls would double the time.
        for histogram, us in zip(self._in_order, astuple(latency), strict=True):
            histogram.counts[bisect_left(BOUNDS_US, us)] += 1
            histogram.sum_us += us


def exposed(histograms: Iterable[Histogram]) -> tuple[Buckets, float]:
    """Histograms added up, as Prometheus takes one: cumulative buckets, and the sum in seconds."""
    held = [(list(histogram.counts), histogram.sum_us) for histogram in histograms]
    counts = [sum(column) for column in zip(*(counts for counts, _ in held), strict=True)]
    none = [0] * (len(BOUNDS_US) + 1)
    return cumulative(_BOUNDS_SECONDS, counts or none), sum(us for _, us in held) / 1e6


def cumulative(bounds: Sequence[float], counts: Sequence[int]) -> Buckets:
    """The buckets of a histogram that counts between these bounds, and beyond the last."""
    labels = (*map(str, bounds), "+Inf")
    return list(zip(labels, map(float, accumulate(list(counts))), strict=True))
