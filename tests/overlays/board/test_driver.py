"""The driver, and pynq's own ways to the core, on the twin in this process."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pynq
import pytest
from pynq import Device

from engine.graph import NeighbourRows
from overlays import reference
from overlays.boards import board_named
from overlays.driver import AggregateCore, Batch, CoreError
from overlays.hwh import write_overlay
from overlays.registers import description
from overlays.sim.model import Timing
from overlays.twin.core import make_core
from overlays.twin.device import TwinDevice
from overlays.twin.soc import Soc
from tests.overlays.board.twins import DIMENSIONS, PORTS

TARGETS = np.array([3, 59, 0, 17], np.uint32)
FANOUT, DECAY, SHIFT = 8, 60_000, 13


def put(device: Device, array: np.ndarray) -> pynq.buffer.PynqBuffer:
    """A copy of an array in the board's memory."""
    buffer = pynq.allocate(array.shape, array.dtype, target=device)
    buffer[:] = array
    buffer.flush()
    return buffer


class Prepared:
    """A batch in the board's memory, and what it gives."""

    def __init__(self, device: Device, graph: NeighbourRows, dimensions: int) -> None:
        random = np.random.default_rng(1)
        table = random.integers(0, 256, (200, dimensions), dtype=np.uint8)
        degrees = graph.degree.astype(np.uint64)
        # Kept: a buffer is freed with the last reference to it.
        self.buffers = [put(device, a) for a in (TARGETS, degrees, graph.edges, table)]
        self.out = put(device, np.full((len(TARGETS), dimensions), 0xA5, np.uint8))
        addresses = [buffer.device_address for buffer in (*self.buffers, self.out)]
        self.batch = Batch(
            *addresses,
            base=min(addresses),
            limit=max(addresses) + self.out.nbytes,
            count=len(TARGETS),
            length_log2=graph.length.bit_length() - 1,
            fanout=FANOUT,
            decay=DECAY,
            shift=SHIFT,
        )
        self.expected = reference.aggregate(
            TARGETS, degrees, graph.edges, table, FANOUT, reference.RECENT, DECAY, SHIFT, 0
        )


@pytest.mark.parametrize(("dimensions", "ports"), [(32, 2), (64, 1)])
def test_a_batch_through_the_driver(
    make_device: Callable[..., TwinDevice],
    tmp_path: Path,
    graph: NeighbourRows,
    dimensions: int,
    ports: int,
) -> None:
    device = make_device("kv260", dimensions, ports)
    bit = write_overlay(tmp_path, board_named("kv260"), dimensions, ports)
    core = pynq.Overlay(str(bit), device=device).aggregate_0
    assert isinstance(core, AggregateCore)
    assert (core.dimensions, core.ports) == (dimensions, ports)
    prepared = Prepared(device, graph, dimensions)
    for _ in range(3):
        prepared.out[:] = 0xA5
        cycles = core.run([prepared.batch], timeout=10)
        np.testing.assert_array_equal(prepared.out, prepared.expected)
        assert 100 < cycles < 10_000


def test_more_batches_than_one_write_of_registers_takes(
    device: TwinDevice, overlay: dict[str, Path], graph: NeighbourRows
) -> None:
    core = pynq.Overlay(str(overlay["pynq-z2"]), device=device).aggregate_0
    prepared = [Prepared(device, graph, DIMENSIONS) for _ in range(7)]
    alone = [core.run([one.batch], timeout=10) for one in prepared]
    for one in prepared:
        one.out[:] = 0xA5
    together = core.run([one.batch for one in prepared], timeout=10)
    for one in prepared:
        np.testing.assert_array_equal(one.out, one.expected)
    # The next batch is fetched while this one is worked on.
    assert 0 < together < sum(alone)


def test_a_batch_through_the_register_map(
    device: TwinDevice, overlay: dict[str, Path], graph: NeighbourRows
) -> None:
    core = pynq.Overlay(str(overlay["pynq-z2"]), device=device).aggregate_0
    prepared = Prepared(device, graph, DIMENSIONS)
    registers = core.register_map
    assert int(registers.VERSION) == description()["version"]
    for name in ("DECAY", "COUNT", "TARGETS", "DEGREES", "EDGES", "TABLE", "OUT", "BASE", "LIMIT"):
        setattr(registers, name, getattr(prepared.batch, name.lower()))
    registers.CONFIG.FANOUT = FANOUT
    registers.CONFIG.LENGTH_LOG2 = prepared.batch.length_log2
    registers.CONFIG.SHIFT = SHIFT
    registers.START.START = 1
    while not registers.CTRL.DONE:
        pass
    np.testing.assert_array_equal(prepared.out, prepared.expected)
    assert int(registers.ROWS) == sum(min(int(graph.degree[t]), 16, FANOUT) for t in TARGETS)


@pytest.mark.parametrize(
    ("wrong", "error"), [({"count": 0}, 3), ({"limit": 0x1000_0000 + 64}, 4), ({"fanout": 0}, 3)]
)
def test_reset_after_an_error(
    device: TwinDevice,
    overlay: dict[str, Path],
    graph: NeighbourRows,
    wrong: dict[str, int],
    error: int,
) -> None:
    core = pynq.Overlay(str(overlay["pynq-z2"]), device=device).aggregate_0
    prepared = Prepared(device, graph, DIMENSIONS)
    with pytest.raises(CoreError, match=f"^error {error} "):
        core.run([replace(prepared.batch, **wrong)], timeout=10)
    with pytest.raises(CoreError):
        core.run([prepared.batch], timeout=10)
    core.reset()
    core.run([prepared.batch], timeout=10)
    np.testing.assert_array_equal(prepared.out, prepared.expected)


def test_a_batch_that_takes_too_long(
    verilator: None, overlay: dict[str, Path], graph: NeighbourRows
) -> None:
    board = board_named("pynq-z2")
    # The reset waits for one read that is under way: for its cycles the model takes a fraction of
    # the second that the driver grants, also on a machine that does other things.
    model = make_core(board, DIMENSIONS, PORTS, latency=50_000, outstanding=1)
    device = TwinDevice(Soc(board, model))
    core = pynq.Overlay(str(overlay["pynq-z2"]), device=device).aggregate_0
    prepared = Prepared(device, graph, DIMENSIONS)
    started = time.monotonic()
    with pytest.raises(TimeoutError, match=r"a batch of 4 took more than 0.05 s"):
        core.run([prepared.batch], timeout=0.05)
    assert time.monotonic() - started < 1
    model.set_timing(Timing(latency=30))
    core.reset()
    core.run([prepared.batch], timeout=10)
    np.testing.assert_array_equal(prepared.out, prepared.expected)
