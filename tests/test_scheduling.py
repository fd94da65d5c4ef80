"""Several processes share the tests by files: what a file's tests share is then made once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.conftest import TOGETHER, FileScheduling


class Process:
    """A process of pytest-xdist that runs nothing: which tests it was told to run."""

    shutting_down = False

    def __init__(self) -> None:
        self.gateway = SimpleNamespace(id=str(id(self)))
        self.told: list[int] = []

    def send_runtest_some(self, indices: list[int]) -> None:
        self.told += indices

    def shutdown(self) -> None:
        self.shutting_down = True


def shares(tests: list[str], pytestconfig: pytest.Config) -> list[list[str]]:
    """The tests of each of two processes at the beginning."""
    known: dict[str, Any] = {"tx": ["popen"] * 2}
    config: Any = SimpleNamespace(
        option=SimpleNamespace(loadscopereorder=False, maxprocesses=None),
        getvalue=known.get, hook=pytestconfig.hook,
    )  # fmt: skip
    scheduling: Any = FileScheduling(config, None)
    processes: list[Any] = [Process(), Process()]
    for process in processes:
        scheduling.add_node(process)
    for process in processes:
        scheduling.add_node_collection(process, tests)
    scheduling.schedule()
    return [[tests[index] for index in process.told] for process in processes]


def test_the_tests_of_a_file_and_of_a_folder_go_to_one_process(
    pytestconfig: pytest.Config,
) -> None:
    folder, *_ = TOGETHER
    together = [f"tests/{folder}test_{file}.py::test_{n}" for file in "ab" for n in range(3)]
    file = [f"tests/test_c.py::test_{n}[{n}]" for n in range(5)]
    assert shares([*together, *file], pytestconfig) == [together, file]
