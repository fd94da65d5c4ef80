"""No module of the engine or the overlays imports, by any way round, one that imports it.

Imports within functions, and those for type checkers alone, count too: what is put off to break a
cycle is still a cycle for whoever reads or moves the code.
"""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def modules(root: Path, packages: tuple[str, ...]) -> dict[str, Path]:
    """The files of the packages' modules, by the name they are imported by."""
    found = {}
    for package in packages:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(source: str, known: dict[str, Path]) -> set[str]:
    """Which of the known modules a source names in its imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                names.add(whole if whole in known else node.module)
    return names & known.keys()


def cycle(root: Path, packages: tuple[str, ...]) -> list[str]:
    """The modules of one cycle, each importing the one before it; empty if there is none."""
    known = modules(root, packages)
    graph = {name: imported(path.read_text(), known) - {name} for name, path in known.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_there_are_no_import_cycles() -> None:
    assert len(modules(ROOT, ("engine", "overlays"))) > 100
    assert cycle(ROOT, ("engine", "overlays")) == []


@pytest.mark.parametrize(
    "back",
    [
        "from a.first import x\n",
        "from a import first\n",
        "def later():\n    import a.first\n",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from a.first import x\n",
    ],
)
def test_a_cycle_is_found(tmp_path: Path, back: str) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "first.py").write_text("import a.second\n")
    (tmp_path / "a" / "second.py").write_text(back)
    assert set(cycle(tmp_path, ("a",))) == {"a.first", "a.second"}
