"""A synthetic stream for demonstrations and tests: no download, any length, the same every time.

Films of ten genres with four themes each. What a recommender can learn from it: users have tastes
over themes, and the tastes drift; a visit dwells on one theme; the parts of a series are seen in
order; popularity is long-tailed, and new users and films keep arriving.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np

from engine.datasets.catalogue import THEMES, Film, Floats, Shelf, make_films, shelve
from engine.datasets.dataset import Dataset, OnProgress
from engine.events import Interaction, Item, Kind

START_MS = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp() * 1000)
SPAN_DAYS = 180.0
DAY_MS = 86_400_000

# Concentration of the Dirichlet draw of a taste: at 0.05, two or three of the 40 themes matter.
TASTE = 0.05
VISIT_EVENTS = 7.0
P_SEQUEL = 0.45
P_DWELL = 0.65
P_BROWSE = 0.15
P_FOLLOW_UP = 0.12
P_DRIFT = 0.25
TRIES = 20
FIRST_KINDS: tuple[Kind, ...] = ("view", "click", "rating")
FIRST_SHARES = (0.6, 0.25, 0.15)


class Synthetic(Dataset):
    """Invented films and the visits of simulated users. Nothing in it is about real people.

    Parameters
    ----------
    events
        Number of interactions; they fill about 180 days from 2024-01-01.
    users, items
        How many there are by the end; a third of each is there from the start. By default 600
        and 800 for each 20,000 events.
    seed
        Two streams with equal parameters are equal; other parameters give other event ids.

    Raises
    ------
    ValueError
        When a number is negative, or there is no user or no item.
    """

    format = "synthetic, made by Millrace"

    def __init__(
        self,
        events: int = 20_000,
        users: int | None = None,
        items: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__("synthetic")
        self.events = events
        self.user_count = max(20, events * 3 // 100) if users is None else users
        self.item_count = max(50, events // 25) if items is None else items
        self.seed = seed
        if min(self.user_count, self.item_count) < 1 or min(events, seed) < 0:
            raise ValueError(
                f"events {events}, users {self.user_count}, items {self.item_count}, seed {seed}: "
                "give at least 1 user and 1 item, and no negative number"
            )

    def items(self) -> Iterator[Item]:
        """Yield every film, earliest first; ``timestamp`` is when it appears."""
        return (film.item for film in self._films())

    def interactions(self, on_progress: OnProgress | None = None) -> Iterator[Interaction]:
        """Yield the events, each made when it is asked for.

        There is no file to read: ``on_progress`` is told (0, 0) once.
        """
        self.count = self.events
        if on_progress is not None:
            on_progress(0, 0)
        films = self._films()
        rng = np.random.default_rng([self.seed, 1])
        arrivals = _arrivals(rng, self.user_count)
        # Visits per day, so that first visits and later ones come to about `events` in the span.
        pace = rng.lognormal(0.0, 0.7, self.user_count)
        later = max(self.events / VISIT_EVENTS - self.user_count, 0.1 * self.user_count)
        pace *= later / np.sum(pace * (SPAN_DAYS - arrivals))
        chooser = _Chooser(rng, films)
        people = [_User(rng.dirichlet(np.full(THEMES, TASTE))) for _ in arrivals]
        due = [(float(arrivals[user] + rng.exponential(0.5)), user) for user in range(len(people))]
        heapq.heapify(due)
        run = f"{self.name}:{self.seed}.{self.events}.{self.user_count}.{self.item_count}"
        for number in range(self.events):
            day, user = due[0]
            now = START_MS + int(day * DAY_MS)
            film, kind, value = chooser.next_event(people[user], now)
            yield Interaction(
                event_id=f"{run}:{number}",
                user=f"user-{user + 1}",
                item=films[film].item.item,
                timestamp=now,
                kind=kind,
                value=value,
            )
            # Within a visit a median of 30 seconds, between visits days.
            in_visit = people[user].events_left > 0
            gap = rng.lognormal(3.4, 0.6) / 86_400 if in_visit else rng.exponential(1 / pace[user])
            heapq.heapreplace(due, (day + float(gap), user))

    def _films(self) -> list[Film]:
        rng = np.random.default_rng([self.seed, 0])
        days = np.sort(_arrivals(rng, self.item_count))
        return make_films(rng, START_MS + (days * DAY_MS).astype(np.int64))


def _arrivals(rng: np.random.Generator, count: int) -> Floats:
    """Days since the start: a third at 0, the others through nine tenths of the span."""
    days = rng.uniform(0.0, 0.9 * SPAN_DAYS, count)
    days[: (count + 2) // 3] = 0.0
    return days


@dataclass
class _User:
    """One simulated user: a taste over the themes, and where the present visit stands."""

    taste: Floats
    seen: set[int] = field(default_factory=set)
    events_left: int = 0
    focus: int = 0
    last: int | None = None
    follow_up: int | None = None


class _Chooser:
    """Decides what a user does next."""

    def __init__(self, rng: np.random.Generator, films: list[Film]) -> None:
        self.rng = rng
        self.films = films
        self.shelves, self.everything = shelve(films)

    def next_event(self, user: _User, now: int) -> tuple[int, Kind, float | None]:
        """Film, kind and value of the user's next event at ``now`` (ms)."""
        if user.events_left == 0:
            self._start_visit(user)
        user.events_left -= 1
        film, user.follow_up = user.follow_up, None
        if film is not None:
            kind: Kind = "purchase" if self.rng.random() < 0.5 else "rating"
        else:
            film = self._choose(user, now)
            kind = FIRST_KINDS[int(self.rng.choice(len(FIRST_KINDS), p=FIRST_SHARES))]
            if kind != "rating" and user.events_left and self.rng.random() < P_FOLLOW_UP:
                user.follow_up = film
        user.seen.add(film)
        user.last = film
        return film, kind, self._rating(user, film) if kind == "rating" else None

    def _start_visit(self, user: _User) -> None:
        user.events_left = 1 + int(self.rng.poisson(VISIT_EVENTS - 1))
        if self.rng.random() < P_DRIFT:
            user.taste = 0.5 * (user.taste + self.rng.dirichlet(np.full(THEMES, TASTE)))
        user.focus = self._theme(user)

    def _choose(self, user: _User, now: int) -> int:
        """The next film: the sequel, or one of the visit's theme, another liked one, or any."""
        sequel = None if user.last is None else self.films[user.last].sequel
        if sequel is not None and self._fresh(user, sequel, now) and self.rng.random() < P_SEQUEL:
            return sequel
        for _ in range(TRIES):
            film = self._shelf(user).draw(self.rng, now)
            if film is not None and film not in user.seen:
                return self._first_part(user, film)
        # All films of the liked themes have been seen: any film, even again.
        film = self.everything.draw(self.rng, now)
        return 0 if film is None else self._first_part(user, film)

    def _shelf(self, user: _User) -> Shelf:
        draw = self.rng.random()
        if draw < P_BROWSE:
            return self.everything
        return self.shelves[user.focus if draw < P_BROWSE + P_DWELL else self._theme(user)]

    def _theme(self, user: _User) -> int:
        cumulative = np.cumsum(user.taste)
        return int(np.searchsorted(cumulative, self.rng.random() * cumulative[-1], side="right"))

    def _fresh(self, user: _User, film: int, now: int) -> bool:
        appears = self.films[film].item.timestamp
        return film not in user.seen and appears is not None and appears <= now

    def _first_part(self, user: _User, film: int) -> int:
        """The first part of the film's series that the user has not seen, else the film."""
        while (prequel := self.films[film].prequel) is not None and prequel not in user.seen:
            film = prequel
        return film

    def _rating(self, user: _User, film: int) -> float:
        """One to five stars: more for films of liked themes."""
        liking = min(1.0, 4.0 * float(user.taste[self.films[film].theme]))
        return float(np.clip(np.rint(2.6 + 1.9 * liking + self.rng.normal(0.0, 0.8)), 1, 5))
