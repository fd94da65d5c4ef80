"""How the arms of experiments compare: by the lists that users had when they took something.

A user's queries depend on each other, and users are what is divided at random: so an interval is
that of a ratio of sums over users (the delta method), not that of independent queries.

References
----------
Deng, Knoblich and Lu, Applying the delta method in metric analytics, KDD 2018.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import sqrt

import msgspec

_MOST_USERS = 20_000
"""Users of an arm whose sums may still grow; of others the sums stay, and they would count anew."""
_NORMAL_95 = 1.96


class Estimate(msgspec.Struct, frozen=True, array_like=True):
    """A mean, and half of the width of its 95 % interval; None with fewer than two users."""

    mean: float
    half: float | None


class ArmFigures(msgspec.Struct, frozen=True):
    """How an arm does.

    Attributes
    ----------
    queries
        Times that a user took something while they had a list at hand.
    hit_rate, ndcg
        Share of these whose item was among the ten first of the list; mean NDCG@10.
    difference
        Of the hit rate to the first arm's; None of that arm itself.
    """

    experiment: str
    arm: str
    users: int
    queries: int
    hit_rate: Estimate
    ndcg: Estimate
    difference: Estimate | None


@dataclass
class Sums:
    """What an arm's users add up to; `ratio` needs no list of them."""

    users: int = 0
    queries: int = 0
    hits: int = 0
    gain: float = 0.0
    _squares: float = 0.0
    _with_hits: float = 0.0
    _with_gain: float = 0.0
    _hits_squared: float = 0.0
    _gain_squared: float = 0.0
    _of_user: OrderedDict[str, tuple[int, int, float]] = field(default_factory=OrderedDict)

    def add(self, user: str, gain: float) -> None:
        """Count a query of a user, with its NDCG@10."""
        before = self._of_user.pop(user, None)
        if before is None:
            self.users += 1
            before = (0, 0, 0.0)
        after = (before[0] + 1, before[1] + (gain > 0), before[2] + gain)
        self._move(before, -1)
        self._move(after, 1)
        self._of_user[user] = after
        if len(self._of_user) > _MOST_USERS:
            self._of_user.popitem(last=False)

    def _move(self, own: tuple[int, int, float], sign: int) -> None:
        queries, hits, gain = own
        self.queries += sign * queries
        self.hits += sign * hits
        self.gain += sign * gain
        self._squares += sign * queries * queries
        self._with_hits += sign * queries * hits
        self._with_gain += sign * queries * gain
        self._hits_squared += sign * hits * hits
        self._gain_squared += sign * gain * gain

    @property
    def hit_rate(self) -> Estimate:
        """Hits over queries."""
        return self._ratio(self.hits, self._hits_squared, self._with_hits)

    @property
    def ndcg(self) -> Estimate:
        """Gain over queries."""
        return self._ratio(self.gain, self._gain_squared, self._with_gain)

    def _ratio(self, total: float, squared: float, crossed: float) -> Estimate:
        if not self.queries:
            return Estimate(0.0, None)
        ratio = total / self.queries
        if self.users < 2:
            return Estimate(round(ratio, 5), None)
        spread = max(0.0, squared - 2 * ratio * crossed + ratio * ratio * self._squares)
        error = sqrt(spread * self.users / (self.users - 1)) / self.queries
        return Estimate(round(ratio, 5), round(_NORMAL_95 * error, 5))


class Comparison:
    """The sums of each arm.

    Parameters
    ----------
    arms
        Experiment and arm, of all; the first of an experiment is what others are compared with.
    """

    def __init__(self, arms: Iterable[tuple[str, str]]) -> None:
        self.sums = {each: Sums() for each in arms}

    def add(self, arms: dict[str, str], user: str, gain: float) -> None:
        """Count a query of a user who is in these arms, with its NDCG@10."""
        for each in arms.items():
            self.sums[each].add(user, gain)

    def figures(self) -> list[ArmFigures]:
        """How all arms do now."""
        first: dict[str, Estimate] = {}
        found = []
        for (experiment, arm), sums in self.sums.items():
            rate = sums.hit_rate
            control = first.get(experiment)
            first.setdefault(experiment, rate)
            difference = None if control is None else _difference(rate, control)
            found.append(
                ArmFigures(experiment, arm, sums.users, sums.queries, rate, sums.ndcg, difference)
            )
        return found


def _difference(one: Estimate, other: Estimate) -> Estimate:
    known = one.half is not None and other.half is not None
    half = round(sqrt((one.half or 0) ** 2 + (other.half or 0) ** 2), 5) if known else None
    return Estimate(round(one.mean - other.mean, 5), half)
