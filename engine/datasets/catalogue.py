"""The invented films of the synthetic stream: titles, texts, series, and what is shelved where."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from engine.datasets import vocabulary as words
from engine.events import Item

THEMES = len(words.THEMES)
# Popularity falls as rank**-TAIL.
TAIL = 0.9
SERIES_SHARE = 0.3
SERIES_LENGTH = 3
SECOND_GENRE_SHARE = 0.3
# A film draws this much less where it stands for its second genre.
SECOND_WEIGHT = 0.3

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Film(NamedTuple):
    """One film. ``prequel`` and ``sequel`` are its neighbours in a series, as indices."""

    item: Item
    weight: float
    theme: int
    second: int | None
    prequel: int | None
    sequel: int | None


class Shelf(NamedTuple):
    """The films of one theme, earliest first, and the running sum of their popularity."""

    films: Ints
    appeared: Ints
    cumulative: Floats

    def draw(self, rng: np.random.Generator, now: int) -> int | None:
        """A film that has appeared by ``now`` (ms), by popularity; None where there is none."""
        there = int(np.searchsorted(self.appeared, now, side="right"))
        if there == 0:
            return None
        point = rng.random() * self.cumulative[there - 1]
        return int(self.films[np.searchsorted(self.cumulative, point, side="right")])


def make_films(rng: np.random.Generator, appeared: Ints) -> list[Film]:
    """Films in the order in which they appear (``appeared``: sorted, ms since the epoch)."""
    count = len(appeared)
    weights = (1.0 + rng.permutation(count)) ** -TAIL
    theme = rng.integers(THEMES, size=count)
    second = np.where(rng.random(count) < SECOND_GENRE_SHARE, rng.integers(THEMES, size=count), -1)
    series = _series(rng, count)
    taken: set[str] = set()
    titles: list[str] = []
    films: list[Film] = []
    for number in range(count):
        prequel, part, sequel = series.get(number, (None, 1, None))
        if prequel is not None:
            theme[number], second[number] = theme[prequel], second[prequel]
        about = words.THEMES[theme[number]]
        other = words.THEMES[second[number]].genre if second[number] >= 0 else about.genre
        titles.append(_title(rng, about, taken) if prequel is None else titles[prequel])
        year = int(rng.integers(1960, 2024))
        if prequel is not None:
            year = min(2024, int(str(films[prequel].item.properties["year"])) + 2)
        genres = list(dict.fromkeys((about.genre, other)))
        title = f"{titles[number]}{f' {part}' if part > 1 else ''} ({year})"
        item = Item(
            item=f"film-{number + 1}",
            title=title,
            text=f"{title}. Genres: {', '.join(genres)}. {_pitch(rng, about)}",
            categories=genres,
            properties={"year": year},
            timestamp=int(appeared[number]),
        )
        beside = int(second[number]) if len(genres) > 1 else None
        films.append(
            Film(item, float(weights[number]), int(theme[number]), beside, prequel, sequel)
        )
    return films


def shelve(films: list[Film]) -> tuple[list[Shelf], Shelf]:
    """A shelf for each theme, and one of all films."""
    places: list[list[tuple[int, float]]] = [[] for _ in range(THEMES)]
    for number, film in enumerate(films):
        places[film.theme].append((number, film.weight))
        if film.second is not None and film.second != film.theme:
            places[film.second].append((number, SECOND_WEIGHT * film.weight))
    everything = [(number, film.weight) for number, film in enumerate(films)]
    return [_shelf(films, place) for place in places], _shelf(films, everything)


def _shelf(films: list[Film], place: list[tuple[int, float]]) -> Shelf:
    return Shelf(
        np.array([number for number, _ in place], dtype=np.int64),
        np.array([films[number].item.timestamp for number, _ in place], dtype=np.int64),
        np.cumsum([weight for _, weight in place], dtype=np.float64),
    )


def _series(rng: np.random.Generator, count: int) -> dict[int, tuple[int | None, int, int | None]]:
    """For each film in a series (prequel, part from 1, sequel); parts appear in order."""
    chosen = rng.permutation(count)[: int(SERIES_SHARE * count)]
    series: dict[int, tuple[int | None, int, int | None]] = {}
    for start in range(0, len(chosen) - SERIES_LENGTH + 1, SERIES_LENGTH):
        parts = sorted(int(number) for number in chosen[start : start + SERIES_LENGTH])
        for place, number in enumerate(parts):
            before = parts[place - 1] if place else None
            after = parts[place + 1] if place + 1 < SERIES_LENGTH else None
            series[number] = (before, place + 1, after)
    return series


def _title(rng: np.random.Generator, theme: words.Theme, taken: set[str]) -> str:
    """A title that no film has yet."""
    adjective, place = _pick(rng, words.ADJECTIVES), _pick(rng, words.PLACES)
    noun = _pick(rng, theme.nouns)
    forms = (f"The {adjective} {noun}", f"{adjective} {noun}", f"The {noun} of {place}")
    title = _pick(rng, forms)
    if title in taken:
        # Few words, many films: a distinct subtitle.
        title = f"{title}: {_pick(rng, words.ADJECTIVES)} {_pick(rng, words.PLACES)}"
    while title in taken:
        title = f"{title} Again"
    taken.add(title)
    return title


def _pitch(rng: np.random.Generator, theme: words.Theme) -> str:
    mood, place = _pick(rng, words.MOODS), _pick(rng, words.PLACES)
    article = "An" if mood[0] in "aeiou" else "A"
    return f"{article} {mood} {theme.genre.lower()} film about {theme.about}, set in {place}."


def _pick(rng: np.random.Generator, choices: tuple[str, ...]) -> str:
    return choices[int(rng.integers(len(choices)))]
