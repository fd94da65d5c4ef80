"""The RTL has the registers of registers.toml."""

import re

import numpy as np
import pytest
from problems import BLOCK, Bench

from overlays.registers import DESCRIPTION, description, markdown, registers

SOME = (0x0000_0000, 0xFFFF_FFFF, 0xA5A5_A5A5, 0x5A5A_5A5A, 0x0001_0203)
ACTIONS = {"CTRL", "IRQ_STATUS", "START"}  # writing them does something else than store


def test_reset_values(either: Bench) -> None:
    build = registers()["BUILD"]
    values = {
        "CTRL": registers()["CTRL"].word(IDLE=1),
        "BUILD": build.word(DIMENSIONS=either.dimensions, PORTS=either.ports, OUTSTANDING=16),
        "VERSION": description()["version"],
    }
    assert {name: either.read(name) for name in registers()} == {
        name: values.get(name, 0) for name in registers()
    }


@pytest.mark.parametrize("name", sorted(set(registers()) - ACTIONS))
def test_what_can_be_written_is_kept_and_nothing_else(bench64: Bench, name: str) -> None:
    before = {other: bench64.read(other) for other in registers()}
    mask = registers()[name].mask("read-write")
    for word in SOME:
        bench64.write(**{name: word})
        assert bench64.read(name) == (before[name] & ~mask) | (word & mask)
    after = {other: bench64.read(other) for other in registers() if other != name}
    assert after == {other: before[other] for other in after}


def test_control_keeps_only_its_status(bench64: Bench) -> None:
    ctrl = registers()["CTRL"]
    bench64.write(CTRL=0xFFFF_FFFF & ~ctrl.mask("write-only"))
    assert bench64.read("CTRL") == ctrl.word(IDLE=1)


def test_addresses_without_a_register_read_zero(bench64: Bench) -> None:
    known = {register.offset for register in registers().values()}
    unknown = [
        offset for offset in range(0, registers()["CONFIG"].offset, 4) if offset not in known
    ]
    for offset in unknown:
        bench64.model.write(offset, 0xFFFF_FFFF)
        assert bench64.model.read(offset) == 0
    assert bench64.control("IDLE") == 1


def test_the_registers_of_a_batch_repeat_to_the_end(bench64: Bench) -> None:
    first = registers()["CONFIG"].offset
    stored = [register for register in registers().values() if register.offset >= first]
    for block, start in enumerate(range(first, 256, BLOCK)):
        for register in stored:
            mask = register.mask("read-write")
            word = 0xFFFF_FFFF * (block % 2) ^ 0x0101_0101 * register.offset & ~1
            bench64.model.write(register.offset - first + start, word)
            for at in range(0, 4 * BLOCK, BLOCK):
                assert bench64.model.read(register.offset + at) == word & mask
    assert 256 - first == 4 * BLOCK
    assert bench64.control("IDLE") == 1


def test_descriptions_are_consistent() -> None:
    offsets = [register.offset for register in registers().values()]
    assert len(set(offsets)) == len(offsets)
    for register in registers().values():
        taken = 0
        for field in register.fields.values():
            assert not taken & field.mask
            assert field.mask < 1 << 32
            taken |= field.mask


def test_words_and_fields() -> None:
    config = registers()["CONFIG"]
    word = config.word(FANOUT=16, MODE=1, LENGTH_LOG2=6, SHIFT=14)
    assert word == 16 | 1 << 8 | 6 << 12 | 14 << 16
    assert {name: field.of(word) for name, field in config.fields.items()} == {
        "FANOUT": 16, "MODE": 1, "LENGTH_LOG2": 6, "SHIFT": 14,
    }  # fmt: skip
    with pytest.raises(ValueError, match="FANOUT takes 7 bits"):
        config.word(FANOUT=128)


def test_the_table_names_every_register_and_field() -> None:
    lines = markdown().splitlines()
    rows = [re.split(r" *\| *", line.strip("| ")) for line in lines[2:]]
    named = [register.name for register in registers().values()]
    assert [row[1] for row in rows if row[0].startswith("0x")] == named
    fields = sum(len(register.fields) for register in registers().values())
    assert len(rows) == len(named) + fields
    assert np.unique([line.count("|") for line in lines]).size == 1


def test_the_documentation_has_the_table() -> None:
    readme = (DESCRIPTION.parent / "README.md").read_text()
    assert readme.endswith("## Registers\n\n" + markdown())
