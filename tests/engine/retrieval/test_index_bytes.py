"""Bytes of an index that would lead usearch astray are refused before it loads them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from engine.retrieval.index_bytes import fault_of, keys_fault
from engine.retrieval.vector_index import VectorIndex, _new_index

WIDTH = 8
EMPTY = bytes(_new_index(WIDTH).save() or b"")


def index(nodes: int, removed: tuple[int, ...] = ()) -> np.ndarray:
    """The bytes of an index with these keys: 0 to nodes - 1."""
    made = VectorIndex()
    vectors = np.random.default_rng(0).normal(size=(nodes, WIDTH)).astype(np.float32)
    made.build(np.arange(nodes), vectors)
    for key in removed:
        made.remove(key)
    made._reload()
    return made._base


@pytest.mark.parametrize("nodes", [0, 1, 2, 17, 300])
def test_what_usearch_saved_is_sound(nodes: int) -> None:
    assert fault_of(index(nodes), WIDTH, EMPTY, max(nodes, 1), 1) == ""
    assert fault_of(index(nodes, tuple(range(0, nodes, 3))), WIDTH, EMPTY, max(nodes, 1), 1) == ""


def test_an_index_of_other_items_or_of_another_kind_is_refused() -> None:
    assert fault_of(index(20), WIDTH, EMPTY, 19, 1) == "its index holds item 19, and there are 19"
    assert fault_of(index(20), WIDTH, EMPTY, 10, 2) == ""
    assert "of other vectors" in fault_of(index(20), WIDTH + 1, EMPTY, 20, 1)
    assert fault_of(index(20)[:50], WIDTH, EMPTY, 20, 1).startswith("its index ")
    assert keys_fault(np.array([~5, 3]), 5, 1) == "its index holds item 5, and there are 5"


_SEARCH = """
import sys
import numpy as np
from engine.retrieval.index_bytes import fault_of
from tests.engine.retrieval.test_index_bytes import EMPTY, WIDTH, _new_index, index
whole, draw = index(300, (5, 9)), np.random.default_rng(1)
refused = 0
for _ in range(4000):
    damaged = whole.copy()
    for place in draw.integers(0, len(whole), draw.integers(1, 4)):
        damaged[place] = draw.integers(256)
    if draw.random() < 0.1:
        damaged = damaged[: draw.integers(len(whole))]
    if fault_of(damaged, WIDTH, EMPTY, 300, 1):
        refused += 1
        continue
    loaded = _new_index(WIDTH)
    try:
        loaded.load(damaged.tobytes())
    except RuntimeError:  # it checks a little itself
        refused += 1
        continue
    for vector in draw.normal(size=(3, WIDTH)).astype(np.float32):
        keys = np.asarray(loaded.search(vector, 20, threads=1).keys, np.int64)
        assert (keys % (1 << 24) < 300).all()
        loaded.add(int(draw.integers(1000, 2000)), vector, threads=1)
        break
print(refused)
"""


def test_no_damage_that_is_let_through_crashes_usearch() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _SEARCH], capture_output=True, text=True, check=False,
        cwd=Path(__file__).parents[3],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) > 1000
