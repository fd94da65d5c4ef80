"""Has a worker's memory kept in huge pages, so that a checkpoint does not hold events up.

A checkpoint is cut by fork, which copies the page tables and nothing else: of a worker of 800 MiB,
200,000 entries in pages of 4 KiB, 400 in pages of 2 MiB. glibc (2.35 and later) asks Linux for huge
pages if its environment says so when a process starts, and Python's own allocator never does.

References
----------
https://sourceware.org/glibc/manual/latest/html_node/Memory-Allocation-Tunables.html
"""

from __future__ import annotations

import os
import platform
import sys

ENVIRONMENT = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1", "PYTHONMALLOC": "malloc"}


def ensure() -> None:
    """Start this process again, as the same process, with the environment that asks for them.

    Does nothing on other systems, or where one of the variables is set already.
    """
    if platform.libc_ver()[0] == "glibc" and not ENVIRONMENT.keys() & os.environ.keys():
        os.execve(sys.executable, sys.orig_argv, os.environ | ENVIRONMENT)
