"""The CPU `Aggregator` in 8 bits: the same bytes as the overlay's core gives."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.propagation import Aggregation, BackendError, int8
from engine.propagation.quantised import QuantisedTable


class Int8Aggregator:
    """Eq. 1 in integers, over quantised copies of the tables, on the calling thread."""

    work = None
    keeps_tables = True

    def __init__(self, fanout: int, dimensions: int) -> None:
        if not 1 <= fanout <= int8.MOST:
            raise BackendError(f"fanout = {fanout}: aggregation in 8 bits takes 1 to {int8.MOST}")
        if dimensions < int8.SCALE_BITS:
            raise BackendError(
                f"dimensions = {dimensions}: aggregation in 8 bits takes {int8.SCALE_BITS} or more"
            )
        self.fanout = fanout
        self._tables: dict[str, QuantisedTable] = {}

    def changed(self, table: str, rows: NDArray[np.int32]) -> None:
        """See `Aggregator.changed`."""
        if table in self._tables:  # else all of them are new
            self._tables[table].changed(rows)

    def aggregate(self, *asked: Aggregation) -> None:
        """See `Aggregator.aggregate`."""
        for graph, targets, table, values, decay, out in asked:
            if table not in self._tables:
                self._tables[table] = QuantisedTable(values.shape[1])
            quantised = self._tables[table]
            quantised.refresh(values)
            int8.aggregate_dequantised(
                targets, graph.degree, graph.edges, quantised.rows, self.fanout,
                round(decay * 65536), quantised.shift, out,
            )  # fmt: skip
