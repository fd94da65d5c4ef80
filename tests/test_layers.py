"""Imports go one way: streams to engine, overlays to engine; Kafka is known in streams alone."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
KAFKA = {"faust", "mode", "confluent_kafka", "aiokafka", "kafka"}
LAZILY = {"overlays"}
"""What the registry of aggregators imports within a function, by name, when it is asked for it."""
FORBIDDEN = {"engine": {"streams", *KAFKA, *LAZILY}, "overlays": {"streams", *KAFKA}}


def imports(tree: ast.AST, inside_a_function: bool = False) -> Iterator[tuple[str, bool]]:
    """The packages that a module imports, and whether within a function."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name.split(".")[0], inside_a_function) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0], inside_a_function
        function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        yield from imports(node, inside_a_function or function)


@pytest.mark.parametrize("layer", sorted(FORBIDDEN))
def test_a_layer_imports_nothing_of_those_above_it(layer: str) -> None:
    files = sorted((ROOT / layer).rglob("*.py"))
    assert len(files) > 10
    wrong = [
        f"{path.relative_to(ROOT)} imports {package}"
        for path in files
        for package, lazily in imports(ast.parse(path.read_text()))
        if package in FORBIDDEN[layer] and not (lazily and package in LAZILY)
    ]
    assert wrong == []
