"""Aggregation on a board: the engine's `aggregator = "pynq"`.

What is sent. The targets' most recent edges are always packed densely, oldest first, as ring rows
of nodes 0 to n-1; so the board needs no copy of the graph. With the table, the two ways differ:

- On the board itself (a Zynq that runs the engine), a quantised copy of each table stays in memory
  that the core reads; rows that were learnt are written to it one by one. The buffer is not
  cacheable: pynq cleans the caches of whole buffers only.
- Over the network pynq 4.0.0 sends whole buffers only, also when asked for a slice (it writes the
  slice to offset 0). A resident table would cost its size for every event. So the rows that the
  targets' edges name are gathered here, once each, and follow the edges in one buffer, the edges
  renumbered. That is some 1.3 kB for a target of 32 neighbours with D = 32, whatever the size of
  the catalogue, and leaves to the board the arithmetic only: the far board is for development and
  measurement. What is asked for at once takes four calls: the buffer written, the registers of all
  batches written (four batches a write), CTRL read, the results read.

Whatever goes wrong with the board, the same bytes are computed on this machine instead, and the
board is tried again later, in the background: an event never waits for a connection.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace
from pathlib import Path

import grpc
import numpy as np
from numpy.typing import NDArray
from pynq import Device

from engine.propagation import Aggregation, BackendError, DeviceWork, int8
from engine.propagation.quantised import QuantisedTable
from overlays.jobs import Job, pack
from overlays.link import FAULTS, Link

_LOG = logging.getLogger(__name__)
_DIMENSIONS = (32, 64, 128)
_TARGETS = 1024  # at once: bounds the buffers, and what a simulation takes


class PynqAggregator:
    """Weighted means of the most recent neighbours' embeddings, by the core on a board.

    Parameters
    ----------
    fanout
        Most recent neighbours that are aggregated, 1 to 64.
    dimensions
        Of the embeddings: 32, 64 or 128, as the overlay was built.
    board
        "" for this machine's own fabric, "address" or "address:port" for a board (or a twin) that
        runs pynq's remote server, or a pynq device.
    bitstream
        The overlay's .bit, its .hwh beside it.
    timeout
        Seconds that a batch, and each call over the network, may take.
    retry
        Seconds after a fault until the board is tried again.

    Attributes
    ----------
    work : DeviceWork

    Raises
    ------
    BackendError
        If the settings cannot work, on whatever board: `dimensions`, `fanout`, or an overlay that
        does not exist or has another D or version. A board that does not answer is a fault, not
        an error.
    """

    keeps_tables = True

    def __init__(
        self,
        fanout: int,
        dimensions: int,
        board: str | Device,
        bitstream: str | Path,
        timeout: float = 1.0,
        retry: float = 10.0,
    ) -> None:
        if dimensions not in _DIMENSIONS:
            raise BackendError(
                f"dimensions = {dimensions}: aggregator = 'pynq' takes 32, 64 or 128, "
                "for which the core is built"
            )
        if not 1 <= fanout <= int8.MOST:
            raise BackendError(f"fanout = {fanout}: the core takes 1 to {int8.MOST}")
        self._fanout = fanout
        self._dimensions = dimensions
        self._board = board
        self._bitstream = Path(bitstream)
        if not self._bitstream.name:
            raise BackendError(
                "aggregator = 'pynq' needs an overlay, and bitstream is empty: name its .bit"
            )
        for file in (self._bitstream, self._bitstream.with_suffix(".hwh")):
            if not file.is_file():
                raise BackendError(
                    f"aggregator = 'pynq' needs an overlay, bitstream = {str(bitstream)!r}: "
                    f"there is no file {file}"
                )
        self._timeout = timeout
        self._retry = retry
        self._tables: dict[str, QuantisedTable] = {}
        self._link: Link | None = None
        self._lost: Link | None = None  # failed, and not closed yet
        self._lock = threading.Lock()
        self._connecting: threading.Thread | None = None
        self._next_try = 0.0
        self._failing = False
        self._closed = False
        self.work = DeviceWork()
        # A fault must not wait for a compiler.
        nothing = Job(
            np.zeros((1, 8), np.uint32), np.zeros(1, np.uint64), fanout=1, decay=1, shift=0,
            name="", table=np.zeros((1, dimensions), np.uint8), renewed=np.zeros(0, np.int64),
        )  # fmt: skip
        nothing.run_here()
        self._connect()

    @property
    def connected(self) -> bool:
        """Whether the next batch goes to the board."""
        return self._link is not None

    def changed(self, table: str, rows: NDArray[np.int32]) -> None:
        """See `Aggregator.changed`."""
        if table in self._tables:  # else all of them are new
            self._tables[table].changed(rows)

    def aggregate(self, *asked: Aggregation) -> None:
        """See `Aggregator.aggregate`.

        Raises
        ------
        BackendError
            If some `values` have another width than the aggregator was made for.
        """
        self._reconnect()
        jobs: list[Job] = []
        outs: list[NDArray[np.float32]] = []
        for one in asked:
            for start in range(0, len(one.targets), _TARGETS):
                part = slice(start, start + _TARGETS)
                job = self._job(one, one.targets[part])
                if sum(map(len, jobs)) + len(job) > _TARGETS:
                    self._run(jobs, outs)
                    jobs, outs = [], []
                jobs.append(job)
                outs.append(one.out[part])
        if jobs:
            self._run(jobs, outs)

    def close(self) -> None:
        """Give the board back; what is aggregated later is so on this machine."""
        with self._lock:
            self._closed = True
            link, self._link, self._lost = self._link or self._lost, None, None
        if link is not None:
            link.close()

    def _job(self, one: Aggregation, targets: NDArray[np.int32]) -> Job:
        """The job of some of an aggregation's targets (int32[n])."""
        if one.values.shape[1] != self._dimensions:
            raise BackendError(f"values of width {one.values.shape[1]}, not {self._dimensions}")
        table = self._tables.setdefault(one.table, QuantisedTable(self._dimensions))
        renewed = table.refresh(one.values)
        edges, degrees = pack(one.graph, targets, self._fanout)
        decay = max(1, round(one.decay * 65536))
        return Job(edges, degrees, self._fanout, decay, table.shift, one.table, table.rows, renewed)

    def _run(self, jobs: list[Job], outs: list[NDArray[np.float32]]) -> None:
        """Write the jobs' aggregates (float32[n, d] each), from the board if it is there."""
        link = self._link
        rows = None
        if link is not None:
            try:
                rows = link.run(jobs)
            except FAULTS as error:
                self._link, self._lost = None, link
                self._fail(error)
        if rows is None:
            rows = np.concatenate([job.run_here() for job in jobs])
        for out in outs:
            int8.dequantise_rows(rows[: len(out)], out)
            rows = rows[len(out) :]

    def _reconnect(self) -> None:
        """Start to connect in the background, if it is time to."""
        if self._link is not None or self._closed or time.monotonic() < self._next_try:
            return
        if self._connecting is None or not self._connecting.is_alive():
            self._next_try = time.monotonic() + self._retry
            self._connecting = threading.Thread(target=self._connect_again, daemon=True)
            self._connecting.start()

    def _connect(self) -> None:
        """Connect; a board that does not answer is a fault."""
        try:
            link = Link(self._board, self._bitstream, self._dimensions, self._timeout)
        except FAULTS as error:
            self._fail(error)
            return
        link.work = replace(self.work, simulated=link.work.simulated)
        with self._lock:
            if self._closed:
                link.close()
                return
            self.work = link.work
            self._link = link
        if self._failing:
            _LOG.info("The board is back.")
        self._failing = False

    def _connect_again(self) -> None:
        """In the background: the board may not answer."""
        lost, self._lost = self._lost, None
        if lost is not None:
            lost.close()
        try:
            self._connect()
        except BackendError as error:  # the overlay was replaced by one that does not fit
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        """Count a fault, say so unless the board was failing already, and try again later."""
        self.work.faults += 1
        self._next_try = time.monotonic() + self._retry
        if not self._failing:
            _LOG.warning(
                "The board failed (%s). This machine aggregates in its place, to the same bytes, "
                "and tries it again every %g s.", _sentence(error), self._retry,
            )  # fmt: skip
        self._failing = True


def _sentence(error: BaseException) -> str:
    """What an error says, in one line."""
    if isinstance(error, grpc.RpcError) and hasattr(error, "details"):
        return f"{error.code().name}: {error.details()}"
    return f"{type(error).__name__}: {error}"
