"""The kernels' cache is never stale, and one that cannot be written stops nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Prints what a kernel makes of a constant of another file, and how many kernels of how many files
# came from the cache, or did not.
SCRIPT = """
import numpy as np
from engine.features.head import top_k
from engine.features.user_items import UserItems
from engine.graph import NeighbourRows, recent_ids
from engine.step.model import exclude

number, scores = np.zeros(1, np.int32), np.zeros(1, np.float32)
exclude(np.ones(1, np.bool_), UserItems().arrays, 0, number, number, scores)
top_k(scores, 1, number)
recent_ids(NeighbourRows(8).arrays, 0, 1, 0, number)
used = (exclude, top_k, recent_ids)
print(
    scores[0], sum(sum(k.stats.cache_hits.values()) for k in used),
    sum(sum(k.stats.cache_misses.values()) for k in used),
)
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    copied = tmp_path / "tree"
    shutil.copytree(
        ROOT / "engine", copied / "engine", ignore=shutil.ignore_patterns("__pycache__")
    )
    return copied


def run(tree: Path, **variables: str | None) -> tuple[str, str]:
    """What the script printed to its output, and to its error output."""
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    for name, value in variables.items():
        environment.pop(name, None)
        if value is not None:
            environment[name] = value
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=tree, env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip(), done.stderr


def test_a_changed_constant_of_one_file_recompiles_the_kernels_of_all(tree: Path) -> None:
    kept = str(tree.parent / "cache")
    assert run(tree, NUMBA_CACHE_DIR=kept)[0] == "-1e+30 0 3"
    assert run(tree, NUMBA_CACHE_DIR=kept)[0] == "-1e+30 3 0"
    head = tree / "engine" / "features" / "head.py"
    text = head.read_text()
    head.write_text(text.replace("EXCLUDED = np.float32(-1e30)", "EXCLUDED = np.float32(-2e30)"))
    assert run(tree, NUMBA_CACHE_DIR=kept)[0] == "-2e+30 0 3"
    # The other state's kernels are there still, for workers that run it.
    head.write_text(text)
    assert run(tree, NUMBA_CACHE_DIR=kept)[0] == "-1e+30 3 0"


@pytest.mark.long
def test_folders_of_old_sources_are_removed_but_for_the_latest(tree: Path) -> None:
    kept = tree.parent / "cache"
    for age in range(12):
        folder = kept / f"millrace-{age:016x}"
        folder.mkdir(parents=True)
        os.utime(folder, (10**9 - age, 10**9 - age))
    (kept / "of-another-program").mkdir()
    run(tree, NUMBA_CACHE_DIR=str(kept))
    left = {path.name for path in kept.iterdir()}
    assert len(left) == 10
    assert "of-another-program" in left
    assert {f"millrace-{age:016x}" for age in range(8)} < left


def test_a_cache_that_cannot_be_written_is_told_once_and_done_without(tree: Path) -> None:
    blocked = tree.parent / "file"
    blocked.write_text("no folder")
    out, error = run(tree, NUMBA_CACHE_DIR=str(blocked / "cache"))
    assert out == "-1e+30 0 3"
    assert error.count("\n") == 1
    assert "NUMBA_CACHE_DIR" in error


@pytest.mark.long
def test_without_a_home_kernels_are_compiled_all_the_same(tree: Path) -> None:
    blocked = tree.parent / "file"
    blocked.write_text("no folder")
    variables = {"NUMBA_CACHE_DIR": None, "HOME": str(blocked), "XDG_CACHE_HOME": None}
    out, error = run(tree, **variables)
    assert out == "-1e+30 0 3"
    assert error.count("\n") == 1
    assert not list(tree.glob("*millrace*"))


@pytest.mark.long
def test_damaged_files_are_compiled_anew(tree: Path) -> None:
    kept = tree.parent / "cache"
    run(tree, NUMBA_CACHE_DIR=str(kept))
    for path in kept.rglob("*.nb?"):
        path.write_bytes(b"damaged")
    out, _ = run(tree, NUMBA_CACHE_DIR=str(kept))
    assert out == "-1e+30 0 3"
    assert run(tree, NUMBA_CACHE_DIR=str(kept))[0] == "-1e+30 3 0"


@pytest.mark.long
def test_equal_sources_share_their_kernels_wherever_they_are_installed(tree: Path) -> None:
    kept = str(tree.parent / "cache")
    other = tree.parent / "other"
    shutil.copytree(tree, other)
    os.utime(other / "engine" / "features" / "head.py", (10**9, 10**9))
    assert run(tree, NUMBA_CACHE_DIR=kept)[0] == "-1e+30 0 3"
    assert run(other, NUMBA_CACHE_DIR=kept)[0] == "-1e+30 3 0"


@pytest.mark.long
def test_a_changed_kernel_of_a_script_is_compiled_anew(tree: Path) -> None:
    """The engine's digest does not cover it."""
    kept, script = str(tree.parent / "cache"), tree.parent / "script.py"
    source = (
        "from engine.compiled import kernel\n\n@kernel\ndef one():\n    return ONE\n\nONE = {}\n"
    )

    def printed(number: int) -> str:
        script.write_text(source.format(number) + "print(one())\n")
        environment = {**os.environ, "PYTHONPATH": str(tree), "NUMBA_CACHE_DIR": kept}
        command = [sys.executable, script]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True
        ).stdout.strip()

    assert (printed(1), printed(22), printed(22)) == ("1", "22", "22")
