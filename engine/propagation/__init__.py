"""Propagation (Eq. 1): a node's embedding is the weighted mean of its neighbours'.

    e_v = sum_q w_q x_{n_q} / sum_q w_q,      w_q = weight_q * decay^q,  q = 0 the most recent

Backends implement `Aggregator`; `make_aggregator` is the one place that picks one.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engine.graph import NeighbourRows


class Aggregator(Protocol):
    """Aggregates neighbour embeddings for a batch of target nodes.

    Tables have names, so that a backend may keep copies of them (quantised, on a device).
    """

    def changed(self, table: str, rows: NDArray[np.int32]) -> None:
        """Say that these rows (int32[n]) of a table changed: what was kept of them is stale."""
        ...

    def aggregate(
        self,
        graph: NeighbourRows,
        targets: NDArray[np.int32],
        table: str,
        values: NDArray[np.float32],
        decay: float,
        out: NDArray[np.float32],
    ) -> None:
        """Write each target's aggregate to its row of `out`.

        Parameters
        ----------
        graph
            The targets' rows; their neighbours index `values`.
        targets : int32[n]
            Nodes to aggregate. One without neighbours gets zeros.
        table
            Name of the table of the neighbours' embeddings.
        values : float32[m, d]
            The table as it is now. It may have grown since the last call.
        decay
            Weight of a neighbour relative to the next more recent one, in (0, 1].
        out : float32[n, d]
        """
        ...


def make_aggregator(name: str, fanout: int) -> Aggregator:
    """The backend of that name, sampling the `fanout` most recent neighbours.

    Raises
    ------
    ValueError
        If there is no such backend.
    """
    if name == "numba":
        from engine.propagation.numba_backend import NumbaAggregator  # noqa: PLC0415

        return NumbaAggregator(fanout)
    if name == "int8":
        from engine.propagation.int8_backend import Int8Aggregator  # noqa: PLC0415

        return Int8Aggregator(fanout)
    if name == "numpy":
        from engine.propagation.numpy_backend import NumpyAggregator  # noqa: PLC0415

        return NumpyAggregator(fanout)
    raise ValueError(f"aggregator = {name!r}: there are 'numba', 'int8' and 'numpy'")
