"""Memory in huge pages holds what it held in small ones, and a fork copies fewer entries of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from engine.state import huge_pages

HUGE = Path("/sys/kernel/mm/transparent_hugepage/enabled")
pytestmark = pytest.mark.skipif(
    not HUGE.exists() or "[never]" in HUGE.read_text(), reason="this kernel has no huge pages"
)

_ALONE = """
import mmap
import re
from pathlib import Path
from engine.state import huge_pages

def huge_kib():
    return int(re.search(r"AnonHugePages: +(\\d+)", Path("/proc/self/smaps_rollup").read_text())[1])

memory = mmap.mmap(-1, 64 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for page in range(0, 32 << 20, 4096):
    memory[page] = page // 4096 % 251
memory[48 << 20] = 1  # alone in its 2 MiB
before = huge_kib()
pages = huge_pages.collapse()
assert pages >= 14, pages
gained = huge_kib() - before
assert 14 * 2048 <= gained < 32 * 2048, gained
assert all(memory[page] == page // 4096 % 251 for page in range(0, 32 << 20, 4096))
assert memory[48 << 20] == 1
"""


def test_what_is_resident_is_collapsed_and_what_is_idle_takes_no_memory() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _ALONE], capture_output=True, text=True, check=False,
        cwd=Path(__file__).parents[3],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_a_kernel_that_refuses_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huge_pages, "_MADV_COLLAPSE", 9999)
    assert huge_pages.collapse() == 0
    array = np.zeros(8 << 20, np.uint8)
    monkeypatch.setattr(huge_pages, "_MADV_HUGEPAGE", 9999)
    huge_pages.advise(array)
    assert not array.any()
