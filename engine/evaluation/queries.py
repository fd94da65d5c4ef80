"""The definition of a query, for `evaluate`, the page, the demo, torture and the benchmarks.

A query is an event of a user who has done something before, with an item that is new to them; an
item that they had is a repeat, which is measured apart. A dislike is neither, since no list should
have held its item, and none should from then on. An event to be ignored does not count at all.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Literal, NamedTuple

from engine.evaluation.measures import K
from engine.events import Interaction
from engine.recommender import Recommender

Asks = Literal["query", "repeat", "first", "dislike", "nothing"]
"""What an event asks of a ranking: a query; an item that its user had; a user's first event; a
dislike; nothing (a forget, what is to be ignored)."""
_QUERIES: tuple[Asks, ...] = ("query",)
TAKES: tuple[Asks, ...] = ("query", "repeat", "first")
"""Events by which a user takes an item: these count for its popularity."""


class Queries:
    """Decides, event by event, which are queries.

    Parameters
    ----------
    most_users
        Most users that are remembered; the one idle for longest makes room. None: all.
    """

    def __init__(self, most_users: int | None = None) -> None:
        self._most_users = most_users
        self._had: OrderedDict[str, set[str]] = OrderedDict()

    def __contains__(self, user: str) -> bool:
        return user in self._had

    def __len__(self) -> int:
        return len(self._had)

    def had(self, user: str) -> Collection[str]:
        """The items that a user took or disliked."""
        return self._had.get(user, ())

    def rank_new(self, engine: Recommender, user: str) -> list[str]:
        """An engine's ten best items that are new to a user, which are what a query asks for."""
        had = self.had(user)
        # As many more as may come again, so that ten of the rest are among them.
        again = len(had) if engine.repeats else 0
        ranked = engine.recommend(user, K + again).items
        return [entry.item for entry in ranked if entry.item not in had][:K]

    def judge(self, user: str, item: str | None, kind: str) -> Asks:
        """What an event asks; it is not noted yet (see :meth:`note`)."""
        if item is None or kind in ("forget", "ignore"):
            return "nothing"
        if kind == "dislike":
            return "dislike"
        had = self.had(user)
        if not had:
            return "first"
        return "repeat" if item in had else "query"

    def note(self, user: str, item: str | None, kind: str) -> str | None:
        """Remember an event that was judged.

        Returns
        -------
        str or None
            The user who made room, if one had to.
        """
        if kind == "ignore":
            return None
        if item is None or kind == "forget":
            self._had.pop(user, None)
            return None
        self._had.setdefault(user, set()).add(item)
        if self._most_users is None:
            return None
        self._had.move_to_end(user)
        return self._had.popitem(last=False)[0] if len(self) > self._most_users else None

    def note_all(self, interactions: Iterable[Interaction]) -> None:
        """Remember the events of a part that is not measured."""
        for one in interactions:
            self.note(one.user, one.item, one.kind)


class Step(NamedTuple):
    """One event of a stream, after it was learnt.

    Attributes
    ----------
    interaction, asks
        The event, and what it asked.
    item
        Its item; empty where `asks` is ``nothing``.
    ranked
        The list from before the event; None where none was asked for.
    had
        How many items its user had before.
    """

    interaction: Interaction
    asks: Asks
    item: str
    ranked: list[str] | None
    had: int


def prequential(
    interactions: Iterable[Interaction],
    rank: Callable[[str], list[str]],
    learn: Callable[[Interaction], object],
    queries: Queries | None = None,
    on: Collection[Asks] = _QUERIES,
) -> Iterator[Step]:
    """The prequential loop: where an event asks for it, rank for its user; then learn the event.

    Parameters
    ----------
    rank, learn
        Ranks for a user by what was learnt so far; learns an event.
    queries
        What is remembered of earlier events; nothing by default.
    on
        The events for which a list is asked.
    """
    queries = Queries() if queries is None else queries
    for one in interactions:
        asks = queries.judge(one.user, one.item, one.kind)
        had = len(queries.had(one.user))
        ranked = rank(one.user) if asks in on else None
        learn(one)
        queries.note(one.user, one.item, one.kind)
        item = one.item if asks != "nothing" and one.item is not None else ""
        yield Step(one, asks, item, ranked, had)
