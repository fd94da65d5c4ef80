"""Random batches, and what runs them on the Verilated core."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from overlays import reference
from overlays.registers import registers
from overlays.sim.model import BASE, Model, Timing

CTRL = registers()["CTRL"]
CONFIG = registers()["CONFIG"]
START = registers()["START"]
BLOCK = START.offset + 4 - CONFIG.offset  # bytes that describe a batch, and the next begins
MEMORY = 1 << 21
GUARD = 0xA5  # what lies where the core must not write


@dataclass(frozen=True)
class Problem:
    """A batch as FORMAT.md sees it."""

    targets: NDArray[np.uint32]
    degrees: NDArray[np.uint64]
    edges: NDArray[np.uint32]
    table: NDArray[np.uint8]
    fanout: int
    mode: int
    decay: int
    shift: int
    seed: int

    @property
    def length_log2(self) -> int:
        """log2 of a ring row."""
        return self.edges.shape[1].bit_length() - 1

    def expected(self) -> NDArray[np.uint8]:
        """What the reference gives: u8[n, D]."""
        return reference.aggregate(
            self.targets, self.degrees, self.edges, self.table, self.fanout, self.mode,
            self.decay, self.shift, self.seed,
        )  # fmt: skip


def problem(rng: np.random.Generator, dimensions: int, most_targets: int = 12) -> Problem:
    """A random batch: any mode, ring, degree, fading, shift, and every kind of row."""
    length = 1 << int(rng.integers(3, 11 if rng.random() < 0.1 else 8))
    nodes = int(rng.integers(1, 2 + (1 << 15) // (4 * length)))
    nodes = min(nodes, 40)
    kinds = [
        rng.integers(0, 3, nodes),  # hardly any
        rng.integers(0, length + 1, nodes),  # up to full
        rng.integers(length, 5 * length, nodes),  # wrapped around
        rng.integers(1 << 32, 1 << 62, nodes),  # more than 32 bits
        np.full(nodes, length),
    ]
    which = rng.integers(0, len(kinds), nodes) if rng.random() < 0.6 else int(rng.integers(5))
    degrees = np.choose(which, kinds).astype(np.uint64)
    rows = int(rng.integers(1, 200))
    edges = rng.integers(0, rows, (nodes, length)).astype(np.uint32)
    weights = [
        rng.integers(0, 256, edges.shape),
        np.full(edges.shape, int(rng.choice([0, 1, 255]))),
    ]
    edges |= weights[int(rng.random() < 0.15)].astype(np.uint32) << np.uint32(24)
    table = rng.integers(0, 256, (rows, dimensions)).astype(np.uint8)
    if rng.random() < 0.5:  # rows as the engine writes them: near each other in scale
        scale = 2.0 ** float(rng.integers(-14, 6))
        table = reference.quantise((rng.normal(size=table.shape) * scale).astype(np.float32))
    best = reference.pick_shift(int(reference.row_scales(table).max()))
    return Problem(
        targets=rng.integers(0, nodes, int(rng.integers(1, most_targets + 1))).astype(np.uint32),
        degrees=degrees,
        edges=edges,
        table=table,
        fanout=int(rng.choice([1, 2, 3, 8, 15, 16, 17, 32, 63, 64])),
        mode=int(rng.integers(0, 3)),
        decay=int(rng.choice([1, 30000, 60000, 65000, 65535, 65536])),
        shift=best if rng.random() < 0.7 else int(rng.integers(0, 32)),
        seed=int(rng.integers(0, 1 << 32)),
    )


def timing(rng: np.random.Generator) -> Timing:
    """A memory that answers at once, late, or by fits and starts."""
    return Timing(
        latency=int(rng.choice([1, 2, 5, 20, 64, 100])),
        outstanding=int(rng.choice([1, 2, 4, 16, 32])),
        gap=int(rng.choice([0, 0, 0, 3])),
        write_latency=int(rng.choice([1, 8, 40])),
        stall=float(rng.choice([0.0, 0.0, 0.2, 0.6])),
        seed=int(rng.integers(1, 1 << 30)),
    )


@dataclass
class Bench:
    """A board whose memory is handed out, piece by piece, to batches."""

    dimensions: int
    ports: int
    memory: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(MEMORY, np.uint8))
    library: object = None

    def __post_init__(self) -> None:
        self.model = Model(
            self.memory, dimensions=self.dimensions, ports=self.ports, library=self.library
        )
        self.top = 0

    def clear(self) -> None:
        """Hand the memory out anew."""
        self.top = 0

    def put(self, array: NDArray) -> int:
        """Copy an array to the board; its device address."""
        address = self.room(array.nbytes)
        raw = np.ascontiguousarray(array).view(np.uint8).reshape(-1)
        self.memory[address - BASE : address - BASE + raw.size] = raw
        return address

    def room(self, size: int) -> int:
        """Set memory aside; its device address."""
        self.top = -(-self.top // 128) * 128
        address = BASE + self.top
        self.top += size
        assert self.top <= self.memory.size, "The test's memory is too small."
        return address

    def load(self, batch: Problem) -> dict[str, int]:
        """Copy a batch to the board; its registers."""
        size = len(batch.targets) * self.dimensions
        out = self.room(size + 256) + 128
        self.memory[out - BASE - 128 : out - BASE + size + 128] = GUARD
        return {
            "CONFIG": CONFIG.word(
                FANOUT=batch.fanout, MODE=batch.mode, LENGTH_LOG2=batch.length_log2,
                SHIFT=batch.shift,
            ),
            "DECAY": batch.decay,
            "SEED": batch.seed,
            "COUNT": len(batch.targets),
            "TARGETS": self.put(batch.targets),
            "DEGREES": self.put(batch.degrees),
            "EDGES": self.put(batch.edges),
            "TABLE": self.put(batch.table),
            "OUT": out,
            "BASE": BASE,
            "LIMIT": BASE + self.memory.size,
        }  # fmt: skip

    def write(self, **values: int) -> None:
        """Write registers by their names."""
        for name, value in values.items():
            self.model.write(registers()[name].offset, value)

    def read(self, name: str) -> int:
        """Read a register by its name."""
        return self.model.read(registers()[name].offset)

    def control(self, name: str) -> int:
        """Read a field of CTRL."""
        return CTRL.fields[name].of(self.read("CTRL"))

    def start(self, values: dict[str, int], block: int = 0) -> None:
        """Write a batch's registers and START, at the block of registers of that number."""
        for name, value in (values | {"START": START.word(START=1)}).items():
            self.model.write(registers()[name].offset + block * BLOCK, value)

    def reset(self) -> None:
        """Soft reset."""
        self.write(CTRL=CTRL.word(RESET=1))
        self.wait("IDLE", 1)

    def wait(self, name: str, value: int, limit: int = 4_000_000) -> None:
        """Run until a field of CTRL has a value."""
        end = self.model.cycles + limit
        while self.control(name) != value:
            assert self.model.cycles < end, f"The core hangs: {name} is not {value}."
            self.model.run(50)

    def result(self, values: dict[str, int]) -> NDArray[np.uint8]:
        """What the core wrote for a batch, nothing beside it: u8[n, D]."""
        size = values["COUNT"] * self.dimensions
        start = values["OUT"] - BASE
        around = self.memory[start - 128 : start + size + 128]
        assert (around[:128] == GUARD).all(), "The core wrote before its rows."
        assert (around[-128:] == GUARD).all(), "The core wrote after its rows."
        return around[128:-128].reshape(-1, self.dimensions).copy()

    def run(self, batch: Problem) -> NDArray[np.uint8]:
        """Run one batch alone."""
        self.clear()
        values = self.load(batch)
        self.start(values)
        self.wait("IDLE", 1)
        assert self.control("ERROR") == 0
        return self.result(values)


def check_random(bench: Bench, seed: int, batches: int) -> int:
    """Run random batches, some of them queued, and compare every byte; how many ran."""
    rng = np.random.default_rng(seed)
    bench.reset()
    ran = 0
    while ran < batches:
        bench.model.set_timing(timing(rng))
        bench.clear()
        # Some batches longer than the queue of targets.
        most = 90 if rng.random() < 0.1 else 12
        together = [problem(rng, bench.dimensions, most) for _ in range(int(rng.integers(1, 5)))]
        loaded = [bench.load(batch) for batch in together]
        for block, values in enumerate(loaded):
            bench.start(values, block)
        end = bench.model.cycles + 4_000_000
        while not bench.control("IDLE"):
            assert bench.model.cycles < end, "The core hangs."
        assert bench.model.open_writes == 0
        ran += len(together)
        assert bench.control("ERROR") == 0
        assert bench.control("DONE") == ran % 256
        for batch, values in zip(together, loaded, strict=True):
            got, expected = bench.result(values), batch.expected()
            assert np.array_equal(got, expected), describe(batch, got, expected)
        assert not bench.model.violations
        assert bench.model.most_in_flight <= 16
    return ran


def check_large_sums(bench: Bench, seed: int, batches: int) -> None:
    """Run random batches without a shift, whose sums need the largest scales."""
    rng = np.random.default_rng(seed)
    for _ in range(batches):
        batch = replace(problem(rng, bench.dimensions), shift=0)
        got, expected = bench.run(batch), batch.expected()
        assert np.array_equal(got, expected), describe(batch, got, expected)


def describe(batch: Problem, got: NDArray[np.uint8], expected: NDArray[np.uint8]) -> str:
    """Where a batch differs from the reference."""
    at, value = np.argwhere(got != expected)[0].tolist()
    shown = replace(batch, edges=batch.edges[:0], table=batch.table[:0])
    return f"target {at}, value {value}: {got[at]} is not {expected[at]}; {shown}"
