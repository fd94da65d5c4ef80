"""The lists that users had at hand, judged by what they took next, beside popular items.

A user's list was made before their next event was known, so judging it by that event uses nothing
of the event or of later ones. (`millrace evaluate` asks for a fresh ranking right before each
event; here the list is the one that the user had at hand, which others' events since then did not
refresh.)
"""

from __future__ import annotations

from collections.abc import Container

from engine.evaluation.measures import K, RankingMeasures
from engine.evaluation.queries import Queries


class Prequential:
    """Measures of the users' last lists, and of the most taken items in their place.

    Parameters
    ----------
    most_users, most_items
        How many are remembered: a newcomer beyond takes the place of the user whose last event is
        longest ago, or of an item that was taken least. None: all of them.

    Attributes
    ----------
    model, popularity
        The measures; both of the same queries.
    """

    def __init__(self, most_users: int | None = None, most_items: int | None = None) -> None:
        self.model = RankingMeasures(coverage=False)
        self.popularity = RankingMeasures(coverage=False)
        self._queries = Queries(most_users)
        self._lists: dict[str, list[str] | None] = {}
        self._popular = PopularItems(most_items)

    def take(
        self, user: str, item: str | None, ranked: list[str] | None, kind: str
    ) -> float | None:
        """Judge by what a user took now, then remember the list that they were given.

        Parameters
        ----------
        item, kind
            What they took, and how; no item of a user who is to be forgotten.
        ranked
            The items that they have at hand from now on, best first; None where nobody knows.

        Returns
        -------
        float or None
            The NDCG@10 of the list that was judged; None if none was.
        """
        gain = None
        known = self._lists.get(user)
        asks = self._queries.judge(user, item, kind)
        if asks == "query" and known is not None and item is not None:
            gain = self.model.add(known, item)
            self.popularity.add(self._popular.best(self._queries.had(user)), item)
        if asks in ("query", "first") and item is not None:
            self._popular.add(item)
        gone = self._queries.note(user, item, kind)
        if gone is not None:
            self._lists.pop(gone, None)
        if user in self._queries:
            self._lists[user] = ranked
        else:
            self._lists.pop(user, None)
        return gain


class PopularItems:
    """Items by how often they were taken, in order at all times, at O(1) an event.

    Counts fall along the order and rise by one, so an item that is taken changes places with the
    first of those that have its count.
    """

    def __init__(self, most: int | None = None) -> None:
        self._most = most
        self._order: list[str] = []
        self._counts: list[int] = []
        self._place: dict[str, int] = {}
        self._first: dict[int, int] = {}

    def add(self, item: str) -> None:
        """Count that it was taken."""
        place = self._place.get(item)
        if place is None:
            place = self._join(item)
        count = self._counts[place]
        to = self._first[count]
        other = self._order[to]
        self._order[to], self._order[place] = item, other
        self._place[other], self._place[item] = place, to
        self._counts[to] = count + 1
        if to + 1 < len(self._counts) and self._counts[to + 1] == count:
            self._first[count] = to + 1
        else:
            del self._first[count]
        self._first.setdefault(count + 1, to)

    def best(self, taken: Container[str]) -> list[str]:
        """The ten that were taken most, but for those in `taken`."""
        found: list[str] = []
        for item in self._order:
            if item not in taken:
                found.append(item)
                if len(found) == K:
                    break
        return found

    def _join(self, item: str) -> int:
        if self._most is not None and len(self._order) >= self._most:
            del self._place[self._order.pop()]
            count = self._counts.pop()
            if self._first[count] == len(self._order):
                del self._first[count]
        place = self._place[item] = len(self._order)
        self._order.append(item)
        self._counts.append(0)
        self._first[0] = place
        return place
