"""The FPGA aggregation core: cycles, planted bugs, resources, and where it pays.

    python -m benchmarks.overlay [--quick] [--json FILE] [--figure FILE]
    python -m benchmarks.overlay --network     # only what a board over the network costs the host

All about the core is simulated: cycles of its Verilated RTL, times by a stated clock. Nothing ran
on a board. The CPU's side is measured here, on one core, by a kernel that gives the same bytes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from engine.evaluation.provenance import provenance
from engine.graph import NeighbourRows
from engine.propagation import Aggregation, int8
from overlays import reference
from overlays.mutants import MUTANTS, caught
from overlays.pynq_aggregator import PynqAggregator
from overlays.registers import registers
from overlays.sim.model import BASE, Model, Timing
from overlays.synth.__main__ import synthesise
from streams.processes import Child

FANOUT, LENGTH, DECAY, SHIFT, SEED = 16, 64, 62000, 14, 3
CLOCK_MHZ = 142.857  # the PYNQ-Z2's FCLK that divides its PLL's 1 GHz by 7
# DDR3-1050 of 16 bits on the PYNQ-Z2: 32 bytes take 15.2 ns of its bus, a bank's next row 50 ns.
Z2_PEAK_GB_S = 2.1
Z2_NS = {"line": 15.2, "row_miss": 50.0, "four_activates": 50.0, "refresh_every": 7800.0,
         "refresh": 260.0}  # fmt: skip
Z2_LATENCY_NS = 220.0
# A register over the PS-PL bus takes about this long; a batch writes 12 and reads CTRL.
REGISTER_US = 0.15
REGISTERS_A_BATCH = 13
QUICK_MUTANTS = 4
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


def main() -> None:
    """Measure, print tables, and write JSON and a figure where they are asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few targets, 4 of the planted bugs")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--figure", type=Path, help="write the roofline to this PNG")
    parser.add_argument("--network", action="store_true", help="only a board over the network")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    console = Console()
    if arguments.network:
        print_network(console, measure_network(arguments.seed, 50 if arguments.quick else 300))
        return
    targets = 300 if arguments.quick else 2000
    problem = Problem(np.random.default_rng(arguments.seed), targets, 64)
    report: dict[str, Any] = provenance("random graph, simulated core", arguments.seed)
    report |= measure_core(problem)
    report["roofline"] = roofline(
        problem, report["bytes_per_target"], report["read_bytes_per_target"]
    )
    planted = MUTANTS[:: len(MUTANTS) // QUICK_MUTANTS] if arguments.quick else MUTANTS
    report["mutants"] = len(planted)
    report["mutants_caught"] = sum(caught(mutant) for mutant in planted)
    synthesis = synthesise(seeds=1 if arguments.quick else 4)
    report |= {name: synthesis[name] for name in ("resources", "fmax_ecp5_mhz", "tools")}
    report["crossover"] = crossover(problem)
    report["crossover_batch"] = report["crossover"]["batch"]
    print_report(console, report)
    if arguments.figure:
        draw(report["roofline"], arguments.figure)
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")


class Problem:
    """Targets with more neighbours than the fanout, in arrays as FORMAT.md has them."""

    def __init__(self, rng: np.random.Generator, targets: int, dimensions: int) -> None:
        nodes, rows = 4000, 40_000
        edges = rng.integers(0, rows, (nodes, LENGTH)) | (
            rng.integers(1, 256, (nodes, LENGTH)) << 24
        )
        self.dimensions = dimensions
        self.targets = rng.integers(0, nodes, targets).astype(np.uint32)
        self.degrees = rng.integers(LENGTH, 1000, nodes).astype(np.uint64)
        self.edges = edges.astype(np.uint32)
        self.table = rng.integers(0, 256, (rows, dimensions)).astype(np.uint8)

    def on_cpu(self, targets: NDArray[np.uint32], mode: int, out: NDArray[np.uint8]) -> None:
        """What the core does, by the CPU's kernel."""
        int8.aggregate(
            targets, self.degrees, self.edges, self.table, FANOUT, mode, DECAY, SHIFT, SEED, out
        )


def simulate(
    problem: Problem, count: int, *, mode: int = 0, ports: int = 1, timing: Timing | None = None
) -> dict[str, int]:
    """Run one batch on the Verilated core, checked against the CPU's kernel; its counters."""
    memory = np.zeros(1 << 23, np.uint8)
    top = 0

    def put(array: NDArray[Any]) -> int:
        nonlocal top
        raw, start = array.view(np.uint8).reshape(-1), top
        memory[start : start + raw.size] = raw
        top += -(-raw.size // 4096) * 4096
        return BASE + start

    targets = problem.targets[:count]
    expected = np.empty((count, problem.dimensions), np.uint8)
    problem.on_cpu(targets, mode, expected)
    config = registers()["CONFIG"].word(
        FANOUT=FANOUT, MODE=mode, LENGTH_LOG2=LENGTH.bit_length() - 1, SHIFT=SHIFT
    )
    values = {
        "CONFIG": config, "DECAY": DECAY, "SEED": SEED, "COUNT": count,
        "TARGETS": put(targets), "DEGREES": put(problem.degrees), "EDGES": put(problem.edges),
        "TABLE": put(problem.table), "OUT": put(np.zeros_like(expected)), "BASE": BASE,
        "LIMIT": BASE + memory.size,
    }  # fmt: skip
    ctrl = registers()["CTRL"]
    with Model(memory, dimensions=problem.dimensions, ports=ports, timing=timing) as model:
        for name, value in (values | {"START": 1}).items():
            model.write(registers()[name].offset, value)
        for _ in range(10_000):
            if ctrl.fields["IDLE"].of(model.read(ctrl.offset)):
                break
            model.run(100)
        start = values["OUT"] - BASE
        got = memory[start : start + expected.size].reshape(expected.shape)
        if not np.array_equal(got, expected):
            raise RuntimeError("The core and the kernel disagree.")
        counters = ("CYCLES", "READ_BEATS", "ROWS")
        result = {name: model.read(registers()[name].offset) for name in counters}
        return result | {"WRITE_BEATS": model.write_beats}


def measure_core(problem: Problem) -> dict[str, Any]:
    """Cycles and payload of the usual core, and what changes them."""
    count = len(problem.targets)
    usual = simulate(problem, count)
    late = {
        mode: simulate(problem, count, mode=mode, timing=Timing(latency=64))["CYCLES"]
        for mode in (reference.RECENT, reference.HASHED)
    }
    two = simulate(problem, count, ports=2)
    return {
        "cycles_per_target": usual["CYCLES"] / count,
        "payload_share": usual["ROWS"] * problem.dimensions / (8 * usual["READ_BEATS"]),
        "bytes_per_target": 8 * (usual["READ_BEATS"] + usual["WRITE_BEATS"]) / count,
        "read_bytes_per_target": 8 * usual["READ_BEATS"] / count,
        "two_port_speedup": usual["CYCLES"] / two["CYCLES"],
        "hashed_over_recent_at_latency_64": late[reference.HASHED] / late[reference.RECENT],
    }


def roofline(
    problem: Problem, bytes_per_target: float, read_bytes_per_target: float
) -> dict[str, float]:
    """Where the core stands against the PYNQ-Z2's memory, by clock and a model of its DDR."""
    count = len(problem.targets)
    ddr = {name: ns * CLOCK_MHZ / 1e3 for name, ns in Z2_NS.items()}
    timing = Timing(latency=round(Z2_LATENCY_NS * CLOCK_MHZ / 1e3), **ddr)
    per_second = {
        f"{ports}_ports_{name}_targets_s": CLOCK_MHZ * 1e6 * count / result["CYCLES"]
        for ports in (1, 2)
        for name, result in (
            ("ideal_memory", simulate(problem, count, ports=ports)),
            ("ddr_model", simulate(problem, count, ports=ports, timing=timing)),
        )
    }
    return {
        "bytes_per_target": bytes_per_target,
        "clock_mhz": CLOCK_MHZ,
        "ddr_peak_gb_s": Z2_PEAK_GB_S,
        "ddr_limit_targets_s": Z2_PEAK_GB_S * 1e9 / bytes_per_target,
        "read_bytes_per_target": read_bytes_per_target,
        "port_limit_targets_s": CLOCK_MHZ * 1e6 * 8 / read_bytes_per_target,
        **per_second,
    }


def crossover(problem: Problem) -> dict[str, Any]:
    """The batch from which the core, at its simulated clock, beats one core of this machine."""
    rows = []
    for size in (size for size in BATCHES if size <= len(problem.targets)):
        cycles = simulate(problem, size)["CYCLES"]
        out = np.empty((size, problem.dimensions), np.uint8)
        cpu = fastest(lambda n=size, to=out: problem.on_cpu(problem.targets[:n], 0, to))
        overlay = cycles / CLOCK_MHZ + REGISTERS_A_BATCH * REGISTER_US
        rows.append({"batch": size, "cpu_us": cpu, "core_us_simulated": overlay})
    wins = [row["batch"] for row in rows if row["core_us_simulated"] < row["cpu_us"]]
    loses = [row["batch"] for row in rows if row["core_us_simulated"] >= row["cpu_us"]]
    batch = min((size for size in wins if size > max(loses, default=0)), default=None)
    last = rows[-1]
    reason = None
    if batch is None:
        reason = (
            f"With a table of {problem.table.nbytes / 2**20:.1f} MiB this machine's core takes "
            f"{last['cpu_us'] / last['batch']:.2f} µs a target in "
            f"batches of {last['batch']}, the FPGA's at {CLOCK_MHZ:.0f} MHz "
            f"{last['core_us_simulated'] / last['batch']:.2f} µs: it wins at no batch. It frees "
            "the CPU, and pays where the CPU is weak."
        )
    return {
        "batch": batch,
        "reason": reason,
        "clock_mhz": CLOCK_MHZ,
        "register_us_stated": REGISTER_US,
        "rows": rows,
    }


def fastest(run: Callable[[], None]) -> float:
    """Microseconds of the fastest of many calls."""
    run()
    best, end = float("inf"), time.perf_counter() + 0.3
    while time.perf_counter() < end:
        started = time.perf_counter_ns()
        run()
        best = min(best, (time.perf_counter_ns() - started) / 1e3)
    return best


def measure_network(seed: int, times: int) -> dict[str, dict[str, float]]:
    """What the host spends on a simulated PYNQ-Z2 in another process, for each of two things.

    An event of the engine: a user's long and short aggregate and an item's second hop (D = 32,
    32 neighbours). A request to a trained model: one user's 104 neighbours in two rows (D = 128).
    """
    rng = np.random.default_rng(seed)

    def ask(
        nodes: NDArray[np.int32], name: str, rows: NDArray[np.float32], decay: float
    ) -> Aggregation:
        out = np.empty((len(nodes), rows.shape[1]), np.float32)
        return Aggregation(graph, nodes, name, rows, decay, out)

    graph = NeighbourRows(64, 100)
    graph.edges = rng.integers(0, 1600, (100, 64)).astype(np.uint32) | np.uint32(255 << 24)
    graph.degree = np.full(100, 52)
    result = {}
    for name, dimensions, fanout in (("event", 32, 32), ("request", 128, 64)):
        tables = rng.normal(0, 0.1, (3, 1600, dimensions)).astype(np.float32)
        with board_of(dimensions) as (address, bitstream):
            aggregator = PynqAggregator(fanout, dimensions, address, bitstream, timeout=5.0)
            work, samples = aggregator.work, np.empty((times, 2))
            for number in range(-20, times):
                nodes = rng.integers(0, 100, 2).astype(np.int32)
                asked = [ask(nodes, "rows", tables[0], 1.0)]
                if name == "event":
                    asked = [
                        ask(nodes[:1], "long", tables[0], 0.9),
                        ask(nodes[:1], "short", tables[1], 0.5),
                        ask(nodes[1:], "directions", tables[2], 0.97),
                    ]
                if number == 0:
                    calls, device, sent = work.calls, work.device_seconds, work.bytes_sent
                wall, cpu = time.perf_counter(), time.process_time()
                aggregator.aggregate(*asked)
                wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
                samples[number] = wall, cpu
            if work.faults:
                raise RuntimeError("The simulated board failed.")
            result[name] = {
                "calls": (work.calls - calls) / times,
                "host_ms": 1e3 * float(np.median(samples[:, 0])),
                "host_p10_ms": 1e3 * float(np.percentile(samples[:, 0], 10)),
                "client_cpu_ms": 1e3 * float(samples[:, 1].mean()),
                "device_us_simulated": 1e6 * (work.device_seconds - device) / times,
                "bytes_sent": (work.bytes_sent - sent) / times,
            }
            aggregator.close()
    return result


@contextmanager
def board_of(dimensions: int) -> Iterator[tuple[str, str]]:
    """(address, bitstream) of a simulated PYNQ-Z2 in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "streams.cli", "board", "--port", "0"]
        command += ["--overlay", folder, "--dimensions", str(dimensions)]
        with Child(command, stdout=subprocess.PIPE) as child:
            assert child.process.stdout is not None
            line = child.process.stdout.readline().decode().strip()
            address, _, bitstream = line.removeprefix("board=").partition(" bitstream=")
            yield address, bitstream


def print_network(console: Console, report: dict[str, dict[str, float]]) -> None:
    """A table of `measure_network`."""
    table = Table(title="A simulated board over the network", title_justify="left")
    table.add_column("")
    for name in report:
        table.add_column(name, justify="right")
    for figure in report["event"]:
        values = (f"{each[figure]:,.2f}" for each in report.values())
        table.add_row(figure.replace("_", " "), *values)
    console.print(table)


def draw(limits: dict[str, float], path: Path) -> None:
    """The roofline as a PNG: targets a second over the clock."""
    import matplotlib as mpl  # noqa: PLC0415  of the extra `fpga`

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    clocks = np.linspace(20, 300, 100)
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for ports in (1, 2):
        bus = ports * clocks * 1e6 * 8 / limits["read_bytes_per_target"]
        axes.plot(clocks, bus / 1e6, "--", label=f"{ports} port(s), bus of 8 bytes")
        for name, mark in (("ideal_memory", "o"), ("ddr_model", "x")):
            axes.plot(
                limits["clock_mhz"], limits[f"{ports}_ports_{name}_targets_s"] / 1e6, mark,
                label=f"{ports} port(s), simulated, {name.replace('_', ' ')}",
            )  # fmt: skip
    axes.axhline(limits["ddr_limit_targets_s"] / 1e6, color="k", label="PYNQ-Z2 DDR peak")
    axes.set(xlabel="clock, MHz", ylabel="million targets a second", ylim=(0, None))
    axes.legend(fontsize="small")
    figure.savefig(path, dpi=150)
    plt.close(figure)


def print_report(console: Console, report: dict[str, Any]) -> None:
    """The figures as tables, with where they come from."""
    table = Table(title=f"The core, simulated: D = 64, fanout {FANOUT}", title_justify="left")
    table.add_column("figure")
    table.add_column("value", justify="right")
    for name in (
        "cycles_per_target", "payload_share", "two_port_speedup",
        "hashed_over_recent_at_latency_64", "bytes_per_target", "fmax_ecp5_mhz",
    ):  # fmt: skip
        table.add_row(name.replace("_", " "), f"{report[name]:,.3f}")
    table.add_row("planted bugs caught", f"{report['mutants_caught']} of {report['mutants']}")
    for name, value in report["roofline"].items():
        table.add_row(f"roofline: {name.replace('_', ' ')}", f"{value:,.1f}")
    for family, resources in report["resources"].items():
        table.add_row(f"{family}: lut / ff / dsp", " / ".join(
            f"{resources[name]:,}" for name in ("lut", "ff", "dsp")
        ))  # fmt: skip
    console.print(table)
    times = Table(title="One batch (µs)", title_justify="left")
    for column in ("batch", "CPU, measured", "core, simulated"):
        times.add_column(column, justify="right")
    for row in report["crossover"]["rows"]:
        times.add_row(
            f"{row['batch']:,}", f"{row['cpu_us']:,.1f}", f"{row['core_us_simulated']:,.1f}"
        )
    console.print(times)
    console.print(report["crossover"]["reason"] or f"Crossover: {report['crossover_batch']}")
    console.print(
        f"[dim]seed {report['seed']} · millrace {report['version']} · {report['machine']}"
    )


if __name__ == "__main__":
    main()
