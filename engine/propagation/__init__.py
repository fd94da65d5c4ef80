"""Propagation (Eq. 1): a node's embedding is the weighted mean of its neighbours'.

    e_v = sum_q w_q x_{n_q} / sum_q w_q,      w_q = weight_q * decay^q,  q = 0 the most recent

Backends implement `Aggregator`; `engine.propagation.registry` is the one place that picks one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

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
    calls
        Over the network, for those batches; 0 where the device is this machine's own.
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
    calls: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    host_seconds: float = 0.0
    device_seconds: float = 0.0
    faults: int = 0


class Aggregation(NamedTuple):
    """The aggregates of some nodes' neighbours in one table.

    Attributes
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
        Each target's aggregate is written to its row.
    """

    graph: NeighbourRows
    targets: NDArray[np.int32]
    table: str
    values: NDArray[np.float32]
    decay: float
    out: NDArray[np.float32]


class Aggregator(Protocol):
    """Aggregates neighbour embeddings.

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

    def aggregate(self, *asked: Aggregation) -> None:
        """Write what is asked for to each `out`; a device gets all of it at once."""
        ...
