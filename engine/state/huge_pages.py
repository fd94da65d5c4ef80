"""The memory of this process in pages of 2 MiB, as far as the kernel has them.

`fork()` copies a page table entry for each page: of 4 KiB pages a gigabyte has 262,144, of huge
ones 512. What a process writes while a child lives is split into small pages, so `collapse` is
called again when the child has ended. Linux 6.1 or later; elsewhere nothing happens.

Sources: madvise(2), MADV_HUGEPAGE and MADV_COLLAPSE; proc_pid_pagemap(5).
"""

from __future__ import annotations

import ctypes
import mmap
import re
import sys
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

HUGE_PAGE = 2 << 20
"""Bytes of a huge page on x86-64 and arm64 with pages of 4 KiB."""
_MADV_HUGEPAGE, _MADV_COLLAPSE = 14, 25
_MAPS, _PAGES = Path("/proc/self/maps"), Path("/proc/self/pagemap")
_WORTH_IT = HUGE_PAGE // mmap.PAGESIZE // 2
"""With less of a range, what was freed in it would take more memory again than is in use."""
_MAPPING = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S+) (?:\S+ ){2}0 +(\[heap\])?$")
"""An anonymous mapping, or the heap."""


def advise(array: NDArray[Any]) -> None:
    """Have memory that an array has not used yet come in huge pages."""
    start, end = _aligned(array.ctypes.data, array.ctypes.data + array.nbytes)
    if end > start:
        _madvise(start, end, _MADV_HUGEPAGE)


def collapse() -> int:
    """Have what this process has written be in huge pages again.

    Each range of 2 MiB of which half or more is resident is copied with the process's address
    space locked, some 0.3 ms; what is in huge pages already costs nothing. Called in a thread: the
    interpreter's lock is released.

    Returns
    -------
    int
        Pages that are huge now, or were before.
    """
    if not sys.platform.startswith("linux"):
        return 0
    huge = 0
    with _PAGES.open("rb", buffering=0) as pages:
        for line in _MAPS.read_text().splitlines():
            mapping = _MAPPING.match(line)
            if mapping is None or mapping[3] != "rw-p":
                continue
            start, end = _aligned(int(mapping[1], 16), int(mapping[2], 16))
            for page in range(start, end, HUGE_PAGE):
                if _resident(pages, page) >= _WORTH_IT:
                    huge += _madvise(page, page + HUGE_PAGE, _MADV_COLLAPSE)
    return huge


def _resident(pages: BinaryIO, start: int) -> int:
    """Small pages of a range of 2 MiB that are in memory. Stacks and idle room have few."""
    small = mmap.PAGESIZE
    pages.seek(start // small * 8)
    words = np.frombuffer(pages.read(HUGE_PAGE // small * 8), np.uint64)
    return int(np.count_nonzero(words >> np.uint64(63)))


def _aligned(start: int, end: int) -> tuple[int, int]:
    """The huge pages that lie wholly in a range."""
    return -(-start // HUGE_PAGE) * HUGE_PAGE, end // HUGE_PAGE * HUGE_PAGE


def _madvise(start: int, end: int, advice: int) -> bool:
    """Whether the kernel did as it was advised. It may refuse: then pages are small, no more."""
    return bool(_libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), advice) == 0)


_libc = ctypes.CDLL(None, use_errno=True)
