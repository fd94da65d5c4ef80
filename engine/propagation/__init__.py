"""Propagation (Eq. 1): a node's embedding is the weighted mean of its neighbours'.

    e_v = sum_q w_q x_{n_q} / sum_q w_q,      w_q = weight_q * decay^q,  q = 0 the most recent

Backends implement `Aggregator`; `make_aggregator` is the one place that picks one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engine.graph import NeighbourRows


class BackendError(ValueError):
    """A backend that cannot work as the settings want it; one line that says why."""


@dataclass
class DeviceWork:
    """What a device did for its backend.

    The two times are of different clocks and never to be added: of a simulated device, the host's
    is that of the simulation, and only the device's says anything of a real one.

    Attributes
    ----------
    simulated
        Whether the device is a model of one.
    batches, targets
        Finished on the device.
    bytes_sent, bytes_received
        Of buffers, without the protocol around them.
    host_seconds
        From the first byte to the last, as this machine saw it.
    device_seconds
        The device's cycles over its clock.
    faults
        Times that the device failed, when connecting too.
    """

    simulated: bool = False
    batches: int = 0
    targets: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    host_seconds: float = 0.0
    device_seconds: float = 0.0
    faults: int = 0


class Aggregator(Protocol):
    """Aggregates neighbour embeddings for a batch of target nodes.

    Tables have names, so that a backend may keep copies of them (quantised, on a device).
    """

    @property
    def keeps_tables(self) -> bool:
        """Whether it keeps copies of tables, and so wants to be told what changed in them."""
        ...

    @property
    def work(self) -> DeviceWork | None:
        """What the backend's device did, if it has one."""
        ...

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


def make_aggregator(
    name: str, fanout: int, dimensions: int = 32, board: str = "", bitstream: str = ""
) -> Aggregator:
    """The backend of that name, sampling the `fanout` most recent neighbours.

    Parameters
    ----------
    dimensions
        Width of the embeddings, which "int8" and "pynq" do not all take.
    board, bitstream
        Of "pynq" alone: where the board is ("" for this machine), the file that programs it.

    Raises
    ------
    BackendError
        If there is no such backend, it lacks a package, or it cannot work so.
    """
    if name == "numba":
        from engine.propagation.numba_backend import NumbaAggregator  # noqa: PLC0415

        return NumbaAggregator(fanout)
    if name == "int8":
        from engine.propagation.int8_backend import Int8Aggregator  # noqa: PLC0415

        return Int8Aggregator(fanout, dimensions)
    if name == "numpy":
        from engine.propagation.numpy_backend import NumpyAggregator  # noqa: PLC0415

        return NumpyAggregator(fanout)
    if name == "pynq":
        try:
            from overlays.pynq_aggregator import PynqAggregator  # noqa: PLC0415
        except ModuleNotFoundError as error:
            raise BackendError(
                f"aggregator = 'pynq' needs the package {error.name}: pip install '.[fpga]'"
            ) from None
        return PynqAggregator(fanout, dimensions, board, bitstream)
    raise BackendError(f"aggregator = {name!r}: there are 'numba', 'int8', 'numpy' and 'pynq'")
