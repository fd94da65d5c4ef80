"""How items are taken: how often, how lately, how well rated, and by users how experienced."""

from __future__ import annotations

from math import log, log2
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from engine.arrays import grown
from engine.compiled import kernel
from engine.state.schema import ROWS, Array, State, Value

HALF_LIFE = 3000
"""Events after which a count weighs half in the recent popularity."""
WINDOW = HALF_LIFE / log(2.0)
"""Events that the recent counts add up to."""
INFLATION = 2.0 ** (1.0 / HALF_LIFE)
TRENDING_ITEMS = 256
_STAGES = 16
"""User-history lengths are told apart by their binary logarithm, up to 2^15 interactions."""
_PRIOR_VALUES = 5.0
"""Average ratings that an item's quality starts from."""
_SHARE_OFFSET = np.float32(11.5)
"""Puts the log share of an item that nobody took at zero."""
ALL_TIME, RECENT, AGE, QUALITY = range(4)


_FEATURE_NAMES = ("share", "recent_share", "age", "quality")
"""The rows of `Popularity.features` in saved states."""


class Popularity:
    """Counts of items and the features that ranking reads.

    Features that change with every event for every item (shares, age) are refreshed at the item of
    the event and, in turn, for 1/32 of the others but no more than 1024 (stage ratios only at the
    stage of the event), so that the cost of an event stays bounded; `current` is up to date.

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
            "events": Value("items/popularity/events", int),
            "trending_count": Value("items/popularity/trending_count", int),
            "_inflation": Value("items/popularity/inflation", float),
            "_cursor": Value("items/popularity/cursor", int),
            "_values": Value("items/popularity/value_moments", list[float]),
        },
        check="_fault",
    )

    def __init__(self, items: int = 1024) -> None:
        self.events = 0
        self.counts: NDArray[np.float32] = np.zeros(items, np.float32)
        self.features: NDArray[np.float32] = np.zeros((4, items), np.float32)
        self.trending: NDArray[np.int32] = np.zeros(TRENDING_ITEMS, np.int32)
        self.trending_count = 0
        self._recent: NDArray[np.float64] = np.zeros(items, np.float64)
        # What one event weighs now: it grows, so that old counts need no decay pass.
        self._inflation = 1.0
        self._first: NDArray[np.int64] = np.zeros(items, np.int64)
        self._by_stage: NDArray[np.float32] = np.zeros((_STAGES, items), np.float32)
        self.stage_ratio: NDArray[np.float32] = np.zeros((_STAGES, items), np.float32)
        self._stage_total: NDArray[np.float64] = np.zeros(_STAGES, np.float64)
        self._cursor = 0
        # Number, mean and sum of squared deviations of all values so far (Welford, 1962).
        self._values: list[float] = [0.0, 0.0, 0.0]
        self._value_sums: NDArray[np.float32] = np.zeros((2, items), np.float32)

    @property
    def trending_items(self) -> NDArray[np.int32]:
        """A view of the items of greatest recent share, in no order: int32[<= 256]."""
        return self.trending[: self.trending_count]

    def _fault(self) -> str:
        if not 0 <= self.trending_count <= TRENDING_ITEMS:
            return f"{self.trending_count} items are trending, of {TRENDING_ITEMS} at most"
        if self._cursor < 0 or len(self._values) != 3:
            return "its cursor or its moments are none"
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
            self.trending_count -= 1
            held[slot] = held[-1]

    def record(
        self, item: int, history_length: int, items: int, weight: float, value: float | None = None
    ) -> None:
        """Count an interaction of a user who had `history_length` before it; `items` are known.

        `value` is its rating, on whatever scale all ratings have.
        """
        weight_now = self.next_weight()
        stage, share = stage_of(history_length)
        self.take_totals(
            record_popularity(
                self.counts, self._recent, weight_now, self.events, self._first, self._by_stage,
                self._stage_total, self.stage_ratio, self.features, self._value_sums, stage, share,
                weight, item, value is not None, float(value or 0.0), *self._values,
                self._cursor, items, self.trending, self.trending_count,
            )
        )  # fmt: skip

    def next_weight(self) -> float:
        """Count an event; what it weighs in the recent counts."""
        self.events += 1
        self._inflation *= INFLATION
        if self._inflation > 1e12:
            self._recent /= self._inflation
            self._inflation = 1.0
        return self._inflation

    def take_totals(self, totals: tuple[int, int, float, float, float]) -> None:
        """Take over what `record_popularity` returned."""
        self._cursor, self.trending_count, *self._values = totals

    def current(
        self, items: NDArray[np.int32], stage: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """What `features` and `stage_ratio` would hold, if all were up to date.

        Returns
        -------
        float32[4, n], float32[2, n]
            Of these items (int32[n]); the ratios at a stage and the next.
        """
        features = self.features.take(items, 1)
        ratios = np.zeros((2, len(items)), np.float32)
        _current(
            self.counts, self._recent, self._inflation, self.events, self._first, self._by_stage,
            self._stage_total, items, stage, features, ratios,
        )  # fmt: skip
        # numpy's logarithm is vectorised, numba's is not.
        logarithmic = features[: AGE + 1]
        np.log(logarithmic, out=logarithmic)
        np.log(ratios, out=ratios)
        features[:AGE] += _SHARE_OFFSET
        return features, ratios

    def level(self, item: int) -> float:
        """An item's log share of recent interactions, up to date."""
        return float(recent_level(self._recent, self._inflation, item))

    def forget(self, items: NDArray[np.int32], weights: NDArray[np.float32]) -> None:
        """Take back from the all-time counts what one user added: int32[n], float32[n]."""
        self.counts[items] = np.maximum(self.counts[items] - weights, 0.0)


def stage_of(history_length: int) -> tuple[int, float]:
    """The stage of a user with that many interactions, and the share of the next one in it."""
    position = min(log2(history_length + 1.0), _STAGES - 1.001)
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
def _smoothed(share):  # type: ignore[no-untyped-def]
    return np.float32(share) + np.float32(1e-5)


@kernel
def _log_share(share):  # type: ignore[no-untyped-def]
    return np.log(_smoothed(share)) + _SHARE_OFFSET


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
def _current(  # type: ignore[no-untyped-def]
    counts, recent, inflation, events, first, by_stage, stage_total, items, stage, features, ratios
):
    """Write what the logarithms are to be taken of."""
    for i in range(len(items)):
        j = items[i]
        share = np.float32(counts[j] / (events + 1.0))
        features[ALL_TIME, i] = _smoothed(share)
        features[RECENT, i] = _smoothed(recent[j] / inflation / WINDOW)
        features[AGE, i] = _relative_age(events - first[j])
        for s in range(2):
            ratios[s, i] = _stage_ratio(by_stage[stage + s, j], stage_total[stage + s], share)


@kernel
def _refresh(  # type: ignore[no-untyped-def]
    counts, recent, inflation, events, first, by_stage, stage_total, stage_ratio, features,
    j, first_stage, last_stage,
):  # fmt: skip
    share = np.float32(counts[j] / (events + 1.0))
    features[ALL_TIME, j] = _log_share(share)
    features[RECENT, j] = _log_share(recent[j] / inflation / WINDOW)
    features[AGE, j] = np.log(_relative_age(events - first[j]))
    for s in range(first_stage, last_stage):
        stage_ratio[s, j] = np.log(_stage_ratio(by_stage[s, j], stage_total[s], share))


@kernel
def _standardised(value, count, mean, squares):  # type: ignore[no-untyped-def]
    """A rating in standard deviations from the average one, within three."""
    deviation = np.sqrt(squares / (count - 1.0)) if count > 1 else 0.0
    return max(-3.0, min(3.0, (value - mean) / deviation)) if deviation > 0 else 0.0


@kernel
def recent_level(recent, inflation, item):  # type: ignore[no-untyped-def]
    """See `Popularity.level`."""
    return _log_share(recent[item] / inflation / WINDOW)


@kernel
def record_popularity(  # type: ignore[no-untyped-def]
    counts, recent, inflation, events, first, by_stage, stage_total, stage_ratio, features,
    value_sums, stage, stage_share, weight, item, is_rated, value, value_count, value_mean,
    value_squares, cursor, items, trending, held,
):  # fmt: skip
    """Count, then refresh `item` and the next 1/32 of the items.

    Returns the new cursor and trending_count; number, mean and squared deviations of all values.
    """
    if counts[item] == 0:
        first[item] = events
    if is_rated:
        value_count += 1.0
        delta = value - value_mean
        value_mean += delta / value_count
        value_squares += delta * (value - value_mean)
        value_sums[0, item] += _standardised(value, value_count, value_mean, value_squares)
        value_sums[1, item] += np.float32(1.0)
        features[QUALITY, item] = value_sums[0, item] / (value_sums[1, item] + _PRIOR_VALUES)
    counts[item] += weight
    recent[item] += weight * inflation
    by_stage[stage, item] += weight * (1.0 - stage_share)
    by_stage[stage + 1, item] += weight * stage_share
    stage_total[stage] += weight * (1.0 - stage_share)
    stage_total[stage + 1] += weight * stage_share
    _refresh(
        counts, recent, inflation, events, first, by_stage, stage_total, stage_ratio, features,
        item, 0, len(stage_total),
    )  # fmt: skip
    for _ in range(min(items // 32, 1024) + 1):
        _refresh(
            counts, recent, inflation, events, first, by_stage, stage_total, stage_ratio, features,
            cursor, stage, stage + 2,
        )  # fmt: skip
        cursor = (cursor + 1) % items
    held = _keep_trending(trending, held, recent, item)
    return cursor, held, value_count, value_mean, value_squares


@kernel
def _keep_trending(trending, held, recent, item):  # type: ignore[no-untyped-def]
    # All recent counts fade alike, so only the item of the event can have risen.
    weakest = 0
    for slot in range(held):
        if trending[slot] == item:
            return held
        if recent[trending[slot]] < recent[trending[weakest]]:
            weakest = slot
    if held < len(trending):
        trending[held] = item
        return held + 1
    if recent[item] > recent[trending[weakest]]:
        trending[weakest] = item
    return held
