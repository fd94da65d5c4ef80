"""The core gives the reference's bytes, whatever the batch and the memory."""

import numpy as np
import pytest
from problems import CTRL, GUARD, Bench, Problem, check_large_sums, check_random, problem

from overlays import reference
from overlays.sim.model import BASE, Model, Timing


def test_random_batches(bench: Bench) -> None:
    assert check_random(bench, seed=bench.dimensions, batches=200) >= 200


def test_random_batches_without_a_shift(bench: Bench) -> None:
    check_large_sums(bench, seed=bench.dimensions, batches=30)


def full(rng: np.random.Generator, dimensions: int, targets: int, **changes: int) -> Problem:
    """A batch whose targets all have more than `fanout` neighbours."""
    nodes, length, rows = 300, 64, 2000
    edges = rng.integers(0, rows, (nodes, length)) | rng.integers(1, 256, (nodes, length)) << 24
    settings = {"fanout": 16, "mode": 0, "decay": 62000, "shift": 14, "seed": 3} | changes
    return Problem(
        targets=rng.integers(0, nodes, targets).astype(np.uint32),
        degrees=rng.integers(length, 1000, nodes).astype(np.uint64),
        edges=edges.astype(np.uint32),
        table=rng.integers(0, 256, (rows, dimensions)).astype(np.uint8),
        **settings,
    )


def test_a_long_batch_with_more_targets_than_a_burst_or_a_counter_of_bits(bench64: Bench) -> None:
    batch = full(np.random.default_rng(1), 64, targets=1001, fanout=2)
    np.testing.assert_array_equal(bench64.run(batch), batch.expected())


@pytest.mark.long
@pytest.mark.parametrize("count", [1, 2, 3])
def test_two_ports_share_a_batch_of_few(verilator: None, count: int) -> None:
    bench = Bench(32, 2)
    batch = full(np.random.default_rng(count), 32, targets=count)
    np.testing.assert_array_equal(bench.run(batch), batch.expected())


def test_cycles_per_target_and_payload(bench64: Bench) -> None:
    batch = full(np.random.default_rng(0), 64, targets=300)
    np.testing.assert_array_equal(bench64.run(batch), batch.expected())
    assert bench64.read("ROWS") == 300 * 16
    assert bench64.read("READ_BEATS") == bench64.model.read_beats
    assert bench64.read("CYCLES") / 300 <= 150
    assert bench64.control("ELAPSED") == bench64.read("CYCLES") // 64 > 0
    assert bench64.read("ROWS") * 8 / bench64.read("READ_BEATS") >= 0.9


def test_hashed_sampling_costs_little_more_at_latency_64(bench64: Bench) -> None:
    cycles = []
    for mode in (reference.RECENT, reference.HASHED):
        bench64.reset()
        bench64.model.set_timing(Timing(latency=64))
        batch = full(np.random.default_rng(0), 64, targets=300, mode=mode)
        np.testing.assert_array_equal(bench64.run(batch), batch.expected())
        cycles.append(bench64.read("CYCLES"))
    assert cycles[1] <= 1.1 * cycles[0]


@pytest.mark.long
def test_two_ports_are_nearly_twice_as_fast(verilator: None) -> None:
    # Two ports serve this fanout as fast as one serves the half of the targets.
    bench = Bench(32, 2)
    batch = full(np.random.default_rng(0), 32, targets=400)
    np.testing.assert_array_equal(bench.run(batch), batch.expected())
    beats_a_port = bench.read("READ_BEATS") / 2
    assert bench.read("CYCLES") <= beats_a_port * 1.1


def test_the_next_batch_is_fetched_before_this_one_is_written(bench64: Bench) -> None:
    batch = full(np.random.default_rng(5), 64, targets=4)
    loaded = [bench64.load(batch) for _ in range(6)]
    alone = []
    for values in loaded[:2]:
        bench64.reset()
        bench64.start(values)
        bench64.wait("IDLE", 1)
        alone.append(bench64.read("CYCLES"))
    bench64.reset()
    for values in loaded:
        bench64.start(values)
    bench64.wait("IDLE", 1)
    # A batch of four alone costs the way through the core as well; queued ones do not.
    assert bench64.read("CYCLES") < 0.8 * 6 * alone[1]
    for values in loaded:
        np.testing.assert_array_equal(bench64.result(values), batch.expected())


def test_the_queue_takes_two_and_a_third_start_waits(either: Bench) -> None:
    batch = full(np.random.default_rng(2), either.dimensions, targets=40)
    loaded = [either.load(batch) for _ in range(4)]
    either.start(loaded[0])
    assert either.control("IDLE") == 0
    assert either.control("FULL") == 0
    either.start(loaded[1], block=1)
    assert either.control("FULL") == 1
    assert either.control("DONE") == 0
    for done, block in ((1, 2), (2, 3)):
        either.start(loaded[block], block)
        assert either.control("DONE") == done
        assert either.control("FULL") == 1
    either.wait("IDLE", 1)
    assert (either.control("DONE"), either.control("ERROR")) == (4, 0)
    for values in loaded:
        np.testing.assert_array_equal(either.result(values), batch.expected())


def test_a_start_that_waits_is_ignored_after_an_error(either: Bench) -> None:
    batch = full(np.random.default_rng(2), either.dimensions, targets=40)
    loaded = [either.load(batch) for _ in range(3)]
    either.start(loaded[0] | {"EDGES": BEYOND})
    for block in (1, 2):
        either.start(loaded[block], block)
    either.wait("IDLE", 1)
    assert (either.control("DONE"), either.control("ERROR")) == (2, 4)
    assert (either.result(loaded[2]) == GUARD).all()


def test_a_start_without_its_bit_starts_nothing(bench64: Bench) -> None:
    bench64.write(**bench64.load(full(np.random.default_rng(2), 64, targets=1)), START=0)
    assert bench64.control("IDLE") == 1


def test_irq(bench64: Bench) -> None:
    batch = full(np.random.default_rng(0), 64, targets=2)
    values = bench64.load(batch)
    bench64.start(values)
    bench64.wait("IDLE", 1)
    assert bench64.read("IRQ_STATUS") == 1
    assert not bench64.model.irq
    bench64.write(IRQ_ENABLE=1)
    bench64.model.run(2)
    assert bench64.model.irq
    bench64.write(IRQ_STATUS=0)
    assert bench64.read("IRQ_STATUS") == 1
    bench64.write(IRQ_STATUS=1)
    bench64.model.run(2)
    assert bench64.read("IRQ_STATUS") == 0
    assert not bench64.model.irq
    bench64.start(values)
    bench64.model.run(2000)
    assert bench64.model.irq


BEYOND = 0x3000_0000  # no memory there, though LIMIT may allow it


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"TABLE": BEYOND, "LIMIT": 0xFFFF_FFFF}, 1),
        ({"TARGETS": BEYOND, "LIMIT": 0xFFFF_FFFF}, 1),
        ({"DEGREES": BEYOND, "LIMIT": 0xFFFF_FFFF}, 1),
        ({"EDGES": BEYOND, "LIMIT": 0xFFFF_FFFF}, 1),
        ({"OUT": BEYOND, "LIMIT": 0xFFFF_FFFF}, 2),
        ({"COUNT": 0}, 3),
        ({"COUNT": 65536}, 3),
        ({"DECAY": 0}, 3),
        ({"DECAY": 65537}, 3),
        ({"CONFIG": 0x6000}, 3),  # FANOUT 0
        ({"CONFIG": 0x6041}, 3),  # FANOUT 65
        ({"CONFIG": 0x6310}, 3),  # MODE 3
        ({"CONFIG": 0x2010}, 3),  # LENGTH_LOG2 2
        ({"CONFIG": 0xB010}, 3),  # LENGTH_LOG2 11
        ({"TARGETS": BASE + 4}, 3),
        ({"DEGREES": BASE + 4}, 3),
        ({"EDGES": BASE + 32}, 3),
        ({"TABLE": BASE + 16}, 3),
        ({"OUT": BASE + 16}, 3),
        ({"TARGETS": BASE - 8}, 4),
        ({"DEGREES": BASE - 64}, 4),
        ({"EDGES": BEYOND}, 4),
        ({"EDGES": 0xFFFF_FFC0}, 4),
        ({"TABLE": 0xFFFF_FF80}, 4),
        ({"OUT": BASE - 128}, 4),
        ({"OUT": 0xFFFF_FF80}, 4),
        ({"OUT": BEYOND}, 4),
    ],
    ids=str,
)  # fmt: skip
def test_an_error_ends_every_batch_and_reset_recovers(
    either: Bench, changes: dict[str, int], error: int
) -> None:
    bench = either
    rng = np.random.default_rng(5)
    batch = full(rng, bench.dimensions, targets=9)
    values = bench.load(batch)
    bench.write(IRQ_ENABLE=1)
    bench.start(values | changes)
    bench.wait("IDLE", 1)
    bench.model.run(2)
    assert bench.control("ERROR") == error
    assert bench.control("DONE") == 1
    assert bench.control("FULL") == 0
    assert bench.model.irq
    bench.start(values)  # ignored until RESET
    assert bench.control("IDLE") == 1
    assert bench.control("ERROR") == error
    bench.reset()
    assert bench.control("ERROR") == 0
    assert bench.control("DONE") == 0
    assert bench.read("IRQ_STATUS") == 0
    assert [bench.read(name) for name in ("CYCLES", "READ_BEATS", "ROWS")] == [0, 0, 0]
    bench.start(values)
    bench.wait("IDLE", 1)
    np.testing.assert_array_equal(bench.result(values), batch.expected())
    assert not bench.model.violations


def test_the_last_byte_inside_is_allowed_and_the_next_is_not(either: Bench) -> None:
    bench = either
    batch = full(np.random.default_rng(0), bench.dimensions, targets=5)
    values = bench.load(batch)
    end = values["OUT"] + 5 * bench.dimensions  # nothing lies beyond OUT but the table ...
    bench.start(values | {"LIMIT": max(end, values["TABLE"] + batch.table.nbytes)})
    bench.wait("IDLE", 1)
    assert bench.control("ERROR") == 0
    np.testing.assert_array_equal(bench.result(values), batch.expected())
    # ... so let the batch name the last row of the table, and cut it off.
    last = Problem(**(vars(batch) | {"edges": batch.edges | np.uint32(0)}))
    last.edges[:] = last.edges & np.uint32(0xFF00_0000) | np.uint32(len(batch.table) - 1)
    values = bench.load(last)
    limit = values["TABLE"] + batch.table.nbytes
    for cut, error in ((0, 0), (8, 4)):
        bench.reset()
        bench.start(values | {"LIMIT": limit - cut})
        bench.wait("IDLE", 1)
        assert bench.control("ERROR") == error


def test_a_target_beyond_the_nodes_ends_with_an_error(bench64: Bench) -> None:
    batch = full(np.random.default_rng(0), 64, targets=3)
    values = bench64.load(batch)
    for target in (0xFFFF_FFFF, 0x2000_0000, 1 << 24):
        bench64.reset()
        start = values["TARGETS"] - BASE
        bench64.memory[start : start + 4] = np.array([target], "<u4").view(np.uint8)
        bench64.start(values)
        bench64.wait("IDLE", 1)
        assert bench64.control("ERROR") == 4


def test_reset_at_any_time_leaves_the_bus_clean(either: Bench) -> None:
    bench = either
    rng = np.random.default_rng(9)
    for when in [*range(0, 400, 7), *range(400, 2000, 41)]:
        bench.clear()
        bench.model.set_timing(
            Timing(latency=int(rng.choice([1, 30, 90])), stall=float(rng.choice([0, 0.5])))
        )
        batch = problem(rng, bench.dimensions, most_targets=30)
        values = bench.load(batch)
        bench.start(values)
        bench.start(values)
        bench.model.run(when)
        bench.reset()
        assert bench.control("DONE") == 0
        bench.start(values)
        bench.wait("IDLE", 1)
        assert bench.control("ERROR") == 0
        np.testing.assert_array_equal(bench.result(values), batch.expected())
    assert not bench.model.violations


def test_a_start_during_a_reset_waits_for_its_end(bench64: Bench) -> None:
    bench64.model.set_timing(Timing(latency=100))
    batch = full(np.random.default_rng(0), 64, targets=9)
    values = bench64.load(batch)
    bench64.start(values)
    bench64.model.run(50)
    bench64.write(CTRL=CTRL.word(RESET=1), START=1)
    bench64.wait("IDLE", 1)
    assert (bench64.control("DONE"), bench64.control("ERROR")) == (1, 0)
    np.testing.assert_array_equal(bench64.result(values), batch.expected())


def test_a_slow_dram_slows_the_core_and_changes_nothing(bench64: Bench) -> None:
    batch = full(np.random.default_rng(0), 64, targets=50)
    fast = bench64.run(batch)
    quick = bench64.read("CYCLES")
    bench64.reset()
    bench64.model.set_timing(
        Timing(row_miss=50, line=8, four_activates=50, refresh_every=1000, refresh=40, share=2)
    )
    np.testing.assert_array_equal(bench64.run(batch), fast)
    assert bench64.read("CYCLES") > 1.2 * quick


def test_memory_must_be_contiguous_bytes(verilator: None) -> None:
    with pytest.raises(ValueError, match="contiguous"):
        Model(np.zeros(64, np.uint8)[::2])
