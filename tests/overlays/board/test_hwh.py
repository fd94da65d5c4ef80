"""The .hwh and .bit that `overlays/hwh.py` writes, as pynq reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pynq.pl_server.embedded_device import bit2bin
from pynqmetadata.frontends import Metadata
from pynqmetadata.views.runtime import RuntimeMetadataParser

from overlays.boards import BOARDS, board_named
from overlays.driver import VLNV
from overlays.hwh import CLOCK, add_zynq_clock, overlay_hwh, read_image, write_overlay
from overlays.registers import registers


def parsed(bit: Path) -> Any:
    return RuntimeMetadataParser(Metadata(input=bit.with_suffix(".hwh")))


@pytest.mark.parametrize("name", list(BOARDS))
def test_pynq_reads_registers_and_addresses(overlay: dict[str, Path], name: str) -> None:
    core = parsed(overlay[name]).ip_dict["aggregate_0"]
    assert core["type"] == VLNV
    assert core["phys_addr"] == board_named(name).core
    assert core["addr_range"] == 0x1_0000
    assert set(core["registers"]) == set(registers())
    for register in registers().values():
        got = core["registers"][register.name]
        assert got["address_offset"] == register.offset
        assert {
            field: (entry["bit_offset"], entry["bit_width"])
            for field, entry in got["fields"].items()
        } == {field.name: (field.bit, field.width) for field in register.fields.values()}


@pytest.mark.parametrize("name", list(BOARDS))
def test_pynq_reads_clocks(overlay: dict[str, Path], name: str) -> None:
    clocks = parsed(overlay[name]).clock_dict
    assert [clocks[index]["enable"] for index in range(4)] == [1, 0, 0, 0]
    assert clocks[0]["frequency"] == board_named(name).clock


def test_a_real_zynq_7000_hwh_gets_its_clock() -> None:
    fixed = overlay_hwh(board_named("pynq-z2"), 32, 2)
    line = next(line for line in fixed.splitlines() if CLOCK.encode() in line)
    real = fixed.replace(line + b"\n", b"")  # as Vivado writes it
    assert CLOCK.encode() not in real
    assert CLOCK.encode() in add_zynq_clock(real)
    assert add_zynq_clock(fixed) == fixed
    with pytest.raises(ValueError, match="PCW_ACT_FPGA0_PERIPHERAL_FREQMHZ"):
        add_zynq_clock(real.replace(b"PCW_ACT_FPGA0", b"PCW_ACT_OTHER"))


def test_an_ultrascale_hwh_stays_as_it_is() -> None:
    hwh = overlay_hwh(board_named("zcu104"), 32, 2)
    assert add_zynq_clock(hwh) == hwh


def test_names_follow_contents(tmp_path: Path) -> None:
    board = board_named("pynq-z2")
    bits = {write_overlay(tmp_path, board, d, p).name for d in (32, 64) for p in (1, 2)}
    assert len(bits) == 4
    assert write_overlay(tmp_path, board, 32, 1).name in bits


def test_the_firmware_says_what_core_it_is_for(overlay: dict[str, Path]) -> None:
    firmware = bit2bin(overlay["kv260"].read_bytes())
    content = read_image(firmware)
    assert (content["board"], content["dimensions"], content["ports"]) == ("KV260", 32, 2)
    with pytest.raises(ValueError, match="no image"):
        read_image(b"\xff" * 64)
