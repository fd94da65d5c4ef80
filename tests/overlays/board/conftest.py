"""Fixtures of the board twin, in this process and in one of its own."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.graph import NeighbourRows
from overlays.boards import BOARDS, board_named
from overlays.hwh import write_overlay
from tests.overlays.board.twins import DIMENSIONS, PORTS, TwinProcess

if TYPE_CHECKING:
    from overlays.twin.device import TwinDevice

LENGTH = 16

# test_extra.py says so, and fails where CI is set.
if importlib.util.find_spec("pynq") is None:
    collect_ignore = ["test_driver.py", "test_hwh.py", "test_pynq_aggregator.py", "test_twin.py"]


@pytest.fixture
def graph() -> NeighbourRows:
    """60 nodes whose rows are empty, half full, full and overwritten; 200 neighbours."""
    random = np.random.default_rng(5)
    rows = NeighbourRows(LENGTH, 60)
    rows.edges = random.integers(0, 200, (60, LENGTH), dtype=np.uint32)
    rows.edges |= random.integers(0, 256, (60, LENGTH), dtype=np.uint32) << np.uint32(24)
    rows.degree = random.choice([0, 1, 7, LENGTH, LENGTH + 5, 1000], 60)
    return rows


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
    return {name: write_overlay(folder, board, DIMENSIONS, PORTS) for name, board in BOARDS.items()}


@pytest.fixture
def make_device(verilator: None) -> Callable[..., TwinDevice]:
    """Makes a board's twin in this process."""
    from overlays.twin.core import make_core
    from overlays.twin.device import TwinDevice
    from overlays.twin.soc import Soc

    def make(board: str, dimensions: int = DIMENSIONS, ports: int = PORTS) -> TwinDevice:
        which = board_named(board)
        return TwinDevice(Soc(which, make_core(which, dimensions, ports)))

    return make


@pytest.fixture
def device(make_device: Callable[..., TwinDevice]) -> TwinDevice:
    """A PYNQ-Z2's."""
    return make_device("pynq-z2")


@pytest.fixture(scope="module", params=["pynq-z2", "zcu104"])
def twin(
    request: pytest.FixtureRequest, verilator: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TwinProcess]:
    """A twin's process of each layout in turn."""
    process = TwinProcess(request.param, tmp_path_factory.mktemp("twin"))
    yield process
    process.kill()
