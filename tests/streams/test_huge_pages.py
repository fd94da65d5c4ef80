"""A worker's memory is in huge pages, if its system has them and nobody said otherwise."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from streams.huge_pages import ENVIRONMENT

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")

SCRIPT = """
import os, sys
from streams.huge_pages import ensure
print("begins", os.getpid(), flush=True)
ensure()
print(os.environ.get("GLIBC_TUNABLES"), os.environ.get("PYTHONMALLOC"), sys.argv[1:])
"""


def ran(**environment: str) -> list[str]:
    clean = {name: value for name, value in os.environ.items() if name not in ENVIRONMENT}
    command = [sys.executable, "-c", SCRIPT, "an argument", "--and another"]
    output = subprocess.run(
        command, env=clean | environment, check=True, capture_output=True, text=True
    ).stdout
    return output.splitlines()


def test_it_starts_again_once_as_the_same_process() -> None:
    begins, again, told = ran()
    assert begins == again
    assert told == "glibc.malloc.hugetlb=1 malloc ['an argument', '--and another']"


@pytest.mark.parametrize("name", sorted(ENVIRONMENT))
def test_what_somebody_has_set_stays(name: str) -> None:
    value = "malloc_debug" if name == "PYTHONMALLOC" else ""
    begins, told = ran(**{name: value})
    assert begins.startswith("begins")
    assert (value or "None") in told


def test_a_worker_does_and_no_other_command() -> None:
    probe = (
        "import sys; from streams import cli, huge_pages;"
        "huge_pages.ensure = lambda: print('again');"
        "cli.app = lambda: None; sys.argv = ['millrace', {!r}]; cli.main()"
    )
    for command, told in (("worker", "again"), ("watch", "")):
        run = subprocess.run(
            [sys.executable, "-c", probe.format(command)],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        assert run.stdout.strip() == told
