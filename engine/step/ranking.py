"""From a user to a list, asked for by itself: candidates, their scores, the rules of a list."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.engine_state import Knowledge
from engine.features.head import EXCLUDED, top_k
from engine.rules import Rules, choose, restrict
from engine.step.calls import score_for, tell_best_for, tell_for, trending_for
from engine.step.model import SIMILAR_TEXT, TRENDING
from engine.text.taste import direction

_OTHER_REASONS = {TRENDING: "trending", SIMILAR_TEXT: "similar text"}
"""Why an item is told of for which no item of the user's speaks."""
_NO_RULES = Rules()
_ENOUGH_TRENDING = 100
"""Fewer trending items than these are joined by others for somebody unknown."""


class Ranked(NamedTuple):
    """One recommended item, the score it was ranked by (a logit) and why."""

    item: str
    score: float
    reason: str


_ranked: Callable[[Iterable[Any]], Ranked] = partial(tuple.__new__, Ranked)
"""`Ranked` of three values, without the call of its own constructor, which takes half of the time
of an answer."""


def named(known: Knowledge, told: NDArray[np.float64], counts: list[int]) -> list[list[Ranked]]:
    """The lists that were told of, with names and reasons.

    told : float64[n, 3, k], of each list what `engine.step.model.tell` writes; `counts` says how
    many items each has.
    """
    name, reasons = known.items.names.__getitem__, known.reasons
    items, why = (told[:, row].astype(np.int64).tolist() for row in (0, 2))
    scores = (told[:, 1] / 1e4).tolist()
    return [
        list(
            map(
                _ranked,
                zip(
                    map(name, items[e][:count]),
                    scores[e],
                    [reasons[w] if w >= 0 else _OTHER_REASONS[w] for w in why[e][:count]],
                    strict=False,
                ),
            )
        )
        for e, count in enumerate(counts)
    ]


def best(known: Knowledge, user: int | None, now: int, k: int, rules: Rules) -> list[Ranked]:
    """The k best items for a user, or for somebody unknown (None); fewer if few may be shown.

    now : the time of asking, in ms.

    The contest is kept, unless `rules` ask for candidates of their own.
    """
    if len(known.items) == 0:
        return []
    # Of somebody known all that they took may have left.
    if user is None or len(history := known.history(user)) == 0:
        return _trending(known, user, k, rules)
    known.make_lists(k)
    if rules.need_candidates:
        known.forget_contest()
    exact = known.all_compete
    if not known.has_contest_of(user, now):
        known.compete(competing(known, user, history, rules))
    most, held = known.settings.history, known.hold()
    n = score_for(held, user, now, most, known.competitors, exact)
    told = np.zeros((3, k))
    if rules.restrict or rules.look_at_lists:
        scratch = known.scratch
        candidates = known.candidates(n)
        scores = scratch.scores[:n].copy()
        _restrict(known, user, rules, candidates, scores)
        chosen = _chosen(known, rules, candidates, scores, k)
        tell_for(held, user, most, n, exact, chosen, told)
        found = len(chosen)
    else:
        found = tell_best_for(held, user, most, n, exact, k, told)
    if rules.need_candidates:
        known.forget_contest()
    return named(known, told[None], [found])[0]


def competing(
    known: Knowledge, user: int, history: NDArray[np.int32], rules: Rules = _NO_RULES
) -> NDArray[np.int32] | None:
    """The candidates for a user, in the order of their numbers: int32[m]; None: all compete.

    Some items of the categories that the rules include are among them, in a large catalogue, too,
    and all items that the rules name.
    """
    if known.all_compete:
        return None
    limit, items = known.settings.candidates, len(known.items)
    taste = None
    if known.reads_text:
        taste = np.empty(known.taste.maps.shape[1], np.float32)
        direction(known.taste.arrays, user, taste)
    found = [
        known.retrieval.reached(known.transitions, history),
        known.popularity.trending_items,
        known.retrieval.near(taste, known.embeddings.users[user]),
    ]
    if sum(len(part) for part in found) < limit // 2:
        # Little was taken yet, and there may be no texts.
        found.append(known.retrieval.every[: min(items, limit)])
    if rules.include:
        wanted = known.categories.items(rules.include)
        most = np.argsort(-known.popularity.counts[wanted], kind="stable")
        found.append(wanted[most[:limit]])
    if rules.only is not None:
        found.append(_numbers(known, rules.only))
    return np.unique(np.concatenate(found))


def _trending(known: Knowledge, user: int | None, k: int, rules: Rules) -> list[Ranked]:
    """What is trending, for somebody who took nothing yet."""
    items = len(known.items)
    candidates = known.retrieval.every[:items]
    if not known.all_compete:
        few = candidates[: known.settings.exact_items]
        candidates = np.sort(known.popularity.trending_items)
        if rules.restrict or max(k, _ENOUGH_TRENDING) > len(candidates):
            candidates = np.union1d(candidates, few)
        if rules.only is not None:
            candidates = np.union1d(candidates, _numbers(known, rules.only))
    scores = np.empty(len(candidates), np.float32)
    trending_for(known.hold(), -1 if user is None else user, candidates, scores)
    _restrict(known, user, rules, candidates, scores)
    pool = _chosen(known, rules, candidates, scores, k)
    told = np.empty((3, len(pool)))
    told[0] = candidates[pool]
    told[1] = np.rint(scores[pool].astype(np.float64) * 1e4)
    told[2] = TRENDING
    return named(known, told[None], [len(pool)])[0]


def _restrict(
    known: Knowledge,
    user: int | None,
    rules: Rules,
    candidates: NDArray[np.int32],
    scores: NDArray[np.float32],
) -> None:
    """Mark the candidates (int32[m]) that may not be shown to the user in their scores."""
    restrict(rules, known.categories, candidates, scores)
    if rules.only is not None:
        scores[~np.isin(candidates, _numbers(known, rules.only))] = EXCLUDED
    if rules.without:
        scores[np.isin(candidates, _numbers(known, rules.without))] = EXCLUDED
    if rules.unseen and user is not None:
        scores[np.isin(candidates, known.taken.of(user))] = EXCLUDED


def _numbers(known: Knowledge, names: Collection[str]) -> NDArray[np.int32]:
    """The numbers of those of these items that are known: int32[<= n], in no order."""
    numbers = known.items.find_all(list(names))
    return numbers[numbers >= 0]


def _chosen(
    known: Knowledge,
    rules: Rules,
    candidates: NDArray[np.int32],
    scores: NDArray[np.float32],
    k: int,
) -> NDArray[np.int32]:
    """Positions of the k best candidates that keep to the rules of a list: int32[<= k]."""
    size = rules.pool(k)
    while True:
        pool = np.empty(size, np.int32)
        pool = pool[: top_k(scores, size, pool)]
        if not rules.look_at_lists:
            return pool
        items = candidates[pool]
        vectors = known.vectors.vectors[items]
        chosen = choose(rules, known.categories, items, scores[pool], vectors, k)
        if len(chosen) == k or len(pool) < size:
            return pool[chosen]
        size *= 8  # one category fills the pool
