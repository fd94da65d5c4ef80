"""A board that is connected and programmed, and the memory that is taken on it."""

from __future__ import annotations

import contextlib
import socket
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of pkg_resources, and that this machine is no Zynq
    from pynq import Clocks, Device, Overlay
    from pynq.pl_server.remote_device import PYNQ_PORT, RemoteDevice

from engine.propagation import BackendError, DeviceWork
from overlays.calls import Calls
from overlays.driver import VLNV, AggregateCore, Batch
from overlays.jobs import Job

FAULTS = (RuntimeError, OSError, MemoryError, grpc.RpcError)
"""What a board, its network and pynq raise."""
_CONNECT_SECONDS = 60.0  # of one call: a bitstream is some 20 MB
_REACH_SECONDS = 2.0
_ALIGNMENT = 128  # of a table of any D; edges, degrees and targets need less
_TWIN = "(twin)"


@dataclass(frozen=True)
class _Buffer:
    array: Any
    """pynq's: u8[size]."""
    address: int
    """On the device; pynq asks the board for it each time."""


class Link:
    """A programmed board.

    Parameters
    ----------
    board, bitstream, timeout
        As of `PynqAggregator`.
    dimensions
        D of the core that is wanted.

    Attributes
    ----------
    work : DeviceWork

    Raises
    ------
    BackendError
        If the overlay has another D, or no core of the driver's version.
    RuntimeError, OSError, grpc.RpcError
        If the board does not answer.
    """

    def __init__(
        self, board: str | Device, bitstream: Path, dimensions: int, timeout: float
    ) -> None:
        self._timeout = timeout
        self._opened = isinstance(board, str) and board != ""
        self._device = _open(board) if isinstance(board, str) else board
        remote = bool(self._device.has_capability("REMOTE"))
        self._calls = Calls(self._device, _CONNECT_SECONDS) if remote else None
        # pynq writes some registers on whichever device is the active one, and keeps the clocks of
        # the first device that a process had.
        Device.active_device = self._device
        if hasattr(Clocks, "_real_instance"):
            del Clocks._real_instance
        overlay = Overlay(str(bitstream.resolve()), device=self._device)
        self._core = _find_core(overlay)
        if self._core.dimensions != dimensions:
            raise BackendError(
                f"{bitstream.name} is built for dimensions = {self._core.dimensions}, "
                f"not {dimensions}"
            )
        self._hertz = Clocks.fclk0_mhz * 1e6
        self._staging: dict[int, _Buffer] = {}
        self._out: dict[int, _Buffer] = {}
        self._tables: dict[str, _Buffer] = {}
        self.work = DeviceWork(simulated=self._device.name.endswith(_TWIN))
        if self._calls:
            self._calls.seconds = timeout

    def run(self, jobs: Sequence[Job]) -> NDArray[np.uint8]:
        """Run jobs on the core, all by one transfer there and one back.

        Returns
        -------
        NDArray
            The aggregates of all their targets, in order: u8[targets, d].
        """
        started = time.perf_counter()
        before = self._made()
        if self._calls:
            jobs = [job.gathered() for job in jobs]
        numbers = np.arange(max(map(len, jobs)), dtype=np.uint32)
        staged, addresses = self._stage(
            numbers,
            *(job.edges for job in jobs),
            *(job.degrees for job in jobs),
            *(job.table for job in jobs if self._calls),
        )
        resident = [] if self._calls else [self._keep(job) for job in jobs]
        addresses += [buffer.address for buffer in resident]
        count, dimensions = sum(map(len, jobs)), jobs[0].table.shape[1]
        out = self._buffer(self._out, count * dimensions)
        used = (staged, out, *resident)
        batches, first = [], 0
        for at, job in enumerate(jobs, 1):
            batches.append(
                Batch(
                    targets=addresses[0],
                    edges=addresses[at],
                    degrees=addresses[at + len(jobs)],
                    table=addresses[at + 2 * len(jobs)],
                    out=out.address + first * dimensions,
                    base=min(buffer.address for buffer in used),
                    limit=max(buffer.address + buffer.array.nbytes for buffer in used),
                    count=len(job),
                    length_log2=job.edges.shape[1].bit_length() - 1,
                    fanout=job.fanout,
                    decay=job.decay,
                    shift=job.shift,
                )
            )
            first += len(job)
        cycles = self._core.run(batches, self._timeout)
        out.array.invalidate()
        result = np.array(out.array[: count * dimensions]).reshape(count, dimensions)
        self.work.batches += len(jobs)
        self.work.targets += count
        self.work.calls += self._made() - before
        self.work.bytes_received += out.array.nbytes
        self.work.host_seconds += time.perf_counter() - started
        self.work.device_seconds += cycles / self._hertz
        return result

    def close(self) -> None:
        """Stop the core and give the memory back, as far as the board answers."""
        buffers = [*self._staging.values(), *self._out.values(), *self._tables.values()]
        with contextlib.suppress(*FAULTS):  # a board that is gone has taken its memory along
            self._core.reset()
            for buffer in buffers:
                buffer.array.freebuffer()
        self._staging, self._out, self._tables = {}, {}, {}
        if self._calls:
            self._calls.close()
        if self._opened:
            self._device.client.channel.close()

    def _made(self) -> int:
        """Calls over the network so far."""
        return self._calls.made if self._calls else 0

    def _stage(self, *parts: NDArray[Any]) -> tuple[_Buffer, list[int]]:
        """Send arrays in one buffer; the buffer, and the device address of each."""
        offsets, end = [], 0
        for part in parts:
            offsets.append(-(-end // _ALIGNMENT) * _ALIGNMENT)
            end = offsets[-1] + part.nbytes
        buffer = self._buffer(self._staging, end)
        for offset, part in zip(offsets, parts, strict=True):
            buffer.array[offset : offset + part.nbytes] = part.reshape(-1).view(np.uint8)
        self._send(buffer, buffer.array.nbytes)
        return buffer, [buffer.address + offset for offset in offsets]

    def _keep(self, job: Job) -> _Buffer:
        """The resident copy of a job's table, brought up to date."""
        buffer, table, renewed = self._tables.get(job.name), job.table, job.renewed
        if buffer is None or buffer.array.nbytes < table.nbytes:
            if buffer is not None:
                del self._tables[job.name]
                buffer.array.freebuffer()
            # Twice the rows, so that it seldom moves.
            array = self._device.allocate((2 * table.nbytes,), np.uint8, cacheable=False)
            buffer = self._tables[job.name] = _Buffer(array, array.device_address)
            renewed = np.arange(len(table))
        if len(renewed):
            renewed = np.unique(renewed)
            copy = np.asarray(buffer.array)[: table.nbytes].reshape(table.shape)
            copy[renewed] = table[renewed]
            self._send(buffer, len(renewed) * table.shape[1])
        return buffer

    def _send(self, buffer: _Buffer, changed: int) -> None:
        buffer.array.flush()
        self.work.bytes_sent += changed

    def _buffer(self, buffers: dict[int, _Buffer], size: int) -> _Buffer:
        """One of at least `size` bytes and at most a quarter more: all of it is sent."""
        step = 1 << max(6, size.bit_length() - 3)
        size = -(-size // step) * step
        if size not in buffers:
            array = self._device.allocate((size,), np.uint8)
            array[:] = 0
            buffers[size] = _Buffer(array, array.device_address)
        return buffers[size]


def _open(board: str) -> Device:
    """The device of an address, or this machine's own."""
    if not board:
        return Device.active_device
    host, _, number = board.partition(":")
    port = int(number or PYNQ_PORT)
    # Says at once that nobody is there; pynq's own attempt takes 5 s to.
    socket.create_connection((host, port), timeout=_REACH_SECONDS).close()
    return RemoteDevice(0, host, port)


def _find_core(overlay: Overlay) -> AggregateCore:
    for name, entry in overlay.ip_dict.items():
        if entry.get("type") == VLNV:
            core = getattr(overlay, name)
            if not isinstance(core, AggregateCore):  # pynq has warned, and bound its own driver
                raise BackendError("the overlay's core has another version than the driver")
            return core
    raise BackendError(f"the overlay has no {VLNV}")
