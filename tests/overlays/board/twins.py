"""A board's twin in a process of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

DIMENSIONS, PORTS = 32, 2


class TwinProcess:
    """``millrace board``, to be stopped, killed and started again at its port."""

    def __init__(self, board: str, folder: Path) -> None:
        self._board, self._folder = board, folder
        self.port = 0
        self.process: subprocess.Popen[str]
        self.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "streams.cli", "board", "--board", self._board]
        command += ["--port", str(self.port), "--overlay", str(self._folder)]
        command += ["--dimensions", str(DIMENSIONS), "--ports", str(PORTS)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        said = self.process.stdout.readline()
        found = re.fullmatch(r"board=127.0.0.1:(\d+) bitstream=(.*\.bit)\n", said)
        assert found, f"the twin said {said!r}"
        self.port, self.bit = int(found[1]), Path(found[2])

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
