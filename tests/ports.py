"""Ports for servers that a test starts later, on a machine where other tests do the same."""

from __future__ import annotations

import itertools
import os
import socket

# Below what systems hand out by themselves, to whoever connects (Linux from 32768, IANA from 49152)
_FIRST, _LAST = 12_000, 32_000
# Each process of pytest-xdist has a share of its own.
_PROCESS = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_SHARE = (_LAST - _FIRST) // 16
_numbers = itertools.cycle(range(_SHARE))
for _ in range(os.getpid() * 37 % _SHARE):  # another run on this machine begins elsewhere
    next(_numbers)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody has, and that this run of the tests gives nobody else.

    A port that the system gives for 0 is given again as soon as it is closed: to the next process
    that asks, and to any connection.
    """
    for number in _numbers:
        port = _FIRST + _PROCESS % 16 * _SHARE + number
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("unreachable")
