"""Item vectors of text, categories and year, in few enough dimensions to score a whole catalogue.

The encoder's 384 dimensions are projected on the catalogue's own principal directions. The basis
is fitted when the fourth text arrives and again each time the catalogue has quadrupled, up to
16,384 texts; what was learnt in the old basis is rotated into the new one.
"""

from __future__ import annotations

from typing import ClassVar
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from engine.arrays import IdTable, grown
from engine.state.schema import ANY, ROWS, Array, State, Value

CATEGORY_DIMENSIONS = 32
_CATEGORY_WEIGHT = 0.7
_MOST_CATEGORIES = 10_000
"""Categories that are remembered by name, so that a sender of new ones does not fill the memory."""
_LEAST_VARIANCE = 1e-9
"""Share of the greatest variance below which a direction's is rounding."""
_FIRST_FIT = 4
_LAST_FIT = 4**7
# Years that an item's own is told apart by, closer together where most catalogues are denser.
_YEARS = np.array(
    [1930, 1945, 1960, 1970, 1980, 1987, 1992, 1995, 1998, 2003, 2010, 2018], np.float32
)
_YEAR_WIDTHS = np.gradient(_YEARS)
_YEAR_WEIGHT = 0.7


class ItemVectors:
    """One vector per item: [unit text projection | unit multi-hot of categories | unit year].

    Attributes
    ----------
    vectors : float32[items, text_dimensions + 32 + 12]
        Zero where nothing is known.
    """

    STATE: ClassVar[State] = State(
        {
            "vectors": Array("items/text/vectors", (ROWS, None)),
            "_embeddings": Array("items/text/embeddings", (ANY, None)),
            "_reviews": Array("items/text/reviews", (ROWS,)),
            "_has_text": Array("items/text/has_text", (ROWS,)),
            "_mean": Array("model/text/mean", (None,)),
            "_basis": Array("model/text/basis", (None, None)),
            "_rows": Value("items/text/rows", dict[int, int]),
            "_free_rows": Value("items/text/free_rows", list[int]),
            "_texts": Value("items/text/count", int),
            "_next_fit": Value("model/text/next_fit", int),
        },
        parts={"_categories": "categories"},
        unsaved=("width", "_text_dimensions"),
        check="_fault",
    )

    def __init__(self, text_dimensions: int, encoder_dimensions: int, items: int = 1024) -> None:
        self._text_dimensions = text_dimensions
        self.width = text_dimensions + CATEGORY_DIMENSIONS + len(_YEARS)
        self.vectors: NDArray[np.float32] = np.zeros((items, self.width), np.float32)
        # What a later fit or a later review needs again, and in which row it is of each item.
        self._embeddings: NDArray[np.float16] = np.zeros((0, encoder_dimensions), np.float16)
        self._rows: dict[int, int] = {}
        self._free_rows: list[int] = []
        self._reviews: NDArray[np.int32] = np.zeros(items, np.int32)
        self._has_text: NDArray[np.bool_] = np.zeros(items, np.bool_)
        self._texts = 0
        self._next_fit = _FIRST_FIT
        self._mean: NDArray[np.float32] = np.zeros(encoder_dimensions, np.float32)
        self._basis: NDArray[np.float32] = np.zeros(
            (text_dimensions, encoder_dimensions), np.float32
        )
        self._categories = IdTable()

    def _fault(self) -> str:
        rows = [*self._rows.values(), *self._free_rows]
        if min(rows, default=0) < 0 or max(rows, default=-1) >= len(self._embeddings):
            return "texts are in rows that are not there"
        if max(self._rows, default=-1) >= len(self.vectors) or min(self._rows, default=0) < 0:
            return "texts are of items that are not there"
        if len(set(rows)) < len(rows):
            return "two texts are in one row"
        return "an item has less than no reviews" if (self._reviews < 0).any() else ""

    def reserve(self, items: int) -> None:
        """Make room for `items` items."""
        if items > len(self.vectors):
            self.vectors = grown(self.vectors, items)
            self._reviews = grown(self._reviews, items)
            self._has_text = grown(self._has_text, items)

    def set_item(
        self,
        item: int,
        embedding: NDArray[np.float32] | None,
        categories: list[str],
        year: float | None = None,
    ) -> NDArray[np.float32] | None:
        """Set what the catalogue knows of an item.

        Returns
        -------
        float32[width, width] or None
            When the basis was fitted anew: the rotation of old vectors into the new basis.
        """
        multi_hot = np.zeros(CATEGORY_DIMENSIONS, np.float32)
        for category in categories:
            multi_hot[self._dimension(category)] = 1.0
        norm = np.linalg.norm(multi_hot)
        if norm > 0:
            multi_hot *= _CATEGORY_WEIGHT / norm
        self.vectors[item, self._text_dimensions :] = np.append(multi_hot, _near_years(year))
        return None if embedding is None else self.set_text(item, embedding)

    def set_text(self, item: int, embedding: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """Set the embedding of an item's own text; returns as `set_item`."""
        self._reviews[item] = 0
        return self._set_embedding(item, embedding)

    def has_own_text(self, item: int) -> bool:
        """Whether a text of an item's own describes it, and not its reviews."""
        return bool(self._has_text[item]) and self._reviews[item] == 0

    def add_review(self, item: int, embedding: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """Describe an item that has no text of its own by the mean of its reviews.

        The embedding may be another encoder's, and narrower: it fills the first dimensions. How
        near it is to texts of the catalogue is chance then, and nearly nothing.

        Returns
        -------
        float32[width, width] or None
            As `set_item`.
        """
        if self.has_own_text(item):
            return None
        self._reviews[item] += 1
        mean = np.zeros_like(self._mean)
        mean[: len(embedding)] = embedding
        if self._reviews[item] > 1 and item in self._rows:
            before = self._embeddings[self._rows[item]].astype(np.float32)
            mean = before + (mean - before) / self._reviews[item]
        return self._set_embedding(item, mean)

    def clear(self, item: int) -> None:
        """Forget an item."""
        if self._has_text[item]:
            self._texts -= 1
        row = self._rows.pop(item, None)
        if row is not None:
            self._free_rows.append(row)
        self._has_text[item] = False
        self._reviews[item] = 0
        self.vectors[item] = 0.0

    def _set_embedding(
        self, item: int, embedding: NDArray[np.float32]
    ) -> NDArray[np.float32] | None:
        if self._next_fit <= _LAST_FIT or self._reviews[item]:
            row = self._rows.get(item, -1)
            if row < 0:
                row = self._free_rows.pop() if self._free_rows else len(self._rows)
                self._rows[item] = row
            self._embeddings = grown(self._embeddings, row + 1)
            self._embeddings[row] = embedding
        if not self._has_text[item]:
            self._has_text[item] = True
            self._texts += 1
            if self._next_fit <= min(self._texts, _LAST_FIT):
                return self._fit()
        self.vectors[item, : self._text_dimensions] = self._projected(embedding[None])[0]
        return None

    def _dimension(self, category: str) -> int:
        """Where a category is told: in turn, and by its hash once there are very many."""
        if len(self._categories) >= _MOST_CATEGORIES and self._categories.find(category) is None:
            return crc32(category.encode(errors="surrogatepass")) % CATEGORY_DIMENSIONS
        return self._categories.intern(category) % CATEGORY_DIMENSIONS

    def _projected(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        rows = (embeddings - self._mean) @ self._basis.T
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        unit: NDArray[np.float32] = rows / np.maximum(norms, 1e-9)
        return unit

    def _fit(self) -> NDArray[np.float32]:
        self._next_fit = 4 * self._texts
        known = np.array(sorted(self._rows), np.int32)
        embeddings = self._embeddings[[self._rows[item] for item in known]].astype(np.float32)
        self._mean = embeddings.mean(0)
        centred = (embeddings - self._mean).astype(np.float64)
        basis = _principal_directions(centred, self._text_dimensions).astype(np.float32)
        rotation = np.eye(self.width, dtype=np.float32)
        if self._basis.any():
            d = self._text_dimensions
            rotation[:d, :d] = basis @ self._basis.T
        self._basis = basis
        self.vectors[known, : self._text_dimensions] = self._projected(embeddings)
        if self._next_fit > _LAST_FIT:
            # From now on only means of reviews are read again.
            kept = [item for item in self._rows if self._reviews[item]]
            self._embeddings = self._embeddings[[self._rows[item] for item in kept]]
            self._rows = {item: row for row, item in enumerate(kept)}
            self._free_rows = []
        return rotation


def _principal_directions(centred: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """The directions along which rows vary most, orthonormal: float64[count, columns].

    Few rows vary along few directions. The others that a solver returns are arbitrary: which they
    are depends on rounding, and so on how many threads the linear algebra library has. In their
    place stand fixed directions, made orthogonal to those that rows vary along.
    """
    values, vectors = np.linalg.eigh(centred.T @ centred)
    found = vectors[:, ::-1].T[:count]
    found = found[values[::-1][:count] > _LEAST_VARIANCE * max(values[-1], 0.0)]
    if len(found) == count:
        return found
    fixed = np.random.default_rng(0).standard_normal((count - len(found), centred.shape[1]))
    fixed -= (fixed @ found.T) @ found
    rest = np.linalg.qr(fixed.T)[0].T
    return np.concatenate([found, rest])


def _near_years(year: float | None) -> NDArray[np.float32]:
    """How near a year is to each of `_YEARS`, of norm .7; zeros for none: float32[12]."""
    if year is None:
        return np.zeros(len(_YEARS), np.float32)
    near = np.exp(-0.5 * ((np.clip(year, 1900, 2050) - _YEARS) / _YEAR_WIDTHS) ** 2)
    unit: NDArray[np.float32] = _YEAR_WEIGHT * near / (np.linalg.norm(near) + np.float32(1e-3))
    return unit.astype(np.float32)
