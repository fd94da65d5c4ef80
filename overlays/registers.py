"""The registers of registers.toml as objects."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

DESCRIPTION = Path(__file__).parent / "registers.toml"


@dataclass(frozen=True)
class Field:
    """Some bits of a register."""

    name: str
    bit: int
    width: int
    access: str
    description: str

    @property
    def mask(self) -> int:
        """The field's bits, in place."""
        return ((1 << self.width) - 1) << self.bit

    def of(self, word: int) -> int:
        """The field's value in a register's word."""
        return (word & self.mask) >> self.bit

    def word(self, value: int) -> int:
        """The register's word with this field alone at a value."""
        if not 0 <= value < 1 << self.width:
            raise ValueError(f"{self.name} takes {self.width} bits: {value} does not fit.")
        return value << self.bit


@dataclass(frozen=True)
class Register:
    """One 32-bit word of the core's address space."""

    name: str
    offset: int
    access: str
    description: str
    fields: dict[str, Field]

    def word(self, **values: int) -> int:
        """The word with these fields and the rest zero."""
        return sum(self.fields[name].word(value) for name, value in values.items())

    def mask(self, *access: str) -> int:
        """The bits with one of these accesses."""
        if not self.fields:
            return 0xFFFF_FFFF if self.access in access else 0
        return sum(field.mask for field in self.fields.values() if field.access in access)


@cache
def description() -> dict[str, Any]:
    """registers.toml as it is."""
    return tomllib.loads(DESCRIPTION.read_text())


@cache
def registers() -> dict[str, Register]:
    """Every register by its name."""
    return {
        entry["name"]: Register(
            entry["name"],
            entry["offset"],
            entry["access"],
            entry["description"],
            {field["name"]: Field(**field) for field in entry.get("fields", [])},
        )
        for entry in description()["register"]
    }


def markdown() -> str:
    """The register table of the documentation."""
    lines = ["| Offset | Register | Bits | Access | Meaning |", "| --- | --- | --- | --- | --- |"]
    for register in registers().values():
        bits = "" if register.fields else "31..0"
        lines.append(
            f"| 0x{register.offset:02X} | {register.name} | {bits} | {register.access} "
            f"| {register.description} |"
        )
        for field in register.fields.values():
            top = field.bit + field.width - 1
            bits = str(top) if field.width == 1 else f"{top}..{field.bit}"
            lines.append(f"| | {field.name} | {bits} | {field.access} | {field.description} |")
    return "\n".join(lines) + "\n"
