"""The measures written out the slow way, from their definitions."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from math import log2
from statistics import mean


def precision(ranking: Sequence[bool]) -> float:
    return sum(1 for good in ranking[:10] if good) / 10


def recall(ranking: Sequence[bool]) -> float:
    return sum(1 for good in ranking[:10] if good) / sum(1 for good in ranking if good)


def gain(ranking: Sequence[bool]) -> float:
    return sum(1 / log2(place + 1) for place, good in enumerate(ranking[:10], 1) if good)


def ndcg(ranking: Sequence[bool]) -> float:
    return gain(ranking) / gain(sorted(ranking, reverse=True))


def three(ranking: Sequence[bool]) -> tuple[float, float, float]:
    """Of a whole ranking, best first: whether each item is relevant."""
    return precision(ranking), recall(ranking), ndcg(ranking)


def over_all_orders(relevant: Sequence[bool]) -> tuple[float, float, float]:
    """Means over every order of a few items."""
    each = [three(order) for order in permutations(relevant)]
    return mean(p for p, _, _ in each), mean(r for _, r, _ in each), mean(n for _, _, n in each)
