"""``python -m overlays.twin``: a board's twin on this machine."""

from __future__ import annotations

import argparse
import contextlib
from dataclasses import fields
from pathlib import Path

from overlays.boards import BOARDS, board_named
from overlays.hwh import write_overlay
from overlays.sim.model import Timing
from overlays.twin.core import make_core
from overlays.twin.server import PORT, start_server
from overlays.twin.soc import Soc


def serve(
    board: str = "pynq-z2",
    dimensions: int = 32,
    ports: int = 2,
    overlay: Path = Path(".cache/overlays"),
    host: str = "127.0.0.1",
    port: int = PORT,
    **timing: float,
) -> None:
    """Serve a board's twin until the process ends.

    Prints the address, and the overlay that clients are to load.

    Parameters
    ----------
    board
        pynq-z2, zcu104 or kv260.
    dimensions, ports
        How the core is built: D, and the read ports.
    overlay
        Folder that gets the .bit and .hwh.
    host, port
        Where; port 0 takes a free one. Whoever reaches it may use the board: pynq's protocol knows
        no passwords.
    timing
        What of `Timing` (the memory's, in cycles of the core) is to be other than the board's.

    Raises
    ------
    ValueError
        If there is no such board.
    RuntimeError
        If the port is taken.
    """
    which = board_named(board)
    soc = Soc(which, make_core(which, dimensions, ports, **timing))
    bit = write_overlay(overlay, which, dimensions, ports)
    server, bound = start_server(soc, host, port)
    print(f"A simulated {which.name} answers on {host}:{bound}; its overlay: {bit}", flush=True)
    server.wait_for_termination()


def main() -> None:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser(prog="overlays.twin", description=__doc__)
    parser.add_argument("--board", choices=BOARDS, default="pynq-z2")
    parser.add_argument("--dimensions", type=int, choices=(32, 64, 128), default=32)
    parser.add_argument("--ports", type=int, default=2, help="read ports of the core")
    parser.add_argument("--overlay", type=Path, default=Path(".cache/overlays"))
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=PORT, help="0: a free one")
    timing = parser.add_argument_group(
        "memory", "in cycles of the core, see Timing in overlays/sim/model.py; else the board's"
    )
    for field in fields(Timing):
        timing.add_argument(
            f"--{field.name.replace('_', '-')}",
            type=type(field.default),
            default=argparse.SUPPRESS,
        )
    with contextlib.suppress(KeyboardInterrupt):
        serve(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
