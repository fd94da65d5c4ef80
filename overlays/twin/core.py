"""The simulated core of a board and the memory behind it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from overlays.boards import Board
from overlays.sim.model import Model, Timing


def make_core(board: Board, dimensions: int, ports: int, **timing: float) -> Model:
    """A core with a board's contiguous memory. The first of its kind is compiled: a minute or so.

    Parameters
    ----------
    dimensions, ports
        How it is built: D, and the read ports.
    timing
        What of `Timing` is to be other than the board's.

    Raises
    ------
    MissingToolError
        If there is no Verilator or no C++ compiler.
    """
    return Model(
        np.zeros(board.memory_bytes, np.uint8),
        base=board.memory,
        dimensions=dimensions,
        ports=ports,
        timing=replace(memory_timing(board), **timing),  # type: ignore[arg-type]
    )


def memory_timing(board: Board) -> Timing:
    """A board's DDR, in cycles of its core's clock.

    PYNQ-Z2: DDR3-1050, 16 bits wide (4.2 GB/s); ZCU104: DDR4-2133, 64 bits; KV260: DDR4-2400, 64
    bits. tRC, tFAW and refresh are of such parts' data sheets; the latency, from the fabric through
    the port and back, is a guess until a board has been measured.
    """
    name = "pynq-z2" if board.zynq_7000 else board.name.lower()
    bytes_per_ns = {"pynq-z2": 4.2, "zcu104": 17.1, "kv260": 19.2}[name]
    cycles = board.clock / 1000  # in a nanosecond
    return Timing(
        latency=round((180 if board.zynq_7000 else 150) * cycles),
        row_miss=49 * cycles,
        line=32 / bytes_per_ns * cycles,
        four_activates=40 * cycles,
        refresh_every=7800 * cycles,
        refresh=260 * cycles,
    )
