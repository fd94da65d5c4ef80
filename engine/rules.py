"""Business rules: which items may be shown, how many of a category, and how unlike the list is."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from engine.features.head import EXCLUDED
from engine.settings import EngineSettings
from engine.state.schema import State, Value

_POOL = 20
"""Candidates that are considered for each place, where places depend on one another."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What a list must keep to.

    Attributes
    ----------
    include
        Only items of at least one of these categories, if there are any.
    exclude
        No item of any of these categories.
    per_category
        Most items of one category; 0 for any number.
    diversity
        Share of the choice, in [0, 1), that goes to being unlike what stands above in the list
        (maximal marginal relevance; Carbonell and Goldstein, 1998).
    only
        Only these items, by id; None for no such limit.
    without
        None of these items, by id.
    unseen
        No item that the user took in whatever way, or dislikes.
    """

    include: frozenset[str] = frozenset()
    exclude: frozenset[str] = frozenset()
    per_category: int = 0
    diversity: float = 0.0
    only: frozenset[str] | None = None
    without: frozenset[str] = frozenset()
    unseen: bool = False

    @classmethod
    def of(cls, settings: EngineSettings) -> Rules:
        """The rules that hold where a request names none."""
        return cls(
            frozenset(settings.include_categories),
            frozenset(settings.exclude_categories),
            settings.per_category,
            settings.diversity,
        )

    @property
    def look_at_lists(self) -> bool:
        """Whether an item's place depends on the items above it."""
        return self.per_category > 0 or self.diversity > 0

    @property
    def restrict(self) -> bool:
        """Whether some items may not be shown."""
        return bool(
            self.include or self.exclude or self.without or self.unseen or self.only is not None
        )

    @property
    def need_candidates(self) -> bool:
        """Whether a large catalogue's usual candidates may hold none of the wanted items."""
        return bool(self.include) or self.only is not None

    def pool(self, k: int) -> int:
        """How many of the best candidates `choose` needs for k places."""
        return _POOL * k if self.look_at_lists else k


class Categories:
    """The items of each category."""

    STATE: ClassVar[State] = State(
        {"_of": Value("items/categories", dict[int, list[str]])},
        unsaved=("_items",),
        then="_list_items",
    )

    def __init__(self) -> None:
        self._of: dict[int, list[str]] = {}
        self._items: dict[str, set[int]] = defaultdict(set)

    def set_item(self, item: int, categories: Iterable[str]) -> None:
        """Replace an item's categories."""
        new = list(categories)
        if self._of.get(item) == new:
            return  # told twice: it keeps its place, so that equal logs give equal bytes
        self.remove(item)
        if new:
            self._of[item] = new
        for category in new:
            self._items[category].add(item)

    def remove(self, item: int) -> None:
        """Forget an item, and a category that was its alone."""
        for category in set(self._of.pop(item, ())):
            self._items[category].discard(item)
            if not self._items[category]:
                del self._items[category]

    def of(self, item: int) -> list[str]:
        """An item's categories."""
        return self._of.get(item, [])

    def are_of(self, items: int) -> bool:
        """Whether all are of numbers below that many."""
        return min(self._of, default=0) >= 0 and max(self._of, default=-1) < items

    def _list_items(self) -> None:
        for item, categories in self._of.items():
            for category in categories:
                self._items[category].add(item)

    def items(self, categories: Iterable[str]) -> NDArray[np.int32]:
        """The items of any of the categories: int32[n]."""
        members = set().union(*(self._items.get(category, ()) for category in categories))
        return np.fromiter(members, np.int32, len(members))


def restrict(
    rules: Rules,
    categories: Categories,
    candidates: NDArray[np.int32],
    scores: NDArray[np.float32],
) -> None:
    """Mark the candidates (int32[m]) that may not be shown in their scores (float32[m])."""
    if rules.include:
        scores[~np.isin(candidates, categories.items(rules.include))] = EXCLUDED
    if rules.exclude:
        scores[np.isin(candidates, categories.items(rules.exclude))] = EXCLUDED


def choose(
    rules: Rules,
    categories: Categories,
    items: NDArray[np.int32],
    scores: NDArray[np.float32],
    vectors: NDArray[np.float32],
    k: int,
) -> list[int]:
    """Up to k positions in a pool, in the order of the list.

    Parameters
    ----------
    items, scores : int32[n], float32[n]
        The pool, best first.
    vectors : float32[n, width]
        The pool's item vectors, which likeness is the cosine of.
    """
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    spread = max(float(scores[0] - scores[-1]), 1e-9) if len(scores) else 1.0
    relevance = (scores - scores[-1:]) / spread
    likeness = np.zeros(len(items), np.float32)
    shown: Counter[str] = Counter()
    left = np.ones(len(items), np.bool_)
    chosen: list[int] = []
    while len(chosen) < k and left.any():
        value = (1 - rules.diversity) * relevance - rules.diversity * likeness
        best = int(np.argmax(np.where(left, value, -np.inf)))
        left[best] = False
        own = categories.of(int(items[best]))
        if rules.per_category and any(shown[name] >= rules.per_category for name in own):
            continue
        shown.update(own)
        chosen.append(best)
        likeness = np.maximum(likeness, unit @ unit[best])
    return chosen
