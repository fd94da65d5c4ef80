"""What large arrays took is given back when they are freed."""

from __future__ import annotations

import subprocess
import sys

import pytest

AFTER_OTHERS_WERE_FREED = """
import re
from pathlib import Path
import numpy as np
from streams.worker.process_memory import LARGE, map_large_arrays

def heap():
    for line in Path("/proc/self/maps").read_text().splitlines():
        if line.endswith("[heap]"):
            return range(*(int(number, 16) for number in re.match("(.+?)-(.+?) ", line).groups()))

def lies_in_the_heap(size):
    np.ones(30 * LARGE, np.uint8)  # and freed: by itself the library has the next in its heap
    return np.ones(size, np.uint8).ctypes.data in heap()

before = lies_in_the_heap(4 * LARGE)
map_large_arrays()
print(before, lies_in_the_heap(8 * LARGE))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
def test_no_large_array_lies_in_the_heap_after_others_were_freed() -> None:
    said = subprocess.run(
        [sys.executable, "-c", AFTER_OTHERS_WERE_FREED], check=True, capture_output=True, text=True
    )
    assert said.stdout.split() == ["True", "False"]
