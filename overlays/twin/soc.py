"""The board: its address map, memory and files around the simulated core."""

from __future__ import annotations

import threading
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from overlays.boards import Board
from overlays.hwh import RANGE, read_image, rtl_digest
from overlays.registers import registers
from overlays.twin.bus import Registers
from overlays.twin.memory import Allocator

FIRMWARE = "/lib/firmware/"
MANAGER = "/sys/class/fpga_manager/fpga0/"
_CONTROL = registers()["CTRL"]
_BUILD = registers()["BUILD"]
_QUANTUM = 64
_POLL = 32_768  # cycles: about what passes on a board while a client asks once over a network
_FILE_BYTES = 64 << 20
_UNPROGRAMMED = 0xFFFF_FFFF  # what a bus without anybody on it reads as


class Core(Protocol):
    """What the board needs of the simulated core (`overlays/sim/model.py`)."""

    memory: NDArray[np.uint8]
    """The contiguous memory, from the board's first address of it on."""

    def read(self, offset: int) -> int:
        """Read a register."""
        ...

    def write(self, offset: int, word: int) -> None:
        """Write a register."""
        ...

    def run(self, cycles: int) -> None:
        """Let the clock tick."""
        ...


class Soc:
    """A board. Its methods may be called from any thread.

    The core's clock stands still but while a client uses its registers: a poll of CTRL lets it run
    on. So device time is what CYCLES counts, and the host's clock tells how fast the simulation
    is, not the board.

    Parameters
    ----------
    board
        Which one.
    core
        The simulated core, with the board's memory.

    Attributes
    ----------
    board : Board
    """

    def __init__(self, board: Board, core: Core) -> None:
        self.board = board
        self._core = core
        self._lock = threading.Lock()
        self._registers = Registers(board)
        self._allocator = Allocator(board.memory, board.memory_bytes)
        self._programmed = False
        self._files = {
            "/proc/version": f"Linux version 0 (twin) {board.kernel_architecture}\n".encode(),
            "/proc/device-tree/chosen/pynq_board": f"{board.name} (twin)\0".encode(),
            MANAGER + "state": b"unknown\n",
            MANAGER + "flags": b"0\n",
        }

    def check_window(self, address: int, size: int) -> None:
        """Raise ValueError if nothing answers at some of these bus addresses."""
        if not self._offset(address, size):
            self._registers.check(address, size)

    def read_word(self, address: int) -> int:
        """A word of the bus; ValueError where nothing answers."""
        with self._lock:
            if not self._offset(address, 4):
                return self._registers.read(address)
            if not self._programmed:
                return _UNPROGRAMMED
            offset = address - self.board.core
            if offset == _CONTROL.offset:
                self._advance()
            return self._core.read(offset)

    def write_word(self, address: int, word: int) -> None:
        """Set a word of the bus; ValueError where nothing answers."""
        with self._lock:
            if not self._offset(address, 4):
                self._registers.write(address, word)
            elif self._programmed:
                self._core.write(address - self.board.core, word)

    def allocate(self, size: int) -> int:
        """Address of `size` bytes; MemoryError if they are not to be had."""
        if size <= 0:
            raise ValueError(f"cannot allocate {size} bytes")
        with self._lock:
            return self._allocator.allocate(size)

    def release(self, address: int) -> None:
        """Free what `allocate` gave; KeyError if it gave nothing there."""
        with self._lock:
            self._allocator.release(address)

    @property
    def free(self) -> int:
        """Bytes of memory that are not allocated."""
        return self._allocator.free

    def bytes_at(self, address: int, size: int) -> NDArray[np.uint8]:
        """A view of memory: u8[size]."""
        start = address - self.board.memory
        return self._core.memory[start : start + size]

    def exists(self, path: str) -> bool:
        """Whether there is such a file."""
        return path in self._files

    def read_file(self, path: str) -> bytes:
        """A file's bytes; FileNotFoundError."""
        if path not in self._files:
            raise FileNotFoundError(path)
        return self._files[path]

    def write_file(self, path: str, content: bytes) -> None:
        """Write a file, in this board's memory alone.

        Written to the FPGA manager, the name of a firmware file programs the fabric.

        Raises
        ------
        FileNotFoundError
            If there is no such firmware.
        MemoryError
            If the files would take more than 64 MiB.
        ValueError
            If the firmware is none for this twin.
        """
        with self._lock:
            others = sum(len(data) for name, data in self._files.items() if name != path)
            if others + len(content) > _FILE_BYTES:
                raise MemoryError(f"the files of the board may take {_FILE_BYTES} bytes in all")
            if path == MANAGER + "firmware":
                self._program(content.decode())
            else:
                self._files[path] = content

    def _program(self, name: str) -> None:
        self._programmed = False
        self._files[MANAGER + "state"] = b"write error\n"
        image = read_image(self.read_file(FIRMWARE + name))
        build = self._core.read(_BUILD.offset)
        here = {
            "board": self.board.name,
            "dimensions": _BUILD.fields["DIMENSIONS"].of(build),
            "ports": _BUILD.fields["PORTS"].of(build),
            "rtl": rtl_digest(),
        }
        different = [name for name, value in here.items() if image.get(name) != value]
        if different:
            raise ValueError(
                "the overlay is not this twin's: "
                + ", ".join(f"{name} {image.get(name)} for {here[name]}" for name in different)
            )
        self._core.write(_CONTROL.offset, _CONTROL.word(RESET=1))
        self._programmed = True
        self._files[MANAGER + "state"] = b"operating\n"

    def _offset(self, address: int, size: int) -> bool:
        """Whether the core has all of these bus addresses."""
        return self.board.core <= address and address + size <= self.board.core + RANGE

    def _advance(self) -> None:
        """Let the core run for the time of a poll, or until it has nothing to do."""
        idle = _CONTROL.fields["IDLE"].mask
        for _ in range(_POLL // _QUANTUM):
            if self._core.read(_CONTROL.offset) & idle:
                break
            self._core.run(_QUANTUM)
