"""The board twin, in this process and in one of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from overlays.boards import board_named
from overlays.hwh import write_overlay
from overlays.twin.core import make_core
from overlays.twin.device import TwinDevice
from overlays.twin.soc import Soc

DIMENSIONS, PORTS, LENGTH = 32, 2, 16


@dataclass
class Graph:
    """What the aggregator reads of the engine's NeighbourRows."""

    edges: NDArray[np.uint32]
    degree: NDArray[np.int64]
    length: int = field(init=False)

    def __post_init__(self) -> None:
        self.length = self.edges.shape[1]


@pytest.fixture
def graph() -> Graph:
    """60 nodes whose rows are empty, half full, full and overwritten; 200 neighbours."""
    random = np.random.default_rng(5)
    edges = random.integers(0, 200, (60, LENGTH), dtype=np.uint32)
    edges |= random.integers(0, 256, (60, LENGTH), dtype=np.uint32) << np.uint32(24)
    return Graph(edges, random.choice([0, 1, 7, LENGTH, LENGTH + 5, 1000], 60))


@pytest.fixture
def values() -> NDArray[np.float32]:
    """The neighbours' embeddings, of many scales: float32[200, 32]."""
    random = np.random.default_rng(6)
    scales = np.exp2(random.uniform(-12, 6, (200, 1)))
    return (random.normal(0, 1, (200, DIMENSIONS)) * scales).astype(np.float32)


@pytest.fixture(scope="session")
def overlay(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The .bit of each board."""
    folder = tmp_path_factory.mktemp("overlays")
    names = ("pynq-z2", "zcu104", "kv260")
    return {name: write_overlay(folder, board_named(name), DIMENSIONS, PORTS) for name in names}


@pytest.fixture
def device() -> TwinDevice:
    """A PYNQ-Z2's twin in this process."""
    board = board_named("pynq-z2")
    return TwinDevice(Soc(board, make_core(board, DIMENSIONS, PORTS)))


class TwinProcess:
    """``python -m overlays.twin``, to be stopped, killed and started again at its port."""

    def __init__(self, board: str, folder: Path) -> None:
        self._board, self._folder = board, folder
        self.port = 0
        self.process: subprocess.Popen[str]
        self.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "overlays.twin", "--board", self._board]
        command += ["--port", str(self.port), "--overlay", str(self._folder)]
        command += ["--dimensions", str(DIMENSIONS), "--ports", str(PORTS)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        said = self.process.stdout.readline()
        found = re.search(r":(\d+); its overlay: (.*\.bit)$", said)
        assert found, f"the twin said {said!r}"
        self.port, self.bit = int(found[1]), Path(found[2])

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module", params=["pynq-z2", "zcu104"])
def twin(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TwinProcess]:
    """A twin's process of each layout in turn."""
    process = TwinProcess(request.param, tmp_path_factory.mktemp("twin"))
    yield process
    process.kill()
