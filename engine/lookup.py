"""What an engine knows, for those who ask to see it: items' titles, a user's latest, neighbours.

Nothing here changes the engine, not even a row that still names items that left: those are passed
over. Like all of the engine it is for the thread that observes.
"""

from __future__ import annotations

import msgspec
import numpy as np

from engine.recommender import Recommender


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
    held, counts = engine.transitions, engine.popularity.counts
    row = slice(int(held.start[number]), int(held.start[number] + held.degree[number]))
    others, weights = held.items[row], held.weights[row, 1]
    there = engine.departures.last[others] <= held._purged[number]
    shown = there & (weights > 0) & ~engine.hidden[others]
    others, weights = others[shown], weights[shown]
    scores = weights / np.sqrt((counts[number] + 1) * (counts[others] + 1))
    best = np.lexsort((others, -scores))[:k]
    return [
        Neighbour(engine.items.names[other], _title(engine, other), round(score, 4))
        for other, score in zip(others[best].tolist(), scores[best].tolist(), strict=True)
    ]


def _title(engine: Recommender, number: int) -> str:
    # Kept in the form that answers need ten times an event.
    return engine.reasons[number].removeprefix("because of ")
