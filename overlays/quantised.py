"""A learnt table as the core reads it, kept up with what is learnt row by row."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.propagation.int8 import quantise_rows
from overlays.reference import SCALES, pick_shift


class QuantisedTable:
    """Quantised rows of a float table that grows.

    Attributes
    ----------
    rows : u8[m, d]
        Embedding rows (FORMAT.md).
    shift : int
        The smallest SHIFT with which no coefficient saturates.
    """

    def __init__(self, dimensions: int) -> None:
        self.rows: NDArray[np.uint8] = np.empty((0, dimensions), np.uint8)
        self._stale: list[NDArray[np.int32]] = []
        # How many rows have each scale code: the shift follows from the table alone, not from
        # what its rows once were, so that a replay gives the same bytes.
        self._codes = np.zeros(256, np.int64)
        self.shift = 0

    def changed(self, rows: NDArray[np.int32]) -> None:
        """Note that rows of the float table were learnt.

        Parameters
        ----------
        rows : int32[n]
        """
        self._stale.append(np.array(rows, np.int64))

    def refresh(self, values: NDArray[np.float32]) -> NDArray[np.int64]:
        """Quantise what is new or was learnt.

        Parameters
        ----------
        values : float32[m, d]
            The table. With fewer rows than before it is taken for another one.

        Returns
        -------
        NDArray
            int64[n], the rows that were quantised anew, rising.
        """
        if len(values) < len(self.rows):
            self.rows, self._stale = self.rows[:0], []
            self._codes[:] = 0
        have = len(self.rows)
        fresh = np.arange(have, len(values))
        stale = [rows[rows < have] for rows in self._stale]
        if not stale and not len(fresh):
            return fresh
        self._stale.clear()
        if len(fresh):
            room = np.empty(values.shape, np.uint8)
            room[:have] = self.rows
            self.rows = room
        old = np.unique(np.concatenate(stale)) if stale else fresh[:0]
        self._codes -= np.bincount(_codes(self.rows[old]), minlength=256)
        rows = np.concatenate([old, fresh])
        quantise_rows(values, rows, self.rows)
        self._codes += np.bincount(_codes(self.rows[rows]), minlength=256)
        self.shift = pick_shift(SCALES[int(np.flatnonzero(self._codes)[-1])])
        return rows


def _codes(rows: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Scale codes of rows: int64[n]."""
    return (rows[:, :8] & 1).astype(np.int64) @ (1 << np.arange(8))
