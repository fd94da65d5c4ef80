"""What an engine knows, for those who ask to see it: items, a user's latest, popular and alike.

Nothing here changes the engine, not even a row that still names items that left: those are passed
over. Like all of the engine it is for the thread that observes.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.recommender import Recommender
from engine.rules import Rules, restrict


class Taken(msgspec.Struct, frozen=True):
    """One interaction of a user: when, in ms since the epoch, and its kind's weight (0 to 1)."""

    item: str
    title: str
    timestamp: int
    weight: float


class Neighbour(msgspec.Struct, frozen=True):
    """An item that goes with another, and how closely: 0 to about 1."""

    item: str
    title: str
    score: float


class Origin(msgspec.Struct, frozen=True):
    """An item that a user took, and how closely another one goes with it.

    Attributes
    ----------
    together
        As of `neighbours`: how much the two are taken by the same users; 0 if by none.
    text
        As of `similar`: the cosine of their texts; 0 where one has none, or they differ.
    """

    item: str
    title: str
    together: float
    text: float


class Popular(msgspec.Struct, frozen=True):
    """An item, and how often it was taken: each time counts as much as its kind weighs."""

    item: str
    title: str
    taken: float


class ItemFacts(msgspec.Struct, frozen=True):
    """What is known of an item, except its text, which is not kept.

    Attributes
    ----------
    listed
        Whether the catalogue named it; else events alone did.
    hidden
        Whether it is never recommended; so are items that were deleted.
    taken
        How often it was taken, as of `Popular`.
    """

    item: str
    title: str
    categories: list[str]
    hidden: bool
    listed: bool
    taken: float


def knows_item(engine: Recommender, item: str) -> bool:
    """Whether the catalogue or an event named the item, and it has not left since."""
    return engine.items.find(item) is not None


def knows_user(engine: Recommender, user: str) -> bool:
    """Whether anything is held of what the user took or disliked."""
    number = engine.users.find(user)
    if number is None:
        return False
    held = engine.departures.last[engine.taken.of(number)] <= engine.purged[number]
    return bool(held.any())


def title(engine: Recommender, item: str) -> str:
    """The item's title; of one without, or unknown, its id."""
    number = engine.items.find(item)
    return item if number is None else _title(engine, number)


def facts(engine: Recommender, item: str) -> ItemFacts | None:
    """What is known of an item; None of one that neither catalogue nor events named."""
    number = engine.items.find(item)
    if number is None:
        return None
    return ItemFacts(
        item,
        _title(engine, number),
        list(engine.categories.of(number)),
        bool(engine.hidden[number]),
        not bool(engine.unlisted[number]),
        round(float(engine.popularity.counts[number]), 4),
    )


def recent(engine: Recommender, user: str) -> list[Taken]:
    """What the user took, most recent first, as far as the graph holds it.

    That is `engine.neighbours` interactions. A dislike makes none; who is unknown has none.
    """
    number = engine.users.find(user)
    if number is None:
        return []
    edges = engine.graph.users.recent(number, engine.graph.users.length)
    edges = edges[engine.departures.last[edges["id"]] <= engine.purged[number]]
    return [
        Taken(engine.items.names[item], _title(engine, item), time, round(weight, 4))
        for item, weight, time in edges.tolist()
    ]


def taken_for_good(engine: Recommender, user: str) -> list[str]:
    """The items that are never recommended to the user again, as they took or dislike them."""
    number = engine.users.find(user)
    if number is None:
        return []
    return [engine.items.names[item] for item in engine.taken.final_of(number).tolist()]


def neighbours(engine: Recommender, item: str, k: int) -> list[Neighbour]:
    """The k items that users take around this one, nearest first; none of an unknown item.

    The score of items i and j is w / sqrt((n_i + 1) (n_j + 1)): w is the symmetric weight of their
    transition, which fades with what the same user took between the two, n how much either was
    taken in all. That is the cosine of item-based collaborative filtering [1]_, smoothed, so that
    two who were taken together once are not the nearest. Hidden items are left out.

    References
    ----------
    .. [1] Sarwar et al., Item-based collaborative filtering recommendation algorithms, WWW 2001.
    """
    number = engine.items.find(item)
    if number is None:
        return []
    others, scores = _taken_with(engine, number)
    shown = ~engine.hidden[others]
    return _nearest(engine, others[shown], scores[shown], k)


def _taken_with(engine: Recommender, number: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The items that users take around this one (int32[n]), and the scores of `neighbours`."""
    held, counts = engine.transitions, engine.popularity.counts
    row = slice(int(held.start[number]), int(held.start[number] + held.degree[number]))
    others, weights = held.items[row], held.weights[row, 1]
    there = (engine.departures.last[others] <= held._purged[number]) & (weights > 0)
    others, weights = others[there], weights[there]
    return others, weights / np.sqrt((counts[number] + 1) * (counts[others] + 1))


def similar(engine: Recommender, item: str, k: int) -> list[Neighbour]:
    """The k items whose text is most like this one's, by cosine; nobody needs to have taken any.

    None of an item that is unknown or has neither text nor title. Hidden items are left out.
    """
    number = engine.items.find(item)
    if number is None or not engine.vectors.vectors[number].any():
        return []
    if engine.all_compete:
        others = np.arange(len(engine.items), dtype=np.int32)
    else:
        # More than k: hidden items are in the index, too.
        others = np.unique(engine.retrieval.like_text(engine.vectors.vectors[number], 4 * k + 1))
    others = others[~engine.hidden[others] & (others != number)]
    scores = _cosines(engine, number, others)
    there = engine.vectors.vectors[others].any(1)
    return _nearest(engine, others[there], scores[there], k)


def _cosines(engine: Recommender, number: int, others: NDArray[np.int32]) -> NDArray[np.float32]:
    """How alike the texts of an item and others (int32[n]) are; 0 of one without a text."""
    own, vectors = engine.vectors.vectors[number], engine.vectors.vectors[others]
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(own)
    return np.divide(vectors @ own, lengths, out=np.zeros_like(lengths), where=lengths > 0)


def origins(engine: Recommender, user: str, item: str, k: int = 3) -> list[Origin]:
    """The k of a user's latest items with which an item goes most closely, the closest first.

    They go together because the same users take both, or because their texts are alike; the
    greater of the two decides the order. Items with which it does not go are left out. Of a user
    or an item that is unknown there is none.
    """
    number, who = engine.items.find(item), engine.users.find(user)
    if number is None or who is None:
        return []
    edges = engine.graph.users.recent(who, engine.graph.users.length)
    edges = edges[engine.departures.last[edges["id"]] <= engine.purged[who]]
    own = np.array(list(dict.fromkeys(edges["id"].tolist())), np.int32)
    own = own[own != number]
    if not len(own):
        return []
    with_it = dict(zip(*(found.tolist() for found in _taken_with(engine, number)), strict=True))
    together = np.array([with_it.get(other, 0.0) for other in own.tolist()])
    texts = np.maximum(_cosines(engine, number, own), 0.0)
    closest = np.argsort(-np.maximum(together, texts), kind="stable")[:k]
    return [
        Origin(
            engine.items.names[other], _title(engine, other),
            round(float(together[place]), 4), round(float(texts[place]), 4),
        )
        for place, other in zip(closest.tolist(), own[closest].tolist(), strict=True)
        if together[place] > 0 or texts[place] > 0
    ]  # fmt: skip


def _nearest(
    engine: Recommender, others: NDArray[np.int32], scores: NDArray[np.float32], k: int
) -> list[Neighbour]:
    """The k items of the greatest scores (int32[n], float32[n]), equal ones by their numbers."""
    best = np.lexsort((others, -scores))[:k]
    return [
        Neighbour(engine.items.names[other], _title(engine, other), round(score, 4))
        for other, score in zip(others[best].tolist(), scores[best].tolist(), strict=True)
    ]


def popular(engine: Recommender, k: int, rules: Rules | None = None) -> list[Popular]:
    """The k items that were taken most since the engine was new, of those that rules allow.

    Of rules the categories count. Left out are hidden items, those that nobody took, and, where
    there is a catalogue, those that it does not name (`engine.recommend_unlisted`).
    """
    items = len(engine.items)
    candidates = np.arange(items, dtype=np.int32)
    counts = engine.popularity.counts[:items].copy()
    restrict(rules or engine.rules, engine.categories, candidates, counts)
    counts[engine.hidden[:items]] = 0.0
    not_shown = engine.not_for_strangers()[:items]
    counts[: len(not_shown)][not_shown] = 0.0
    most = min(k, items)
    best = np.argpartition(-counts, most - 1)[:most] if most else candidates
    best = best[np.lexsort((best, -counts[best]))]
    return [
        Popular(engine.items.names[number], _title(engine, number), round(float(counts[number]), 4))
        for number in best.tolist()
        if counts[number] > 0
    ]


def _title(engine: Recommender, number: int) -> str:
    # Kept in the form that answers need ten times an event.
    return engine.reasons[number].removeprefix("because of ")
