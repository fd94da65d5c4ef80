"""The pynq driver of the aggregation core, bound by its VLNV wherever an overlay has one."""

from __future__ import annotations

import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pynq import DefaultIP, UnsupportedConfiguration

from overlays.registers import description, registers

VLNV = str(description()["vlnv"])
_REGISTERS = registers()
_CONTROL = _REGISTERS["CTRL"]
_CONFIG = _REGISTERS["CONFIG"]
_START = _REGISTERS["START"]
# CONFIG to START repeat: written by one call, since over a network each takes a round trip.
_BLOCK_WORDS = (_START.offset - _CONFIG.offset) // 4 + 1
_BLOCKS = 4
_ELAPSED_CYCLES = 64
_RESET_SECONDS = 1.0


class CoreError(RuntimeError):
    """The core reported an error; it takes no batch until `reset`."""


@dataclass(frozen=True)
class Batch:
    """The registers of one batch, see registers.toml.

    Attributes
    ----------
    targets, degrees, edges, table, out
        Device addresses.
    base, limit
        First address that the core may touch, and the first after those.
    count
        Targets.
    length_log2, fanout, mode, decay, shift, seed
        Of the sampling and the arithmetic.
    """

    targets: int
    degrees: int
    edges: int
    table: int
    out: int
    base: int
    limit: int
    count: int
    length_log2: int
    fanout: int
    decay: int
    shift: int
    mode: int = 0
    seed: int = 0


class AggregateCore(DefaultIP):  # type: ignore[misc]
    """The core of an overlay: `overlay.aggregate_0`.

    Attributes
    ----------
    dimensions, ports : int
        How it was built.

    Raises
    ------
    UnsupportedConfiguration
        If its version is not that of registers.toml: another layout of memory or registers.
    """

    bindto = [VLNV]  # noqa: RUF012 (pynq's)

    def __init__(self, description_: dict[str, Any]) -> None:
        super().__init__(description_)
        version = self.read(_REGISTERS["VERSION"].offset)
        expected = int(description()["version"])
        if version != expected:
            raise UnsupportedConfiguration(
                f"the core's version is 0x{version:08X}, the driver's 0x{expected:08X}"
            )
        build = _REGISTERS["BUILD"]
        word = self.read(build.offset)
        self.dimensions = build.fields["DIMENSIONS"].of(word)
        self.ports = build.fields["PORTS"].of(word)
        self.reset()

    def reset(self) -> None:
        """Drop every batch and clear errors and counters.

        Raises
        ------
        TimeoutError
            If the core is not idle within a second.
        """
        self.write(_CONTROL.offset, _CONTROL.word(RESET=1))
        deadline = time.monotonic() + _RESET_SECONDS
        while True:
            control = self.read(_CONTROL.offset)
            if _CONTROL.fields["IDLE"].of(control) and not _CONTROL.fields["ERROR"].of(control):
                break
            if time.monotonic() > deadline:
                raise TimeoutError(f"the core did not reset: CTRL 0x{control:08X}")
        self._elapsed = 0

    def run(self, batches: Sequence[Batch], timeout: float) -> int:
        """Run batches, nothing else being queued, and wait for their end.

        Four are queued by one write of registers. The bus holds the write of the third until the
        first has finished, and so on: they should be short.

        Parameters
        ----------
        timeout
            In seconds of the host's clock, once all are queued. After it the core may still be at
            work: `reset` it.

        Returns
        -------
        int
            Clock cycles that they took, to 64 cycles (the error does not add up).

        Raises
        ------
        CoreError
            If the core reports an error.
        TimeoutError
            If it does not finish in time.
        """
        for first in range(0, len(batches), _BLOCKS):
            blocks = [_words(batch) for batch in batches[first : first + _BLOCKS]]
            self.write(_CONFIG.offset, b"".join(blocks))
        deadline = time.monotonic() + timeout
        while not _CONTROL.fields["IDLE"].of(control := self._control()):
            if time.monotonic() > deadline:
                count = sum(batch.count for batch in batches)
                raise TimeoutError(
                    f"a batch of {count} took more than {timeout} s: CTRL 0x{control:08X}"
                )
        elapsed = _CONTROL.fields["ELAPSED"]
        before, self._elapsed = self._elapsed, elapsed.of(control)
        return (self._elapsed - before) % (1 << elapsed.width) * _ELAPSED_CYCLES

    def _control(self) -> int:
        """CTRL, if it reports no error."""
        control = int(self.read(_CONTROL.offset))
        error = _CONTROL.fields["ERROR"]
        if error.of(control):
            raise CoreError(f"error {error.of(control)} ({error.description})")
        return control


def _words(batch: Batch) -> bytes:
    """What CONFIG to START take."""
    words = {
        "CONFIG": _CONFIG.word(
            FANOUT=batch.fanout,
            MODE=batch.mode,
            LENGTH_LOG2=batch.length_log2,
            SHIFT=batch.shift,
        ),
        "DECAY": batch.decay,
        "SEED": batch.seed,
        "COUNT": batch.count,
        "TARGETS": batch.targets,
        "DEGREES": batch.degrees,
        "EDGES": batch.edges,
        "TABLE": batch.table,
        "OUT": batch.out,
        "BASE": batch.base,
        "LIMIT": batch.limit,
        "START": _START.word(START=1),
    }
    block = bytearray(4 * _BLOCK_WORDS)
    for name, word in words.items():
        struct.pack_into("<I", block, _REGISTERS[name].offset - _CONFIG.offset, word)
    return bytes(block)
