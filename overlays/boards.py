"""The boards that the core is built for: what is where, and how fast it runs.

`vivado/*.tcl` repeats these numbers for Vivado; a test holds the two together.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Board:
    """One board.

    Attributes
    ----------
    name
        As `/proc/device-tree/chosen/pynq_board` has it.
    zynq_7000
        Whether it is a Zynq-7000; else a Zynq UltraScale+.
    part, package
        Of the device.
    clock
        Of the core, in MHz, as the board's PLLs make it of the request.
    core, gpio
        Bus addresses of the core's registers and of the AXI GPIO's.
    memory, memory_bytes
        Where the contiguous memory that pynq allocates from begins, and its size on the twin.
    """

    name: str
    zynq_7000: bool
    part: str
    package: str
    clock: float
    core: int
    gpio: int
    memory: int
    memory_bytes: int = 64 << 20

    @property
    def master(self) -> str:
        """The port of the processing system that the registers hang on."""
        return "M_AXI_GP0" if self.zynq_7000 else "M_AXI_HPM0_FPD"

    @property
    def kernel_architecture(self) -> str:
        """As `/proc/version` names it."""
        return "armv7l" if self.zynq_7000 else "aarch64"


BOARDS = {
    "pynq-z2": Board(
        "PYNQ-Z2", True, "xc7z020", "clg400", 142.857132, 0x43C0_0000, 0x4120_0000, 0x1000_0000
    ),
    "zcu104": Board(
        "ZCU104", False, "xczu7ev", "ffvc1156", 299.997009, 0xA000_0000, 0xA001_0000, 0x3000_0000
    ),
    "kv260": Board(
        "KV260", False, "xck26", "sfvc784", 299.997009, 0xA000_0000, 0xA001_0000, 0x3000_0000
    ),
}


def board_named(name: str) -> Board:
    """The board of that name.

    Raises
    ------
    ValueError
        If there is none.
    """
    if name not in BOARDS:
        raise ValueError(f"board = {name!r}: there are {', '.join(BOARDS)}")
    return BOARDS[name]
