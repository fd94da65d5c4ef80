"""From a user's history to a list: candidates, their scores, the rules of a list, and reasons."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.arrays import grown
from engine.engine_state import Knowledge
from engine.features import head
from engine.features.context import CONTEXTS
from engine.features.popularity import RECENT, stage_of
from engine.features.table import FEATURES, GRAPH_PART, TEXT_PART
from engine.rules import Rules, choose, restrict
from engine.state.eviction import Evicted
from engine.step.model import best_explained, explain, score_candidates
from engine.text.taste import direction

_ENOUGH_TRENDING = 100
"""Fewer trending items than these are joined by others for somebody unknown."""


class Ranked(NamedTuple):
    """One recommended item, the score it was ranked by (a logit) and why."""

    item: str
    score: float
    reason: str


class Contest(NamedTuple):
    """Candidates scored for a user; columns of the features and rows of the vectors are theirs."""

    candidates: NDArray[np.int32]
    scores: NDArray[np.float32]
    features: NDArray[np.float32]
    weights: NDArray[np.float32]
    context: NDArray[np.float32]
    vectors: NDArray[np.float32]


class _Kept(NamedTuple):
    user: int
    evicted: Evicted
    contest: Contest


class Ranking:
    """Ranks by what an engine knows, which each call is given; holds nothing but scratch.

    The last contest is kept until `forget_last`: users act in bursts, and what their next event
    teaches starts from the scores that the last answer was made of.
    """

    def __init__(self) -> None:
        # Scratch: features of the candidates.
        self._features: NDArray[np.float32] = np.zeros((FEATURES, 1024), np.float32)
        self._scores: NDArray[np.float32] = np.zeros(1024, np.float32)
        self._weights: NDArray[np.float32] = np.zeros(FEATURES, np.float32)
        self._context: NDArray[np.float32] = np.zeros(CONTEXTS, np.float32)
        self._kept: _Kept | None = None

    def forget_last(self) -> None:
        """What is known has changed: the next contest is scored anew."""
        self._kept = None

    # ------------------------------------------------------------------ the best

    def best(self, known: Knowledge, user: int | None, k: int, rules: Rules) -> list[Ranked]:
        """The k best items for a user, or for somebody unknown (None); fewer if few may be shown.

        The contest is kept, unless `rules` ask for candidates of their own.
        """
        if len(known.items) == 0:
            return []
        # Of somebody known all that they took may have left.
        if user is None or len(history := known._history(user)) == 0:
            return self._trending(known, user, k, rules)
        contest = None if rules.include else self._last(known, user)
        if contest is None:
            candidates = _competing(known, user, history, rules.include)
            contest = self._score(known, user, history, candidates)
        if not rules.include:
            self._kept = _Kept(user, known.evicted, contest)
        candidates = contest.candidates
        scores = contest.scores.copy() if rules.restrict else contest.scores
        restrict(rules, known.categories, candidates, scores)
        t = known.transitions
        of_transitions = (t.items, t.weights, t.start, t.degree)
        if rules.look_at_lists:
            best = _chosen(known, rules, candidates, scores, contest.vectors, k)
            told = explain(
                best, scores, contest.features, contest.weights, known.head.active, candidates,
                *of_transitions, history, t._marks, known.departures.last, t._purged,
            )  # fmt: skip
        else:
            told = best_explained(
                k, scores, contest.features, contest.weights, known.head.active, candidates,
                *of_transitions, history, t._marks, known.departures.last, t._purged,
            )  # fmt: skip
        names = known.items.names
        return [
            Ranked(names[int(item)], score, _reason(known, part, int(source)))
            for item, score, part, source in zip(*told.tolist(), strict=True)
        ]

    def _trending(self, known: Knowledge, user: int | None, k: int, rules: Rules) -> list[Ranked]:
        """What is trending, for somebody who took nothing yet."""
        items = len(known.items)
        candidates = known._candidates.every(items)
        if not known._candidates.are_all(items):
            few = candidates[: known.settings.exact_items]
            candidates = np.sort(known.popularity.trending_items)
            if rules.restrict or max(k, _ENOUGH_TRENDING) > len(candidates):
                candidates = np.union1d(candidates, few)
        scores = known.popularity.current(candidates, 0)[0][RECENT]
        scores[known._hidden[candidates]] = head.EXCLUDED
        if user is not None:
            scores[np.isin(candidates, known._seen.of(user))] = head.EXCLUDED
        restrict(rules, known.categories, candidates, scores)
        pool = _chosen(known, rules, candidates, scores, known.vectors.vectors[candidates], k)
        return [
            Ranked(known.items.names[item], round(score, 4), "trending")
            for item, score in zip(candidates[pool].tolist(), scores[pool].tolist(), strict=True)
        ]

    # ------------------------------------------------------------------ scores

    def contest_of(
        self, known: Knowledge, user: int, history: NDArray[np.int32], item: int
    ) -> tuple[Contest, int] | None:
        """What the model would answer for a history (int32[n]), and where in it an item is.

        None if the item does not compete.
        """
        last = self._last(known, user)
        candidates = last.candidates if last else _competing(known, user, history)
        target = int(np.searchsorted(candidates, item))
        if target == len(candidates) or candidates[target] != item:
            return None
        return last or self._score(known, user, history, candidates), target

    def _last(self, known: Knowledge, user: int) -> Contest | None:
        """The last contest, if it was this user's and nothing has changed since."""
        kept = self._kept
        # Who left passed their number on.
        if kept and kept.user == user and kept.evicted == known.evicted:
            return kept.contest
        return None

    def _score(
        self, known: Knowledge, user: int, history: NDArray[np.int32], candidates: NDArray[np.int32]
    ) -> Contest:
        """Score these candidates (int32[n], ascending) for a user."""
        self._kept = None  # its arrays are overwritten
        p, e, h = known.popularity, known.embeddings, known.head
        length = int(known.contexts.lengths[user])
        stage, share = stage_of(length)
        exact = known._candidates.are_all(len(known.items))
        if exact:
            position = candidates
            popular, stages, counts = p.features, p.stage_ratio, p.counts
            bias, vectors = h.bias, known.vectors.vectors
            tables = (e.outputs, e.personal_outputs, e.second_hop)
        else:
            position = known._candidates.place(candidates)
            (popular, stages), stage = p.current(candidates, stage), 0
            counts = p.counts[candidates]
            bias, vectors = h.bias[candidates], known.vectors.vectors.take(candidates, 0)
            tables = (
                e.outputs.take(candidates, 0),
                e.personal_outputs.take(candidates, 0),
                e.second_hop.take(candidates, 0),
            )
        n = len(candidates)
        self._features = features = grown(self._features, n, axis=1)
        self._scores = grown(self._scores, n)
        scores = self._scores[:n]
        t, c, rows = known.transitions, known.contexts, known.graph.users
        score_candidates(
            features, scores, self._weights, self._context, user, history,
            known.dislikes.of(user), known._seen.of(user), candidates, position, known._hidden,
            c.lengths, c.levels, rows.times, rows.degree, t.items, t.weights, t.start, t.degree,
            known.departures.last, t._purged, p.counts, p.events, counts, popular, stages, stage,
            np.float32(share), vectors, *tables, bias, known.taste.maps, known.taste.profiles,
            e.users, e.personal, e.directions, h.weights, h.active,
        )  # fmt: skip
        if not exact:
            known._candidates.clear(candidates)
        return Contest(candidates, scores, features, self._weights, self._context, vectors)


def _competing(
    known: Knowledge, user: int, history: NDArray[np.int32], include: frozenset[str] = frozenset()
) -> NDArray[np.int32]:
    """The candidates for a user, in the order of their numbers: int32[m].

    Some items of the categories `include` are among them, in a large catalogue, too.
    """
    if known._candidates.are_all(len(known.items)):
        return known._candidates.every(len(known.items))
    taste = None
    if known._reads_text:
        taste = direction(known.taste.maps, known.taste.profiles[user])
    named = [
        known._candidates.reached(len(known.items), known.transitions, history),
        known.popularity.trending_items,
        known._candidates.near(taste, known.embeddings.users[user]),
    ]
    if sum(len(part) for part in named) < known.settings.candidates // 2:
        # Little was taken yet, and there may be no texts.
        named.append(known._candidates.every(len(known.items))[: known.settings.candidates])
    if include:
        wanted = known.categories.items(include)
        most = np.argsort(-known.popularity.counts[wanted], kind="stable")
        named.append(wanted[most[: known.settings.candidates]])
    return np.unique(np.concatenate(named))


def _chosen(
    known: Knowledge,
    rules: Rules,
    candidates: NDArray[np.int32],
    scores: NDArray[np.float32],
    vectors: NDArray[np.float32],
    k: int,
) -> NDArray[np.int32]:
    """Positions of the k best candidates that keep to the rules of a list: int32[<= k]."""
    size = rules.pool(k)
    while True:
        pool = head.top_k(scores, size)
        if not rules.look_at_lists:
            return pool
        chosen = choose(rules, known.categories, candidates[pool], scores[pool], vectors[pool], k)
        if len(chosen) == k or len(pool) < size:
            return pool[chosen]
        size *= 8  # one category fills the pool


def _reason(known: Knowledge, part: float, source: int) -> str:
    """What spoke most for an item: the user's own items, its text, or what others take."""
    if part == TEXT_PART:
        return "similar text"
    if part == GRAPH_PART and source >= 0:
        return known._because[source]
    return "trending"
