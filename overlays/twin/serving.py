"""A board's twin on this machine, until it is stopped."""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path

from engine.propagation import BackendError
from overlays.boards import board_named
from overlays.hwh import write_overlay
from overlays.sim.model import MissingToolError, Timing
from overlays.twin.core import make_core
from overlays.twin.server import start_server
from overlays.twin.soc import Soc

log = logging.getLogger("millrace.board")


def serve(
    board: str, dimensions: int, ports: int, overlay: Path, host: str, port: int, timing: list[str]
) -> None:
    """Serve a board's twin until the process ends.

    Prints one line for other programs: where it answers, and the overlay that clients are to load.

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
        name=value pairs: what of `Timing` (the memory's) is to be other than the board's.

    Raises
    ------
    BackendError
        If the board, a name in `timing` or D is unknown, a tool is missing, or the port is taken.
    """
    try:
        which = board_named(board)
        soc = Soc(which, make_core(which, dimensions, ports, **_timing(timing)))
        bit = write_overlay(overlay, which, dimensions, ports)
        server, bound = start_server(soc, host, port)
    except (ValueError, RuntimeError, MissingToolError) as error:
        raise BackendError(str(error)) from error
    log.info("a simulated %s answers on %s:%d", which.name, host, bound)
    print(f"board={host}:{bound} bitstream={bit.resolve()}", flush=True)
    server.wait_for_termination()


def _timing(pairs: list[str]) -> dict[str, float]:
    known = asdict(Timing())
    values = {}
    for pair in pairs:
        name, _, value = pair.partition("=")
        if name not in known:
            raise BackendError(f"timing {name!r}: there are {', '.join(known)}")
        try:
            values[name] = type(known[name])(value)
        except ValueError:
            raise BackendError(f"timing {pair!r}: not a number") from None
    return values
