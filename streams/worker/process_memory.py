"""Memory that is freed goes back to the system."""

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
    if hasattr(_libc, "mallopt"):
        _libc.mallopt(_M_MMAP_THRESHOLD, LARGE)


def give_back() -> None:
    """Give free pages of the heaps back: after much was freed at once.

    Each thread has a heap of its own, and what was loaded in one leaves holes there. It takes
    some milliseconds. Elsewhere than with glibc nothing happens.

    Source: malloc_trim(3).
    """
    if hasattr(_libc, "malloc_trim"):
        _libc.malloc_trim(0)


_libc = ctypes.CDLL(None)
