"""Precision, recall and NDCG at 10 of rankings with several relevant items.

Two questions are asked of a model for each user who has a relevant held-out item: in which order
it puts the items that this user rated in the test part (what the paper's figures can be compared
with), and what it finds in the whole catalogue (what a recommender is for).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from engine.evaluation.holdout import Split
from engine.evaluation.measures import K
from engine.events import Interaction

RELEVANT = 4.0
"""A rating of at least this is relevant."""
MANY = 10
"""Users with at least this many test items are the second slice: only they can fill ten places."""
NAMES = ("precision@10", "recall@10", "ndcg@10")

_DISCOUNTS: NDArray[np.float64] = 1.0 / np.log2(np.arange(2, K + 2))
_IDEAL: NDArray[np.float64] = np.cumsum(_DISCOUNTS)

Measures = dict[str, float]


class Scorer(Protocol):
    """Anything that tells how much a user would like items."""

    def scores(self, user: str, items: Sequence[str]) -> NDArray[np.floating[Any]]:
        """One score an item, float[n], higher is better; unknown users and items have one, too."""
        ...


class Finder(Protocol):
    """Anything that finds items for a user."""

    def recommend(self, user: str, k: int) -> Sequence[tuple[str, float]]:
        """Up to k items that the user has not taken, best first, with their scores."""
        ...


class Query(NamedTuple):
    """A user, items to be ranked, and which of these are relevant: bool[n], at least one."""

    user: str
    items: list[str]
    relevant: NDArray[np.bool_]


Ask = Callable[[Query], NDArray[np.float64]]
"""Ranks the items of a query, and returns the measures of the ranking: float64[3]."""


def own_queries(test: Sequence[Interaction]) -> list[Query]:
    """Each user's test items. Users without a relevant one are left out: nothing can be found."""
    by_user: dict[str, list[Interaction]] = {}
    for one in test:
        by_user.setdefault(one.user, []).append(one)
    queries = []
    for user, own in by_user.items():
        relevant = np.array([(one.value or 0.0) >= RELEVANT for one in own])
        if relevant.any():
            queries.append(Query(user, [str(one.item) for one in own], relevant))
    return queries


def catalogue_queries(split: Split, catalogue: Iterable[str]) -> Iterator[Query]:
    """The whole catalogue but for what the user rated in training, one user after the other."""
    known: dict[str, set[str]] = {}
    for one in split.train:
        known.setdefault(one.user, set()).add(str(one.item))
    everything = sorted({*catalogue, *(str(one.item) for part in split for one in part)})
    for own in own_queries(split.test):
        wanted = {item for item, good in zip(own.items, own.relevant, strict=True) if good}
        taken = known.get(own.user, set())
        items = [item for item in everything if item not in taken]
        relevant = np.array([item in wanted for item in items])
        yield Query(own.user, items, relevant)


def ranked(scores: NDArray[np.floating[Any]], rng: np.random.Generator) -> NDArray[np.intp]:
    """Places of the ten best scores, best first: intp[min(10, n)].

    Equal scores come in a random order, so that no model gains from the order of the file.

    Raises
    ------
    ValueError
        If a score is not a number.
    """
    if np.isnan(scores).any():
        raise ValueError(f"{int(np.isnan(scores).sum())} of {len(scores)} scores are NaN")
    shuffled = rng.permutation(len(scores))
    return shuffled[np.argsort(-scores[shuffled], kind="stable")[:K]]


def measures_of(
    hits: NDArray[np.floating[Any]] | NDArray[np.bool_], relevant: int
) -> NDArray[np.float64]:
    """Precision, recall and NDCG at 10: float64[3].

    Parameters
    ----------
    hits
        Whether each of the ranked items is relevant, best first, or how probably: [at most 10].
    relevant
        How many relevant items there are, at least one.

    Notes
    -----
    Precision divides by ten, also where fewer items were there to be ranked: that is what the
    published "precision at 10" means, and why it cannot reach 1 for users with few test items.
    The gain of an item is 0 or 1 (Järvelin and Kekäläinen, 2002).
    """
    found = float(hits.sum())
    gain = float(hits @ _DISCOUNTS[: len(hits)])
    return np.array([found / K, found / relevant, gain / _IDEAL[min(relevant, K) - 1]])


def by_scores(model: Scorer, seed: int) -> Ask:
    """Ask a model for scores, and rank by them; `seed` decides the order of equal ones."""
    rng = np.random.default_rng(seed)

    def ask(query: Query) -> NDArray[np.float64]:
        order = ranked(np.asarray(model.scores(query.user, query.items)), rng)
        return measures_of(query.relevant[order], int(query.relevant.sum()))

    return ask


def by_lists(model: Finder) -> Ask:
    """Ask a model for its ten best items of the whole catalogue."""

    def ask(query: Query) -> NDArray[np.float64]:
        wanted = {item for item, good in zip(query.items, query.relevant, strict=True) if good}
        hits = np.array([item in wanted for item, _ in model.recommend(query.user, K)[:K]])
        return measures_of(hits, len(wanted))

    return ask


def by_chance(query: Query) -> NDArray[np.float64]:
    """The expected measures of a random order, exactly: float64[3]."""
    count, relevant = len(query.items), int(query.relevant.sum())
    return measures_of(np.full(min(K, count), relevant / count), relevant)


class Answered(NamedTuple):
    """A user, whether at least `MANY` items were to be ranked, and the measures: float64[3]."""

    user: str
    many: bool
    measures: NDArray[np.float64]


def answered(queries: Iterable[Query], ask: Ask) -> list[Answered]:
    """What a ranking reaches for each user."""
    return [Answered(one.user, len(one.items) >= MANY, ask(one)) for one in queries]


def mean_measures(answers: Sequence[Answered]) -> Measures:
    """Means over users by name, NaN without any, and how many users they are."""
    means = (
        np.mean([one.measures for one in answers], axis=0)
        if answers
        else np.full(len(NAMES), np.nan)
    )
    named = {name: float(mean) for name, mean in zip(NAMES, means, strict=True)}
    return named | {"users": float(len(answers))}


def own_slices(answers: Sequence[Answered]) -> dict[str, Measures]:
    """The means over `all` users, and over those with `ten_or_more` held-out items."""
    return {
        "all": mean_measures(answers),
        "ten_or_more": mean_measures([one for one in answers if one.many]),
    }


def own_items(split: Split, ask: Ask) -> dict[str, Measures]:
    """How a ranking orders what users rated: of `all` users, of those with `ten_or_more` items."""
    return own_slices(answered(own_queries(split.test), ask))


def full_ranking(split: Split, catalogue: Iterable[str], ask: Ask) -> Measures:
    """What a ranking finds in the whole catalogue, over all users with something to find."""
    return mean_measures(answered(catalogue_queries(split, catalogue), ask))
