"""The lists that users had at hand, judged by what they took next, beside popular items.

A user's list was made before their next event was known, so judging it by that event uses nothing
of the event or of later ones. (`millrace evaluate` asks for a fresh ranking right before each
event; here the list is the one that the user had at hand, which others' events since then did not
refresh.)
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Container
from dataclasses import dataclass, field

from engine.evaluation.measures import K, RankingMeasures


@dataclass
class _User:
    """What is known of a user: all that they took, and the list that they have at hand."""

    taken: set[str] = field(default_factory=set)
    ranked: list[str] | None = None


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
        self._most_users = most_users
        self._users: OrderedDict[str, _User] = OrderedDict()
        self._popular = PopularItems(most_items)

    def take(self, user: str, item: str | None, ranked: list[str] | None) -> None:
        """Judge by what a user took now, then remember the list that they were given.

        Parameters
        ----------
        item
            What they took; None of a user who is to be forgotten.
        ranked
            The items that they have at hand from now on, best first; None where nobody knows.
        """
        if item is None:
            self._users.pop(user, None)
            return
        known = self._users.setdefault(user, _User())
        self._users.move_to_end(user)
        if self._most_users is not None and len(self._users) > self._most_users:
            self._users.popitem(last=False)
        if item not in known.taken:
            if known.ranked is not None:
                self.model.add(known.ranked, item)
                self.popularity.add(self._popular.best(known.taken), item)
            self._popular.add(item)
            known.taken.add(item)
        known.ranked = ranked


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
