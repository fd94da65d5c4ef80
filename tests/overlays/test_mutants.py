"""Some of the planted bugs are caught; `python -m overlays.mutants` plants them all."""

import pytest

from overlays.mutants import MUTANTS, caught
from overlays.sim.model import RTL

QUICK = ("ring not wrapped", "quotient not rounded", "stale fading")


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_bug_can_still_be_planted(mutant) -> None:
    assert (RTL / mutant.file).read_text().count(mutant.old) == 1


@pytest.mark.parametrize(
    "name", [QUICK[0], *(pytest.param(name, marks=pytest.mark.long) for name in QUICK[1:])]
)
def test_planted_bugs_are_caught(verilator: None, name: str) -> None:
    mutant = next(mutant for mutant in MUTANTS if mutant.name == name)
    assert caught(mutant)
