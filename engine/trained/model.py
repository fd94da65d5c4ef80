"""Serving of a trained model: aggregate the user, score the catalogue; encode a text on request."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from engine.graph import NeighbourRows
from engine.propagation import Aggregation, Aggregator
from engine.propagation.registry import make_aggregator
from engine.trained.encoder import Encoder, make_encoder
from engine.trained.folder import LEVELS, Folder, read_folder
from engine.training.recipe import Recipe

CHUNK = 64
"""Neighbours that one row of the graph holds: the most that 8-bit aggregation takes. A user with
more has several rows, whose aggregates are averaged."""
_ASKED = 1.0
"""Level of a request's text: as something that the user liked."""
_LIKING = 0.5
"""Weight of how much an item would be liked, beside the log-odds that it is taken."""

_Array = TypeVar("_Array")


def shrinkage(degree: _Array) -> _Array:
    """s(n): how far the mean of n neighbours is to be believed, and a length that suits it."""
    return degree / (3.0 * (degree + 5.0) ** 0.5)  # type: ignore[operator]


class _Neighbours(NamedTuple):
    """What a user's neighbours add up to, and how many they are."""

    total: NDArray[np.float32]
    degree: int


class TrainedModel:
    """A trained model, as its folder holds it. Not thread-safe: one thread calls.

    Attributes
    ----------
    recipe
        What it was trained by.
    users, items
        Ids that it knows, in the order of its tables.
    tables
        What was learnt.
    """

    def __init__(self, folder: Folder, board: str = "", bitstream: str = "") -> None:
        self.recipe: Recipe = folder.recipe
        self.users: list[str] = folder.users
        self.items: list[str] = folder.items
        self.tables = folder.tables
        self._user_numbers = {name: number for number, name in enumerate(self.users)}
        self._item_numbers = {name: number for number, name in enumerate(self.items)}
        self._width = self.tables.rows.shape[1]
        self._like = self.recipe.dimensions * self.recipe.members
        # One product scores both: the user's part for liking is weighted in the query.
        self._bias = _LIKING * self.tables.like_bias + self.tables.take_bias
        self._graph, self._chunks = _rows_of(self.tables.edges, self.tables.starts)
        self._folder = folder
        self._board, self._bitstream = board, bitstream

    @cached_property
    def aggregator(self) -> Aggregator:
        """The recipe's backend, made when it is first asked for: a warm start needs none."""
        return make_aggregator(
            self.recipe.serving.aggregator, CHUNK, self._width, self._board, self._bitstream
        )

    @cached_property
    def encoder(self) -> Encoder | None:
        """The recipe's text encoder, likewise; None without text."""
        return make_encoder(self._folder) if self.recipe.text else None

    def warm_up(self) -> None:
        """Load what the first answer would wait for.

        Raises
        ------
        BackendError
            If the recipe's aggregator cannot work here.
        """
        self.request(self.users[0] if self.users else "", "")

    @classmethod
    def load(cls, folder: str | Path, board: str = "", bitstream: str = "") -> TrainedModel:
        """The model of a folder, every file of it verified.

        Parameters
        ----------
        board, bitstream
            Of a recipe whose aggregator is pynq, as `engine.board` and `engine.bitstream`.

        Raises
        ------
        TrainedModelError
            If it is no model folder, is of another version, or a file of it is damaged.
        """
        return cls(read_folder(Path(folder)), board, bitstream)

    def scores(self, user: str, items: Sequence[str]) -> NDArray[np.float32]:
        """How much a user would like items if they took them: float32[len(items)], higher first.

        An expected rating, where there were ratings. For ranking what the user is known to have
        taken (the paper's accuracy protocol); whole catalogues are ranked by `recommend`, which
        also weighs how likely each item is taken. An unknown user gets the items' own part, an
        unknown item the mean of the known ones.
        """
        number = self._user_numbers.get(user)
        every = self.tables.like_bias.copy()
        if number is not None:
            embedding = self._embedding(number, self._neighbours(number))[: self._like]
            every += self.tables.outputs[:, : self._like] @ embedding
            every += self.tables.user_bias[number]
        places = [self._item_numbers.get(item, -1) for item in items]
        return np.append(every, every.mean(dtype=np.float64).astype(np.float32))[places]

    def recommend(self, user: str, k: int = 10) -> list[tuple[str, float]]:
        """Warm: the k best items of the whole catalogue that the user has not taken, best first.

        The item side is precomputed; the user's embedding is aggregated anew (Eq. 1) by the
        recipe's `Aggregator`, and every item is scored (Eq. 3-4).
        """
        number = self._user_numbers.get(user)
        return self._best(number, self._neighbours(number), k)

    def request(self, user: str, text: str, k: int = 10) -> list[tuple[str, float]]:
        """Cold, as the paper means it: `text` is tokenised and encoded, then as `recommend`.

        The text counts as one more that the user liked. A model without text ignores it.
        """
        if self.encoder is None:
            return self.recommend(user, k)
        number = self._user_numbers.get(user)
        if self.aggregator.work is None:
            taken, asked = self._neighbours(number), self._read(self.encoder, text)
        else:
            # The device works meanwhile.
            with ThreadPoolExecutor(1) as other:
                pending = other.submit(self._neighbours, number)
                asked = self._read(self.encoder, text)
            taken = pending.result()
        return self._best(number, _Neighbours(taken.total + asked, taken.degree + 1), k)

    def user_embeddings(self) -> NDArray[np.float32]:
        """e of all users, as the recipe's aggregator gives them: float32[users, W]."""
        users = range(len(self.users))
        return np.array([self._embedding(user, self._neighbours(user)) for user in users])

    def _read(self, encoder: Encoder, text: str) -> NDArray[np.float32]:
        """A request's text as a neighbour: float32[W]."""
        vector = self.tables.text_basis @ (encoder.encode(text) - self.tables.text_mean)
        vector /= max(float(np.linalg.norm(vector)), 1e-9)
        liked, other = self.tables.text_rows
        row: NDArray[np.float32] = vector @ (_ASKED * liked + other)
        return row

    def _best(self, number: int | None, neighbours: _Neighbours, k: int) -> list[tuple[str, float]]:
        query = self._embedding(number, neighbours)
        query[: self._like] *= _LIKING
        scores = self.tables.outputs @ query
        scores += self._bias
        if number is not None:
            taken = self.tables.edges[self.tables.starts[number] : self.tables.starts[number + 1]]
            scores[taken // len(LEVELS)] = -np.inf
        pool = np.argpartition(-scores, min(k, len(scores) - 1))[:k]
        best = pool[np.lexsort((pool, -scores[pool]))]
        return [(self.items[i], float(scores[i])) for i in best if np.isfinite(scores[i])]

    def _neighbours(self, user: int | None) -> _Neighbours:
        """Of a user; nobody's are none."""
        if user is None:
            return _Neighbours(np.zeros(self._width, np.float32), 0)
        rows = np.arange(self._chunks[user], self._chunks[user + 1], dtype=np.int32)
        held = self._graph.degree[rows]
        means = np.zeros((len(rows), self._width), np.float32)
        self.aggregator.aggregate(
            Aggregation(self._graph, rows, "rows", self.tables.rows, 1.0, means)
        )
        return _Neighbours(held.astype(np.float32) @ means, int(held.sum()))

    def _embedding(self, user: int | None, neighbours: _Neighbours) -> NDArray[np.float32]:
        """e_u: float32[W]."""
        total, degree = neighbours
        mean = total / np.float32(max(degree, 1))
        own = 0.0 if user is None else self.tables.users[user]
        embedding: NDArray[np.float32] = own + mean * np.float32(shrinkage(float(degree)))
        return embedding


def _rows_of(
    edges: NDArray[np.int32], starts: NDArray[np.int64]
) -> tuple[NeighbourRows, NDArray[np.int64]]:
    """The users' rows for an aggregator, `CHUNK` neighbours each, and where each user's begin.

    The chunks of a user are as even as can be, so that none is nearly empty.
    """
    degrees = np.diff(starts)
    counts = -(-degrees // CHUNK)
    chunks = np.concatenate([[0], np.cumsum(counts)])
    graph = NeighbourRows(CHUNK, max(int(chunks[-1]), 1))
    for user in range(len(degrees)):
        parts = np.array_split(edges[starts[user] : starts[user + 1]], max(int(counts[user]), 1))
        for row, part in enumerate(parts, int(chunks[user])):
            if len(part):
                graph.edges[row, : len(part)] = part.astype(np.uint32) | np.uint32(255 << 24)
                graph.degree[row] = len(part)
    return graph, chunks
