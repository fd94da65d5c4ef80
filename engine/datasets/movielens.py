"""MovieLens releases (https://grouplens.org/datasets/movielens/): 100K, 1M and 10M, CSV."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from engine.datasets import fields
from engine.datasets.dataset import FileDataset
from engine.datasets.reading import OnRead, csv_rows, rows
from engine.events import Interaction, Item

GENRES_100K = (
    "unknown",
    "Action",
    "Adventure",
    "Animation",
    "Children's",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
)
_NO_GENRES = {"", "unknown", "(no genres listed)"}

# "(1995)", "(1995–1996)", "(2009– )", and "(1995) (V)" for what came out on video.
_YEAR = re.compile(r"\((\d{4})(?:\s*[-–]\s*(?:\d{4})?)?\)(?:\s*\(\w+\))?$")
# "Postino, Il (Postman, The) (1994)": an article after the comma, at the end of a title or of a
# parenthesis.
_ARTICLE = re.compile(
    r"(?P<start>^|\()(?P<rest>[^()]+), "
    r"(?P<article>The|An|A|Il|Lo|La|Le|Les|L'|El|Los|Las|Der|Das|Die|Ein|Eine|Un|Une|Una|Det|Den|En)"
    r"(?=\s*(?:\(|\)|$))"
)


def shown_title(title: str) -> str:
    """The title as people write it: ``Matrix, The (1999)`` becomes ``The Matrix (1999)``."""

    def turned(match: re.Match[str]) -> str:
        gap = "" if match["article"].endswith("'") else " "
        return f"{match['start']}{match['article']}{gap}{match['rest']}"

    return _ARTICLE.sub(turned, " ".join(title.split()).replace(" )", ")"))


class _MovieLens(FileDataset):
    """What the releases share: a rating is (user, movie, rating, seconds since the epoch)."""

    def rating(self, file: Path, line: int, row: Sequence[str]) -> Interaction:
        if len(row) != 4:
            raise ValueError(f"{len(row)} fields where a rating has 4")
        user, movie, value, timestamp = row
        return fields.interaction(
            event_id=self.event_id(file, line),
            user=user.strip(),
            item=movie.strip(),
            timestamp=fields.seconds("timestamp", timestamp),
            kind="rating",
            value=fields.number("rating", value),
        )

    def movie(self, movie: str, title: str, genres: Sequence[str]) -> Item:
        title = shown_title(title)
        categories = [genre for genre in map(str.strip, genres) if genre not in _NO_GENRES]
        year = _YEAR.search(title)
        return fields.item(
            item=movie.strip(),
            title=title,
            text=f"{title}. Genres: {', '.join(categories)}" if categories else title,
            categories=categories,
            properties={"year": int(year[1])} if year else {},
        )


class MovieLens100K(_MovieLens):
    """``u.data``: tabs. ``u.item``: Latin-1, 24 fields between bars, the last 19 genre flags."""

    format = "MovieLens 100K"
    home = "ml-100k.zip at grouplens.org/datasets/movielens/100k"
    interaction_names = ("u.data",)
    item_names = ("u.item",)

    @staticmethod
    def fits(head: list[bytes]) -> bool:
        """Whether a line is four numbers between tabs."""
        return any(
            len(row) == 4 and all(field.strip().isdigit() for field in row)
            for row in (line.split(b"\t") for line in head)
        )

    def read_interactions(self, file: Path, on_read: OnRead | None) -> Iterator[Interaction]:
        """Yield the ratings of a file like ``u.data``."""
        split = _split(rows(file, self.problems, on_read), "\t")
        return self.convert(file, split, lambda line, row: self.rating(file, line, row))

    def read_items(self, file: Path) -> Iterator[Item]:
        """Yield the movies of a file like ``u.item``."""
        split = _split(rows(file, self.problems), "|")
        return self.convert(file, split, lambda _, row: self._movie_100k(row))

    def _movie_100k(self, row: list[str]) -> Item:
        if len(row) != 5 + len(GENRES_100K):
            raise ValueError(f"{len(row)} fields where a movie has {5 + len(GENRES_100K)}")
        flags = row[5:]
        if not set(flags) <= {"0", "1"}:
            raise ValueError(f"genre flags {fields.shown(flags)} are not all 0 or 1")
        genres = [name for name, flag in zip(GENRES_100K, flags, strict=True) if flag == "1"]
        return self.movie(row[0], row[1], genres)


class MovieLens1M(_MovieLens):
    """``ratings.dat`` and ``movies.dat``, fields between ``::``; the 10M release has the same."""

    format = "MovieLens 1M/10M"
    home = "ml-1m.zip at grouplens.org/datasets/movielens/1m"
    interaction_names = ("ratings.dat",)
    item_names = ("movies.dat",)

    @staticmethod
    def fits(head: list[bytes]) -> bool:
        """Whether a line is four fields between double colons, the last a timestamp."""
        return any(
            len(row) == 4 and row[3].strip().isdigit()
            for row in (line.split(b"::") for line in head)
        )

    def read_interactions(self, file: Path, on_read: OnRead | None) -> Iterator[Interaction]:
        """Yield the ratings of a file like ``ratings.dat``."""
        split = _split(rows(file, self.problems, on_read), "::")
        return self.convert(file, split, lambda line, row: self.rating(file, line, row))

    def read_items(self, file: Path) -> Iterator[Item]:
        """Yield the movies of a file like ``movies.dat``."""
        split = _split(rows(file, self.problems), "::")
        return self.convert(file, split, lambda _, row: self._movie_1m(row))

    def _movie_1m(self, row: list[str]) -> Item:
        if len(row) < 3:
            raise ValueError(f"{len(row)} fields where a movie has 3")
        return self.movie(row[0], "::".join(row[1:-1]), row[-1].split("|"))


class MovieLensCSV(_MovieLens):
    """``ratings.csv`` and ``movies.csv`` of the latest, 20M, 25M and 32M releases."""

    format = "MovieLens CSV"
    home = "ml-latest-small.zip (or ml-32m.zip) at grouplens.org/datasets/movielens"
    interaction_names = ("ratings.csv",)
    item_names = ("movies.csv",)
    columns = ("userId", "movieId", "rating", "timestamp")

    @classmethod
    def fits(cls, head: list[bytes]) -> bool:
        """Whether the header names users, movies and ratings."""
        return bool(head) and all(name.encode() in head[0] for name in cls.columns)

    def read_interactions(self, file: Path, on_read: OnRead | None) -> Iterator[Interaction]:
        """Yield the ratings of a file like ``ratings.csv``."""
        split = csv_rows(file, self.problems, self.columns, on_read=on_read)
        return self.convert(file, split, lambda line, row: self.rating(file, line, row))

    def read_items(self, file: Path) -> Iterator[Item]:
        """Yield the movies of a file like ``movies.csv``."""
        split = csv_rows(file, self.problems, ("movieId", "title", "genres"))
        return self.convert(
            file, split, lambda _, row: self.movie(row[0], row[1], row[2].split("|"))
        )


def _split(lines: Iterable[tuple[int, bytes]], separator: str) -> Iterator[tuple[int, list[str]]]:
    return ((line, _text(row).rstrip("\r\n").split(separator)) for line, row in lines)


def _text(content: bytes) -> str:
    # 100K and 1M are Latin-1, 10M is UTF-8. Accented Latin-1 is hardly ever valid UTF-8.
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")
