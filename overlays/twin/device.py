"""The board twin as a pynq device of this process: no network, no copies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike
from pynq.buffer import PynqBuffer
from pynq.pl_server.device import Device
from pynq.pl_server.remote_device import _get_bitstream_handler

from overlays.twin.soc import FIRMWARE, MANAGER, Soc


class TwinBuffer(PynqBuffer):  # type: ignore[misc]
    """A view of the board's memory; freed with the last reference to it."""

    def freebuffer(self) -> None:
        """Give the memory back. Slices own none."""
        # pynq sets `freed` on what is allocated, not on its slices.
        if not getattr(self, "freed", True):
            self.freed = True
            self.device.soc.release(self.device_address)


class TwinDevice(Device):  # type: ignore[misc]
    """Use as `pynq.Overlay(bit, device=TwinDevice(soc))`.

    Parameters
    ----------
    soc
        The board.
    """

    def __init__(self, soc: Soc) -> None:
        super().__init__("twin")
        self.soc = soc
        self.name = soc.read_file("/proc/device-tree/chosen/pynq_board").decode().strip("\0")
        self.arch = soc.board.kernel_architecture
        self.capabilities = {"REGISTER_RW": True}
        self.timestamp = ""

    def get_bitfile_metadata(self, bitfile_name: str, partial: bool = False) -> Any:
        """What the .hwh beside a .bit says."""
        return _get_bitstream_handler(bitfile_name).get_parser(partial=partial)

    def download(self, bitstream: Any, parser: Any = None) -> None:
        """Program the fabric."""
        name = Path(bitstream.bitfile_name).with_suffix(".bin").name
        self.soc.write_file(FIRMWARE + name, parser.bin_data)
        self.soc.write_file(MANAGER + "firmware", name.encode())
        self.post_download(bitstream, parser, self.name)

    def read_registers(self, address: int, length: int) -> bytes:
        """Words of the bus, little-endian."""
        words = [self.soc.read_word(address + at) for at in range(0, length, 4)]
        return np.array(words, "<u4").tobytes()

    def write_registers(self, address: int, data: bytes) -> None:
        """Set words of the bus, little-endian."""
        for at, word in enumerate(np.frombuffer(bytes(data), "<u4").tolist()):
            self.soc.write_word(address + 4 * at, word)

    def allocate(
        self, shape: int | tuple[int, ...], dtype: DTypeLike, cacheable: bool = True
    ) -> TwinBuffer:
        """An array in the board's memory, which has no caches."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        address = self.soc.allocate(size)
        return TwinBuffer(
            shape,
            dtype,
            buffer=self.soc.bytes_at(address, size),
            device=self,
            device_address=address,
        )

    def flush(self, bo: object, offset: int, virtual_address: int, nbytes: int) -> None:
        """Do nothing: host and device see the same bytes."""

    def invalidate(self, bo: object, offset: int, virtual_address: int, nbytes: int) -> None:
        """Do nothing: host and device see the same bytes."""
