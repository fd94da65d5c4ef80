"""No tool that reads the RTL has a complaint."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from overlays.sim.model import RTL, verilator_environment

SOURCES = [str(path) for path in sorted(RTL.glob("*.sv"))]


@pytest.mark.parametrize("dimensions", [32, 64, 128])
@pytest.mark.parametrize("ports", [1, 2])
def test_verilator_warns_of_nothing(verilator: None, dimensions: int, ports: int) -> None:
    # A narrow core does not use every bit of signals that a wide one does.
    command = [
        "verilator", "--lint-only", "-Wall", "-Wno-UNUSEDSIGNAL", "--top-module", "aggregate",
        f"-GD={dimensions}", f"-GPORTS={ports}", *SOURCES,
    ]  # fmt: skip
    done = subprocess.run(
        command, env=verilator_environment(), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(
    shutil.which("iverilog") is None, reason="Icarus is missing: apt-get install iverilog"
)
def test_icarus_warns_of_nothing(tmp_path: object) -> None:
    command = ["iverilog", "-g2012", "-Wall", "-o", f"{tmp_path}/core", "-s", "aggregate", *SOURCES]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
