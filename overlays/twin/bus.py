"""What pynq finds on a board besides the core: clocks, port widths, an AXI GPIO."""

from __future__ import annotations

from overlays.boards import Board
from overlays.hwh import GPIO_WIDTH, RANGE

# Blocks of the processing systems that pynq reads and writes: clocks and, on the UltraScale+,
# the widths of its AXI ports. Address and size in bytes.
_ZYNQ_BLOCKS = [(0xF800_0000, 0x1000)]
_ULTRASCALE_BLOCKS = [
    (0xFF5E_0000, 0x1000),
    (0xFD1A_0000, 0x1000),
    (0xFD61_5000, 0x1000),
    (0xFF41_9000, 0x1000),
    *((0xFD36_0000 + 0x1_0000 * port, 0x1000) for port in range(6)),
    (0xFF9B_0000, 0x1000),
]
# As the first-stage loader leaves them: feedback divisors of the PLLs, divisors of clock 0.
_ZYNQ_CLOCKS = {0x100: 26 << 12, 0x104: 21 << 12, 0x108: 20 << 12, 0x170: 1 << 20 | 7 << 8}
_ULTRASCALE_CLOCKS = {
    0xFF5E_0020: 90 << 8 | 1 << 16,
    0xFF5E_0030: 63 << 8 | 1 << 16,
    0xFD1A_002C: 64 << 8 | 1 << 16,
    0xFF5E_00C0: 1 << 24 | 1 << 16 | 5 << 8,
}


class Registers:
    """Registers that hold what was written to them.

    Raises
    ------
    ValueError
        On an address of no block.
    """

    def __init__(self, board: Board) -> None:
        self._gpio = board.gpio
        self._blocks = [
            (board.gpio, RANGE),
            *(_ZYNQ_BLOCKS if board.zynq_7000 else _ULTRASCALE_BLOCKS),
        ]
        self._words = (
            {0xF800_0000 + offset: word for offset, word in _ZYNQ_CLOCKS.items()}
            if board.zynq_7000
            else dict(_ULTRASCALE_CLOCKS)
        )

    def check(self, address: int, size: int) -> None:
        """Raise ValueError unless a block holds all of these bytes."""
        if not any(base <= address and address + size <= base + n for base, n in self._blocks):
            raise ValueError(f"nothing answers on the bus at 0x{address:X}, {size} bytes")

    def read(self, address: int) -> int:
        """The word at an address."""
        self.check(address, 4)
        return self._words.get(address, 0)

    def write(self, address: int, word: int) -> None:
        """Set the word at an address."""
        self.check(address, 4)
        width = GPIO_WIDTH if address == self._gpio else 32
        self._words[address] = word & ((1 << width) - 1)
