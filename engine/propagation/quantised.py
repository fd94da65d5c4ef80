"""A learnt table in 8 bits, kept up with what is learnt row by row."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.arrays import grown
from engine.propagation.int8 import LARGEST_WEIGHT, coefficient, renew_rows, scale_of

_MOST_STALE = 4096


class QuantisedTable:
    """Embedding rows (`overlays/FORMAT.md`) of a float table that grows; one that has become
    shorter is another, and is quantised anew.

    Attributes
    ----------
    rows : uint8[>= m, d]
        Rows beyond those of the float table are zeros.
    """

    def __init__(self, dimensions: int) -> None:
        self._begin(dimensions)

    def _begin(self, dimensions: int) -> None:
        self.rows: NDArray[np.uint8] = np.zeros((0, dimensions), np.uint8)
        self._held = 0
        self._stale: list[NDArray[Any]] = []
        # How many rows have each scale code: the shift follows from what the table is, not from
        # what it was, so that an engine that is loaded gives the bytes of one that went on.
        self._codes: NDArray[np.int64] = np.zeros(256, np.int64)

    def changed(self, rows: NDArray[np.int32]) -> None:
        """Note that rows (int32[n]) of the float table changed."""
        self._stale.append(rows[rows < self._held])
        if len(self._stale) > _MOST_STALE:  # items come and go, and no event reads the table
            self._stale = [np.unique(np.concatenate(self._stale))]

    def refresh(self, values: NDArray[np.float32]) -> NDArray[np.int64]:
        """Quantise what is new or changed in `values` (float32[m, d]).

        Returns
        -------
        int64[n]
            The rows that were quantised anew; one may be named twice.
        """
        if len(values) < self._held:
            self._begin(values.shape[1])
        have, self._held = self._held, len(values)
        self.rows = grown(self.rows, self._held)
        if have < self._held:
            self._stale.append(np.arange(have, self._held))
        if not self._stale:
            return np.empty(0, np.int64)
        renewed = np.concatenate(self._stale, dtype=np.int64)
        self._stale.clear()
        renew_rows(values, renewed, have, self.rows, self._codes)
        return renewed

    @property
    def shift(self) -> int:
        """The smallest SHIFT with which no coefficient saturates: the finest sums."""
        code = int(np.flatnonzero(self._codes)[-1])
        product = LARGEST_WEIGHT * scale_of(code)
        return next(shift for shift in range(32) if coefficient(product, shift) < 65535)
