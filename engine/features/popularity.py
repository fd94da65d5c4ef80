"""How items are taken: how often, how lately, how well rated, and by users how experienced."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.arrays import grown
from engine.compiled import kernel
from engine.features.elementwise import log_in_place
from engine.features.faded import (
    Fading,
    exchange,
    fade,
    left_of,
    log_share,
    log_shares,
)
from engine.state.schema import ROWS, Array, State

TRENDING_ITEMS = 256
_STAGES = 16
"""User-history lengths are told apart by their binary logarithm, up to 2^15 interactions."""
_PRIOR_VALUES = 5.0
"""Average ratings that an item's quality starts from."""
ALL_TIME, RECENT, AGE, QUALITY = range(4)


_FEATURE_NAMES = ("share", "recent_share", "age", "quality")
"""The rows of `Popularity.features` in saved states."""


class PopularityArrays(NamedTuple):
    """What kernels read and write of `Popularity`."""

    counts: NDArray[np.float32]
    features: NDArray[np.float32]
    stage_ratio: NDArray[np.float32]
    recent: NDArray[np.float64]
    first: NDArray[np.int64]
    by_stage: NDArray[np.float32]
    stage_total: NDArray[np.float64]
    value_sums: NDArray[np.float32]
    trending: NDArray[np.int32]
    clock: NDArray[np.int64]
    inflation: NDArray[np.float64]
    moments: NDArray[np.float64]
    fading: Fading


EVENTS, CURSOR, TRENDING_COUNT = range(3)
"""Places in `PopularityArrays.clock`: events counted; the next item to be refreshed; slots of
`trending` in use."""


class Popularity:
    """Counts of items and the features that ranking reads.

    In the recent popularity each user counts once an item (`engine.features.faded`).

    Features that change with every event for every item (shares, age) are refreshed at the item of
    the event and, in turn, for 1/32 of the others but no more than 1024 (stage ratios only at the
    stage of the event), so that the cost of an event stays bounded; `current_popularity` is up to
    date.

    Attributes
    ----------
    counts : float32[items]
        Interactions, weighted by kind.
    features : float32[4, items]
        Log share of all interactions; log share of recent ones; log of the events since it was
        first taken, or else known; mean rating in standard deviations from the average one, shrunk.
    stage_ratio : float32[16, items]
        Log ratio of an item's share among users of a stage to its share among all.
    trending : int32[256]
        The items of greatest recent share, in no order; `trending_count` slots are in use. The
        place of one that had to leave goes to the next that is taken.
    fading
        How fast the recent popularity fades: 3,000 events if nothing else is set
        (`engine.trending_half_life`).
    """

    STATE: ClassVar[State] = State(
        {
            "counts": Array("items/popularity/counts", (ROWS,)),
            "features": Array("items/popularity/features", (_FEATURE_NAMES, ROWS)),
            "stage_ratio": Array("items/popularity/stage_ratio", (None, ROWS)),
            "trending": Array("items/popularity/trending", (None,), numbers="items"),
            "_recent": Array("items/popularity/recent", (ROWS,)),
            "_first": Array("items/popularity/first", (ROWS,)),
            "_by_stage": Array("items/popularity/by_stage", (None, ROWS)),
            "_stage_total": Array("items/popularity/stage_total", (None,)),
            "_value_sums": Array("items/popularity/value_sums", (None, ROWS)),
            "_clock": Array("items/popularity/clock", (("events", "cursor", "trending"),)),
            "_inflation": Array("items/popularity/inflation", (None,)),
            "_moments": Array("items/popularity/moments", (("ratings", "mean", "squares"),)),
        },
        unsaved=("fading",),
        check="_fault",
    )

    def __init__(self, half_life: int = 3000, items: int = 1024) -> None:
        self.fading = Fading.of(half_life)
        self.counts: NDArray[np.float32] = np.zeros(items, np.float32)
        self.features: NDArray[np.float32] = np.zeros((4, items), np.float32)
        self.trending: NDArray[np.int32] = np.zeros(TRENDING_ITEMS, np.int32)
        self._recent: NDArray[np.float64] = np.zeros(items, np.float64)
        self._first: NDArray[np.int64] = np.zeros(items, np.int64)
        self._by_stage: NDArray[np.float32] = np.zeros((_STAGES, items), np.float32)
        self.stage_ratio: NDArray[np.float32] = np.zeros((_STAGES, items), np.float32)
        self._stage_total: NDArray[np.float64] = np.zeros(_STAGES, np.float64)
        self._value_sums: NDArray[np.float32] = np.zeros((2, items), np.float32)
        self._clock: NDArray[np.int64] = np.zeros(3, np.int64)
        self._inflation: NDArray[np.float64] = np.ones(1)
        # Number, mean and sum of squared deviations of all ratings so far (Welford, 1962).
        self._moments: NDArray[np.float64] = np.zeros(3)

    @property
    def arrays(self) -> PopularityArrays:
        """As kernels take them."""
        return PopularityArrays(
            self.counts, self.features, self.stage_ratio, self._recent, self._first,
            self._by_stage, self._stage_total, self._value_sums, self.trending, self._clock,
            self._inflation, self._moments, self.fading,
        )  # fmt: skip

    @property
    def events(self) -> int:
        """Events counted so far."""
        return int(self._clock[EVENTS])

    @property
    def trending_items(self) -> NDArray[np.int32]:
        """A view of the items of greatest recent share, in no order: int32[<= 256]."""
        return self.trending[: int(self._clock[TRENDING_COUNT])]

    def _fault(self) -> str:
        count = int(self._clock[TRENDING_COUNT])
        if not 0 <= count <= TRENDING_ITEMS:
            return f"{count} items are trending, of {TRENDING_ITEMS} at most"
        if not 0 <= self._clock[CURSOR] < len(self.counts):
            return "its cursor is at no item"
        return ""

    def reserve(self, items: int) -> None:
        """Make room for `items` items."""
        have = len(self.counts)
        if items <= have:
            return
        self.counts = grown(self.counts, items)
        self.features = grown(self.features, items, axis=1)
        self._recent = grown(self._recent, items)
        self._first = grown(self._first, items)
        self._by_stage = grown(self._by_stage, items, axis=1)
        self.stage_ratio = grown(self.stage_ratio, items, axis=1)
        self._value_sums = grown(self._value_sums, items, axis=1)

    def introduce(self, item: int) -> None:
        """Count an item's age from now."""
        self._first[item] = self.events

    def clear(self, item: int) -> None:
        """Forget an item; what it was counted with stays in the totals."""
        self.counts[item] = self._recent[item] = 0.0
        for table in (self.features, self.stage_ratio, self._by_stage, self._value_sums):
            table[:, item] = 0.0
        held = self.trending_items
        for slot in np.flatnonzero(held == item):
            self._clock[TRENDING_COUNT] -= 1
            held[slot] = held[-1]

    def forget(
        self, items: NDArray[np.int32], weights: NDArray[np.float32], marks: NDArray[np.int64]
    ) -> None:
        """Take back from all-time and recent counts what one user added.

        items : int32[n]; weights : float32[n]; marks : int64[n], of `engine.features.faded`.
        """
        self.counts[items] = np.maximum(self.counts[items] - weights, 0.0)
        _take_back(self.arrays, items, marks)


@kernel
def stage_of(history_length):  # type: ignore[no-untyped-def]
    """The stage of a user with that many interactions, and the share of the next one in it."""
    position = min(np.log2(history_length + 1.0), _STAGES - 1.001)
    return int(position), position - int(position)


@kernel
def popularity_features(popular, stage_ratio, stage, share, n, out):  # type: ignore[no-untyped-def]
    """Write the five features of the first n items: out is float32[5, >= n]."""
    rest = np.float32(1.0) - share
    for k in range(4):
        for j in range(n):
            out[k, j] = popular[k, j]
    for j in range(n):
        out[4, j] = rest * stage_ratio[stage, j] + share * stage_ratio[stage + 1, j]


@kernel
def _relative_age(age):  # type: ignore[no-untyped-def]
    return np.float32(age / 100.0 + 1.0)


@kernel
def _stage_ratio(at_stage, stage_total, share):  # type: ignore[no-untyped-def]
    if stage_total <= 0:
        return np.float32(1.0)
    shrunk = (at_stage + np.float32(5.0) * share) / np.float32(stage_total + 5.0)
    return (shrunk + np.float32(1e-6)) / (share + np.float32(1e-6))


@kernel
def _recent_whole(p):  # type: ignore[no-untyped-def]
    """The recent count of an item that has a share of one."""
    return p.inflation[0] * p.fading.window


@kernel
def current_popularity(p, items, n, stage, features, ratios):  # type: ignore[no-untyped-def]
    """Write what `features` and `stage_ratio` would hold of the first n items, if up to date.

    features : float32[4, >= n]; ratios : float32[2, >= n], at a stage and the next.
    """
    events = p.clock[EVENTS]
    log_shares(p.counts, events + 1.0, items, n, features[ALL_TIME])
    recent_shares(p, items, n, features[RECENT])
    for i in range(n):
        j = items[i]
        share = np.float32(p.counts[j] / (events + 1.0))
        features[AGE, i] = _relative_age(events - p.first[j])
        features[QUALITY, i] = p.features[QUALITY, j]
        for s in range(2):
            ratios[s, i] = _stage_ratio(p.by_stage[stage + s, j], p.stage_total[stage + s], share)
    log_in_place(features[AGE][:n])
    for s in range(2):
        log_in_place(ratios[s][:n])


@kernel
def recent_shares(p, items, n, out):  # type: ignore[no-untyped-def]
    """The log share of recent interactions of the first n items, up to date: out is float32[n]."""
    log_shares(p.recent, _recent_whole(p), items, n, out)


@kernel
def _refresh(p, j, first_stage, last_stage):  # type: ignore[no-untyped-def]
    events = p.clock[EVENTS]
    share = np.float32(p.counts[j] / (events + 1.0))
    p.features[ALL_TIME, j] = log_share(share)
    p.features[RECENT, j] = log_share(p.recent[j] / _recent_whole(p))
    p.features[AGE, j] = np.log(_relative_age(events - p.first[j]))
    for s in range(first_stage, last_stage):
        p.stage_ratio[s, j] = np.log(_stage_ratio(p.by_stage[s, j], p.stage_total[s], share))


@kernel
def _standardised(value, count, mean, squares):  # type: ignore[no-untyped-def]
    """A rating in standard deviations from the average one, within three."""
    deviation = np.sqrt(squares / (count - 1.0)) if count > 1 else 0.0
    return max(-3.0, min(3.0, (value - mean) / deviation)) if deviation > 0 else 0.0


@kernel
def recent_level(p, item):  # type: ignore[no-untyped-def]
    """An item's log share of recent interactions, up to date."""
    return log_share(p.recent[item] / _recent_whole(p))


@kernel
def record_popularity(p, item, history_length, items, weight, is_rated, value, mark):  # type: ignore[no-untyped-def]
    """Count an interaction, and refresh the features of `item` and of the next 1/32 of the items.

    history_length : of the user, before it; items : how many are known; value : its rating, if it
    is rated, on whatever scale all ratings have; mark : of what the user was counted with at the
    item before, which this takes the place of in the recent count.
    """
    p.clock[EVENTS] += 1
    fade(p.recent, p.inflation, p.fading)
    stage, share = stage_of(history_length)
    if p.counts[item] == 0:
        p.first[item] = p.clock[EVENTS]
    if is_rated:
        m = p.moments
        m[0] += 1.0
        delta = value - m[1]
        m[1] += delta / m[0]
        m[2] += delta * (value - m[1])
        p.value_sums[0, item] += _standardised(value, m[0], m[1], m[2])
        p.value_sums[1, item] += np.float32(1.0)
        p.features[QUALITY, item] = p.value_sums[0, item] / (p.value_sums[1, item] + _PRIOR_VALUES)
    p.counts[item] += weight
    left = left_of(mark, p.clock[EVENTS], p.fading)
    exchange(p.recent, p.inflation, item, weight, left)
    p.by_stage[stage, item] += weight * (1.0 - share)
    p.by_stage[stage + 1, item] += weight * share
    p.stage_total[stage] += weight * (1.0 - share)
    p.stage_total[stage + 1] += weight * share
    _refresh(p, item, 0, len(p.stage_total))
    cursor = p.clock[CURSOR]
    for _ in range(min(items // 32, 1024) + 1):
        _refresh(p, cursor, stage, stage + 2)
        cursor = (cursor + 1) % items
    p.clock[CURSOR] = cursor
    _keep_trending(p, item)


@kernel
def merge_popularity(p, items, known, events, counts, recent, values, by_stage, totals):  # type: ignore[no-untyped-def]
    """Count what others counted in so many events, and refresh the features that it changed.

    Parameters
    ----------
    items : int32[n]
        Whose counts changed; `known` items are known.
    counts, recent : float32[n]
        Recent counts in weights of the latest event.
    values : float32[n, 2]
        Sums of standardised ratings, and their numbers.
    by_stage : float32[n, 16]
    totals : float64[16]
    """
    zero = np.float32(0.0)
    p.clock[EVENTS] += events
    for _ in range(events):
        fade(p.recent, p.inflation, p.fading)
    for s in range(len(totals)):
        p.stage_total[s] += totals[s]
    for i in range(len(items)):
        j = items[i]
        if p.counts[j] == 0:
            p.first[j] = p.clock[EVENTS]
        p.counts[j] = max(p.counts[j] + counts[i], zero)
        exchange(p.recent, p.inflation, j, recent[i], 0.0)
        for c in range(2):
            p.value_sums[c, j] += values[i, c]
        if p.value_sums[1, j] > 0:
            p.features[QUALITY, j] = p.value_sums[0, j] / (p.value_sums[1, j] + _PRIOR_VALUES)
        for s in range(len(totals)):
            p.by_stage[s, j] += by_stage[i, s]
    for i in range(len(items)):
        _refresh(p, items[i], 0, len(p.stage_total))
        _keep_trending(p, items[i])
    # The turn of as many others as if the events had been this engine's, but of each only once;
    # their stage ratios, which move slowly, have their turn at this engine's own events.
    cursor = p.clock[CURSOR]
    for _ in range(min(events * (known // 32 + 1), known, 1024)):
        _refresh(p, cursor, 0, 0)
        cursor = (cursor + 1) % known
    p.clock[CURSOR] = cursor


@kernel
def _take_back(p, items, marks):  # type: ignore[no-untyped-def]
    for i in range(len(items)):
        left = left_of(marks[i], p.clock[EVENTS], p.fading)
        exchange(p.recent, p.inflation, items[i], 0.0, left)
        _refresh(p, items[i], 0, len(p.stage_total))


@kernel
def _keep_trending(p, item):  # type: ignore[no-untyped-def]
    # All recent counts fade alike, so only the item of the event can have risen.
    weakest = 0
    held = p.clock[TRENDING_COUNT]
    for slot in range(held):
        if p.trending[slot] == item:
            return
        if p.recent[p.trending[slot]] < p.recent[p.trending[weakest]]:
            weakest = slot
    if held < len(p.trending):
        p.trending[held] = item
        p.clock[TRENDING_COUNT] = held + 1
    elif p.recent[item] > p.recent[p.trending[weakest]]:
        p.trending[weakest] = item
