"""PynqAggregator: the reference's bytes, with a board and without."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from engine import EngineSettings, Interaction, Recommender
from engine.graph import NeighbourRows
from engine.propagation import Aggregation, BackendError
from engine.propagation.int8_backend import Int8Aggregator
from overlays import reference
from overlays.pynq_aggregator import PynqAggregator
from overlays.registers import registers
from overlays.twin.device import TwinDevice
from tests.overlays.board.twins import DIMENSIONS, TwinProcess
from tests.streams.waiting import until

FANOUT, DECAY = 11, 0.9


def expected(
    graph: NeighbourRows, targets: NDArray[np.int32], values: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The reference over the graph as it is: float32[n, d]."""
    table = reference.quantise(values)
    rows = reference.aggregate(
        targets.astype(np.uint32),
        graph.degree.astype(np.uint64),
        graph.edges,
        table,
        FANOUT,
        reference.RECENT,
        round(DECAY * 65536),
        reference.pick_shift(int(reference.row_scales(table).max())),
        0,
    )
    return reference.dequantise(rows)


def aggregate(
    aggregator: PynqAggregator,
    graph: NeighbourRows,
    targets: NDArray[np.int32],
    values: NDArray[np.float32],
) -> NDArray[np.float32]:
    out = np.full((len(targets), DIMENSIONS), np.nan, np.float32)
    aggregator.aggregate(Aggregation(graph, targets, "items", values, DECAY, out))
    return out


def until_connected(
    aggregator: PynqAggregator,
    graph: NeighbourRows,
    values: NDArray[np.float32],
    seconds: float = 20,
) -> None:
    def connected() -> bool:
        if aggregator.connected:
            return True
        # It looks for the board when it is asked for something, and finds it in a thread.
        aggregate(aggregator, graph, np.array([0], np.int32), values)
        return False

    until(connected, seconds)


TARGETS = np.array([3, 59, 0, 3, 17, 41], np.int32)
ALL = np.arange(60, dtype=np.int32)


def test_equals_the_reference_in_process(
    device: TwinDevice, overlay: dict[str, Path], graph: NeighbourRows, values: NDArray[np.float32]
) -> None:
    aggregator = PynqAggregator(FANOUT, DIMENSIONS, device, overlay["pynq-z2"])
    for targets in (TARGETS, ALL, TARGETS[:1]):
        got = aggregate(aggregator, graph, targets, values)
        np.testing.assert_array_equal(got, expected(graph, targets, values))
    assert aggregator.work.faults == 0
    assert (aggregator.work.batches, aggregator.work.targets) == (3, 67)


def test_equals_the_reference_over_the_network(
    twin: TwinProcess, graph: NeighbourRows, values: NDArray[np.float32]
) -> None:
    aggregator = PynqAggregator(FANOUT, DIMENSIONS, twin.address, twin.bit)
    for targets in (TARGETS, ALL, TARGETS[:1]):
        got = aggregate(aggregator, graph, targets, values)
        np.testing.assert_array_equal(got, expected(graph, targets, values))
    assert aggregator.work.faults == 0
    assert aggregator.work.targets == 67
    aggregator.close()


def test_times_of_host_and_device_are_apart_and_marked(
    twin: TwinProcess, graph: NeighbourRows, values: NDArray[np.float32]
) -> None:
    aggregator = PynqAggregator(FANOUT, DIMENSIONS, twin.address, twin.bit)
    aggregate(aggregator, graph, ALL, values)
    work = aggregator.work
    assert work.simulated
    # 60 targets at 100 to 300 MHz: microseconds on the device, milliseconds of calls.
    assert 1e-6 < work.device_seconds < 1e-3 < work.host_seconds
    aggregator.close()


def test_only_learnt_rows_go_to_a_resident_table(
    device: TwinDevice, overlay: dict[str, Path], graph: NeighbourRows, values: NDArray[np.float32]
) -> None:
    aggregator = PynqAggregator(FANOUT, DIMENSIONS, device, overlay["pynq-z2"])
    targets = TARGETS[:1]
    aggregate(aggregator, graph, targets, values)
    first = aggregator.work.bytes_sent
    aggregate(aggregator, graph, targets, values)
    edges = aggregator.work.bytes_sent - first
    assert first - edges == 200 * DIMENSIONS

    learnt = np.array([7, 150, 7, int(graph.edges[3, 0] & 0xFF_FFFF)], np.int32)
    values[learnt] *= np.float32(-1.5)
    aggregator.changed("items", learnt)
    got = aggregate(aggregator, graph, targets, values)
    assert aggregator.work.bytes_sent - first - 2 * edges == 3 * DIMENSIONS
    np.testing.assert_array_equal(got, expected(graph, targets, values))

    # What nobody reported does not reach the board.
    values[:] = 0
    np.testing.assert_array_equal(aggregate(aggregator, graph, targets, values), got)


def test_what_a_step_asks_for_takes_four_calls_and_has_the_bytes_of_int8(
    twin: TwinProcess, graph: NeighbourRows, values: NDArray[np.float32]
) -> None:
    board = PynqAggregator(FANOUT, DIMENSIONS, twin.address, twin.bit)
    here = Int8Aggregator(FANOUT, DIMENSIONS)
    random = np.random.default_rng(7)
    tables = {"long": values, "short": values[:200] * 40, "directions": values[::-1] / 7}
    outs = {
        name: np.full((3, 2, DIMENSIONS), np.nan, np.float32) for name in ("board", "processor")
    }
    # The first time, two buffers are allocated for it: three calls each.
    for number, seen in enumerate((False, False, True, True)):
        calls = board.work.calls
        changed = random.integers(0, 200, 5).astype(np.int32)
        for name, table in tables.items():
            table[changed] *= np.float32(-1.25)
            board.changed(name, changed)
            here.changed(name, changed)
        nodes = [ALL[20 * at : 20 * at + 1 + number % 2] for at in (1, 2)]
        for aggregator, out in zip((board, here), outs.values(), strict=True):
            aggregator.aggregate(
                *(
                    Aggregation(graph, at, name, tables[name], decay, row[: len(at)])
                    for (name, decay), at, row in zip(
                        (("long", 0.9), ("short", 0.5), ("directions", 0.97)),
                        (nodes[0], nodes[0], nodes[1]),
                        out,
                        strict=True,
                    )
                )
            )
        assert outs["board"].tobytes() == outs["processor"].tobytes()
        assert board.work.calls - calls == (4 if seen else 10)
    assert (board.work.faults, board.work.batches, board.work.targets) == (0, 12, 18)
    board.close()


def test_an_event_of_the_engine_takes_four_calls_and_leaves_what_int8_leaves(
    twin: TwinProcess,
) -> None:
    random = np.random.default_rng(3)
    events = [
        Interaction(
            event_id=str(number),
            user=f"user {random.integers(6)}",
            item=f"item {random.integers(40)}",
            timestamp=float(number),
            kind="view",
        )
        for number in range(60)
    ]
    engines = [
        Recommender(
            EngineSettings(
                model="gnn", aggregator=name, board=twin.address, bitstream=str(twin.bit),
                dimensions=DIMENSIONS,
            )
        )
        for name in ("pynq", "int8")
    ]  # fmt: skip
    answers = [[answer.items for answer in engine.observe_many(events)] for engine in engines]
    assert answers[0] == answers[1]
    embeddings = [engine.embeddings for engine in engines]
    for name in ("users", "second_hop", "inputs", "directions"):
        board, here = (getattr(one, name) for one in embeddings)
        assert board.tobytes() == here.tobytes(), name
    work = engines[0].embeddings.aggregator.work
    assert work is not None
    assert (work.faults, work.batches) == (0, 3 * len(events))
    # Three more calls for each new size of a buffer.
    assert 0 < work.calls - 4 * len(events) <= 3 * 10
    embeddings[0].aggregator.close()  # type: ignore[attr-defined]


def test_bytes_over_the_network_do_not_grow_with_the_table(
    twin: TwinProcess, graph: NeighbourRows, values: NDArray[np.float32]
) -> None:
    aggregator = PynqAggregator(FANOUT, DIMENSIONS, twin.address, twin.bit)
    large = np.concatenate([values] * 20)
    aggregate(aggregator, graph, TARGETS[:1], large)
    assert aggregator.work.bytes_sent < 1024
    aggregator.close()


def test_tables_that_grow(
    device: TwinDevice, overlay: dict[str, Path], graph: NeighbourRows, values: NDArray[np.float32]
) -> None:
    aggregator = PynqAggregator(FANOUT, DIMENSIONS, device, overlay["pynq-z2"])
    aggregate(aggregator, graph, TARGETS, values)
    large = np.concatenate([values, 3 * values, -2 * values])
    graph.edges += np.uint32(300)
    got = aggregate(aggregator, graph, ALL, large)
    np.testing.assert_array_equal(got, expected(graph, ALL, large))


def test_an_error_of_the_core_is_reset_and_the_table_sent_anew(
    device: TwinDevice, overlay: dict[str, Path], graph: NeighbourRows, values: NDArray[np.float32]
) -> None:
    aggregator = PynqAggregator(FANOUT, DIMENSIONS, device, overlay["pynq-z2"], retry=0.1)
    aggregate(aggregator, graph, ALL, values)
    core = device.soc.board.core
    device.soc.write_word(core + registers()["COUNT"].offset, 0)
    device.soc.write_word(core + registers()["START"].offset, 1)
    learnt = np.array([9, 120], np.int32)
    for _ in range(2):  # on this machine: with the board failed, and with it away
        values[learnt] += np.float32(0.5)
        aggregator.changed("items", learnt)
        got = aggregate(aggregator, graph, ALL, values)
        np.testing.assert_array_equal(got, expected(graph, ALL, values))
    assert (aggregator.work.faults, aggregator.work.batches) == (1, 1)
    sent = aggregator.work.bytes_sent
    until_connected(aggregator, graph, values)
    got = aggregate(aggregator, graph, ALL, values)
    np.testing.assert_array_equal(got, expected(graph, ALL, values))
    assert aggregator.work.batches > 1
    assert aggregator.work.bytes_sent - sent > 200 * DIMENSIONS


def test_a_killed_board_is_replaced_and_found_again(
    verilator: None,
    tmp_path: Path,
    graph: NeighbourRows,
    values: NDArray[np.float32],
    caplog: pytest.LogCaptureFixture,
) -> None:
    twin = TwinProcess("pynq-z2", tmp_path)
    aggregator = PynqAggregator(FANOUT, DIMENSIONS, twin.address, twin.bit, retry=0.2)
    try:
        before = aggregate(aggregator, graph, ALL, values)
        twin.kill()
        after = aggregate(aggregator, graph, ALL, values)
        assert after.tobytes() == before.tobytes()
        assert aggregator.work.faults == 1
        assert not aggregator.connected
        assert [record.levelname for record in caplog.records] == ["WARNING"]

        twin.start()
        until_connected(aggregator, graph, values)
        batches = aggregator.work.batches
        assert aggregate(aggregator, graph, ALL, values).tobytes() == before.tobytes()
        assert aggregator.work.batches == batches + 1
        warnings = [record for record in caplog.records if record.levelname == "WARNING"]
        assert len(warnings) == 1
    finally:
        aggregator.close()
        twin.kill()


def test_a_frozen_board_costs_one_timeout(
    verilator: None, tmp_path: Path, graph: NeighbourRows, values: NDArray[np.float32]
) -> None:
    twin = TwinProcess("zcu104", tmp_path)
    aggregator = PynqAggregator(FANOUT, DIMENSIONS, twin.address, twin.bit, timeout=0.5, retry=0.5)
    try:
        before = aggregate(aggregator, graph, ALL, values)
        os.kill(twin.process.pid, signal.SIGSTOP)
        started = time.monotonic()
        after = aggregate(aggregator, graph, ALL, values)
        assert 0.5 < time.monotonic() - started < 2
        started = time.monotonic()
        again = aggregate(aggregator, graph, ALL, values)
        assert time.monotonic() - started < 0.4
        assert before.tobytes() == after.tobytes() == again.tobytes()
        assert aggregator.work.faults == 1
        os.kill(twin.process.pid, signal.SIGCONT)
        until_connected(aggregator, graph, values)
        assert aggregate(aggregator, graph, ALL, values).tobytes() == before.tobytes()
    finally:
        aggregator.close()
        twin.kill()


def test_a_board_that_is_not_there(
    overlay: dict[str, Path], graph: NeighbourRows, values: NDArray[np.float32]
) -> None:
    aggregator = PynqAggregator(FANOUT, DIMENSIONS, "127.0.0.1:9", overlay["pynq-z2"])
    assert aggregator.work.faults == 1
    got = aggregate(aggregator, graph, TARGETS, values)
    np.testing.assert_array_equal(got, expected(graph, TARGETS, values))


def test_closing_gives_the_memory_back(
    device: TwinDevice, overlay: dict[str, Path], graph: NeighbourRows, values: NDArray[np.float32]
) -> None:
    free = device.soc.free
    aggregator = PynqAggregator(FANOUT, DIMENSIONS, device, overlay["pynq-z2"])
    aggregate(aggregator, graph, ALL, values)
    assert device.soc.free < free
    aggregator.close()
    assert device.soc.free == free


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"dimensions": 48}, "dimensions = 48"),
        ({"dimensions": 64}, "built for dimensions = 32"),
        ({"fanout": 65}, "fanout = 65"),
        ({"bitstream": "/nowhere.bit"}, "no file /nowhere.bit"),
        ({"bitstream": ""}, "bitstream is empty"),
    ],
)
def test_settings_that_cannot_work(
    device: TwinDevice, overlay: dict[str, Path], arguments: dict[str, object], words: str
) -> None:
    settings = {"fanout": 8, "dimensions": 32, "board": device, "bitstream": overlay["pynq-z2"]}
    with pytest.raises(BackendError, match=words):
        PynqAggregator(**(settings | arguments))  # type: ignore[arg-type]
