"""The scripts for Vivado, as far as they can be looked at without it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from overlays.boards import BOARDS
from overlays.hwh import CLOCK, overlay_hwh
from overlays.registers import description, registers
from overlays.vivado.build import finish, register_commands

FOLDER = Path(__file__).parents[3] / "overlays" / "vivado"


@pytest.mark.parametrize("name", list(BOARDS))
def test_a_boards_tcl_has_the_numbers_of_boards_py(name: str) -> None:
    board = BOARDS[name]
    text = (FOLDER / f"{name.replace('-', '_')}.tcl").read_text()
    values = dict(re.findall(r"^set (\w+) (\S+)$", text, re.MULTILINE))
    assert int(values["core_base"], 16) == board.core
    assert int(values["gpio_base"], 16) == board.gpio
    assert values["part"].replace("-", "").startswith(board.part + board.package)
    assert values["master"] == board.master
    clock = re.search(r"(?:FPGA0_PERIPHERAL|PL0_REF_CTRL_)_FREQMHZ ([\d.]+)", text)
    assert clock
    assert float(clock[1]) == pytest.approx(board.clock, rel=1e-4)
    assert "ntested" in text.splitlines()[0]


def test_the_design_packages_the_vlnv_of_the_registers() -> None:
    text = (FOLDER / "design.tcl").read_text()
    vendor, library, name, version = str(description()["vlnv"]).split(":")
    for option in (f"-vendor {vendor}", f"-library {library}", f"-name {name}"):
        assert option in text
    assert f"-version {version}" in text
    assert text.count("{") == text.count("}")
    assert text.count("[") == text.count("]")


def test_every_register_is_described_to_the_packager() -> None:
    commands = register_commands()
    assert re.findall(r"add_register (\w+)", commands) == list(registers())
    fields = sum(len(register.fields) for register in registers().values())
    assert commands.count("add_field") == fields
    assert commands.count("{") == commands.count("}")


def test_finished_overlays_have_their_clock_and_a_name_of_their_own(tmp_path: Path) -> None:
    fixed = overlay_hwh(BOARDS["pynq-z2"], 32, 2)
    built = b"\n".join(line for line in fixed.splitlines() if CLOCK.encode() not in line)
    (tmp_path / "a.bit").write_bytes(b"bits")
    (tmp_path / "a.hwh").write_bytes(built)
    first = finish(tmp_path / "a.bit", tmp_path / "a.hwh", tmp_path / "out", "millrace")
    assert first.read_bytes() == b"bits"
    assert CLOCK in first.with_suffix(".hwh").read_text()
    (tmp_path / "a.bit").write_bytes(b"other bits")
    assert finish(tmp_path / "a.bit", tmp_path / "a.hwh", tmp_path / "out", "millrace") != first
