"""The simulated FPGA board that a recipe is served by, where the settings name no other."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from engine.settings import EngineSettings
from engine.training import Recipe
from streams.processes import Child


@contextmanager
def board_for(recipes: Sequence[Recipe], settings: EngineSettings) -> Iterator[tuple[str, str]]:
    """(address, bitstream) of a board for the recipes that need one; both empty without one.

    A board that cannot start says why on standard error; the rows that need it then fail.
    """
    widths = [
        one.dimensions * one.members + one.take_dimensions
        for one in recipes
        if one.serving.aggregator == "pynq"
    ]
    if settings.board or settings.bitstream or not widths:
        yield settings.board, settings.bitstream
        return
    command = [sys.executable, "-m", "streams.cli", "board", "--port", "0"]
    with Child([*command, "--dimensions", str(widths[0])], stdout=subprocess.PIPE) as child:
        assert child.process.stdout is not None
        line = child.process.stdout.readline().decode().strip()
        address, _, bitstream = line.removeprefix("board=").partition(" bitstream=")
        yield address, bitstream
