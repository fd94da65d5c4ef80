"""Memory of large arrays goes back to the system when they are freed."""

from __future__ import annotations

import ctypes

LARGE = 1 << 20
"""Bytes from which an allocation is a mapping of its own."""
_M_MMAP_THRESHOLD = -3


def map_large_arrays() -> None:
    """Have whatever is large be a mapping of its own, which is given back when it is freed.

    glibc does so from 128 KiB on, but raises that to the size of whatever large is freed, up to
    32 MiB: tables that are made later then lie in the heap, where their memory stays when they are
    replaced. Elsewhere nothing happens.

    Source: mallopt(3), M_MMAP_THRESHOLD.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_MMAP_THRESHOLD, LARGE)
