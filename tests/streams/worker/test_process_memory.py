"""Memory that is freed goes back to the system, and not into a heap with holes."""

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


WITH_HOLES = """
import re
from pathlib import Path
from streams.worker.process_memory import give_back

def resident_kb():
    return int(re.search(r"Rss: +([0-9]+)", Path("/proc/self/smaps_rollup").read_text())[1])

held = [bytearray(50_000) for _ in range(2_000)]
kept = held[::20]  # some are between those that are freed
del held
before = resident_kb()
give_back()
print(before - resident_kb())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
def test_holes_of_a_heap_are_given_back() -> None:
    said = subprocess.run(
        [sys.executable, "-c", WITH_HOLES], check=True, capture_output=True, text=True
    )
    assert int(said.stdout) > 50_000
