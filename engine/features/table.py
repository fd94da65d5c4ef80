"""The table of features: row numbers, parts, initial weights and saved names come from it.

With it goes what calls the features that have a state of their own: to add one takes its module
and this one (docs/extending.md).

A feature's row in the table is its row in every array of features and of weights. Rows of one part
are next to each other. The names are those of the weights in saved states: a file that lacks one
gives that feature its initial weight. `docs/ranking.md` shows the table, and a test compares them.
"""

from __future__ import annotations

from itertools import groupby
from math import inf
from typing import ClassVar, NamedTuple

from engine.compiled import kernel
from engine.features.feature import GRAPH_PART, PART_NAMES, TEXT_PART, TREND_PART, Feature, OwnState
from engine.features.surge import Surge, SurgeArrays, record_surge, surge_feature
from engine.settings import EngineSettings
from engine.state.schema import State

_POPULARITY = "features.popularity.popularity_features"
_COOCCURRENCE = "features.cooccurrence.gather_cooccurrence"
_REPEATS = "features.repeats.gather_repeats"
_DOTS = "features.head.dot_rows"

TABLE = (
    Feature(
        "directed", GRAPH_PART,
        "log(1 + 10⁴ · mean over the user's last 16 items i, the q-th weighted .8^q, of "
        "short(i → j) / √count(i))",
        0, inf, 0.3, True, _COOCCURRENCE,
    ),
    Feature(
        "symmetric", GRAPH_PART,
        "as directed, of all items that are read and of long(i, j), the q-th weighted .95^q",
        0, inf, 0.3, True, _COOCCURRENCE,
    ),
    Feature(
        "saturating", GRAPH_PART,
        "0.3 · Σ .9^q · v / (1 + v), "
        "v = long(i, j) · √((1 + events / 1000) / (count(i) · (1 + count(j))))",
        0, 3, 0.3, True, _COOCCURRENCE,
    ),
    # What others take after an item that they dislike is often near it: learning would turn a wish
    # into its opposite.
    Feature(
        "disliked", GRAPH_PART,
        "greatest of long(i, j) / (greatest weight in the row of i), over the items i that the "
        "user dislikes",
        0, 1, -0.5, False, "features.cooccurrence.gather_disliked",
    ),
    Feature(
        "graph", GRAPH_PART,
        "output embedding of j · the aggregates of the user's items (Eq. 1)",
        -inf, inf, 1.0, True, _DOTS,
    ),
    Feature(
        "personal", GRAPH_PART,
        "personal output embedding of j · the user's own embedding",
        -inf, inf, 1.0, True, _DOTS,
    ),
    Feature(
        "second_hop", GRAPH_PART,
        "mean direction of j's last users (Eq. 1), shrunk where they are few, · the user's "
        "direction (unit length)",
        -3, 3, 0.0, True, _DOTS,
    ),
    Feature(
        "cosine", GRAPH_PART,
        "log(1 + 100 · Σ .8^q · long(i, j) / √((count(i) + 1) · (count(j) + 1))), over the user's "
        "last 16 items but those they dislike",
        0, inf, 0.2, True, _COOCCURRENCE,
    ),
    Feature(
        "lift", GRAPH_PART,
        "log(1 + Σ .8^q · long(i, j) · (events + 1) / ((count(i) + 5) · (count(j) + 5))), over the "
        "same items",
        0, inf, 0.0, True, _COOCCURRENCE,
    ),
    Feature(
        "follows", GRAPH_PART,
        "log(1 + 1000 · share of j in what followed the last item: short(i → j) / "
        "(1 + Σ short(i → ·)))",
        0, 6.91, 0.2, True, _COOCCURRENCE,
    ),
    Feature(
        "again", GRAPH_PART, "1 if the user took j before and may be shown it again",
        0, 1, 0.0, True, _REPEATS,
    ),
    Feature(
        "again_often", GRAPH_PART, "of such an item: log(times they took it, of their last 64)",
        0, inf, 0.0, True, _REPEATS,
    ),
    Feature(
        "again_rank", GRAPH_PART, "of such an item: log(1 + takes since they took it)",
        0, inf, 0.0, True, _REPEATS,
    ),
    Feature(
        "again_time", GRAPH_PART,
        "of such an item: log(1 + time since they took it / mean time between their takes)",
        0, inf, 0.0, True, _REPEATS,
    ),
    Feature(
        "popular", TREND_PART,
        "11.5 + log(10⁻⁵ + share of j in all interactions)",
        -0.02, 11.51, 0.0, True, _POPULARITY,
    ),
    Feature(
        "trending", TREND_PART,
        "11.5 + log(10⁻⁵ + share of j in recent interactions, half-life `trending_half_life`)",
        -0.02, 11.51, 0.0, True, _POPULARITY,
    ),
    Feature(
        "age", TREND_PART,
        "log(1 + a / 100), a the events since j was first taken, or else known",
        0, inf, 0.0, True, _POPULARITY,
    ),
    Feature(
        "quality", TREND_PART,
        "mean rating of j in standard deviations from the average one, shrunk by 5 average ratings",
        -3, 3, 0.0, True, _POPULARITY,
    ),
    Feature(
        "stage", TREND_PART,
        "log(share of j among users with a history about as long / share among all)",
        -13.82, 13.82, 0.0, True, _POPULARITY,
    ),
    Feature(
        "surging", TREND_PART,
        "11.5 + log(10⁻⁵ + share of j in recent interactions, half-life `surging_half_life`)",
        -0.02, 11.51, 0.0, True, "features.surge.surge_feature",
    ),
    Feature(
        "text", TEXT_PART,
        "vector of j's text, categories and year · the direction of the user's taste (Eq. 2)",
        -inf, inf, 1.0, True, _DOTS,
    ),
    Feature(
        "new_text", TEXT_PART,
        "text · 5 / (5 + count(j))",
        -inf, inf, 0.0, True, "step.model.score_contest",
    ),
)  # fmt: skip

FEATURES = len(TABLE)
FEATURE_NAMES = tuple(feature.name for feature in TABLE)
LEARNT = tuple(feature.learnt for feature in TABLE)
INITIAL_WEIGHTS = tuple(feature.initial for feature in TABLE)
READS_TIME = any(feature.reads_time for feature in TABLE)
"""Whether any feature depends on the time of asking: a score is then as old as its asking."""


def row(name: str) -> int:
    """The row of a feature. Raises ValueError if the table has none of that name."""
    return FEATURE_NAMES.index(name)


def part_rows(table: tuple[Feature, ...]) -> tuple[tuple[int, int], ...]:
    """First row, and the one after the last, of each part.

    Raises
    ------
    ValueError
        If a part has no feature, or the rows of the parts are not in the parts' order.
    """
    parts = [(part, len(list(rows))) for part, rows in groupby(table, lambda f: f.part)]
    if [part for part, _ in parts] != list(range(len(PART_NAMES))):
        raise ValueError(f"rows of the parts {PART_NAMES} are not together and in that order")
    bounds, first = [], 0
    for _, size in parts:
        bounds.append((first, first + size))
        first += size
    return tuple(bounds)


PART_ROWS = part_rows(TABLE)

# ------------------------------------------------------------------ states of their own

_SURGING = row("surging")


class OwnArrays(NamedTuple):
    """What kernels read and write of the states that features have of their own."""

    surge: SurgeArrays


class OwnStates:
    """The states that features have of their own, a field of `OwnArrays` each."""

    STATE: ClassVar[State] = State(parts=dict.fromkeys(OwnArrays._fields, ""))

    def __init__(self, settings: EngineSettings) -> None:
        self.surge = Surge(settings.surging_half_life)

    @property
    def arrays(self) -> OwnArrays:
        """As kernels take them."""
        return OwnArrays(*(state.arrays for state in self._all))

    @property
    def _all(self) -> list[OwnState]:
        return [getattr(self, name) for name in OwnArrays._fields]

    def reserve(self, items: int) -> None:
        """Make room for `items` items."""
        for state in self._all:
            state.reserve(items)

    def clear(self, item: int) -> None:
        """Forget an item."""
        for state in self._all:
            state.clear(item)


@kernel
def record_own(own, item, weight, time, mark, events):  # type: ignore[no-untyped-def]
    """Take in that an item was taken, with the weight of its kind, at a time (int64, ms).

    It is the `events`-th; `mark` is of what its user was counted with at the item before
    (`engine.features.faded`).
    """
    record_surge(own.surge, item, weight, mark, events)


@kernel
def fill_own(own, candidates, exact, now, features):  # type: ignore[no-untyped-def]
    """Fill the rows of these features: float32[features, >= n].

    Of the candidates (int32[n]; with `exact` they are the first n items), at a time (int64, ms).
    """
    surge_feature(own.surge, candidates, exact, features[_SURGING])


# ------------------------------------------------------------------ docs/ranking.md


def markdown() -> str:
    """The table as docs/ranking.md has it."""
    lines = [
        "| feature | part | formula | range | initial weight | kernel |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for f in TABLE:
        weight = f"{f.initial:g}" + ("" if f.learnt else ", fixed")
        lines.append(
            f"| `{f.name}` | {PART_NAMES[f.part]} | {f.formula} | {_range(f)} | {weight} "
            f"| `{f.kernel}` |"
        )
    return "\n".join(lines)


def _range(feature: Feature) -> str:
    low, high = feature.low, feature.high
    if high < inf:
        return f"{low:g} to {high:g}"
    return "any" if low == -inf else f"≥ {low:g}"


if __name__ == "__main__":
    print(markdown())
