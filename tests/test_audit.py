"""What `make audit` says of a report as pip-audit writes it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

SPEC = importlib.util.spec_from_file_location(
    "audit", Path(__file__).parents[1] / ".ci" / "audit.py"
)
assert SPEC is not None
assert SPEC.loader is not None
AUDIT = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(AUDIT)

CLEAN = {"name": "idna", "version": "3.20", "vulns": []}
SKIPPED = {"name": "yarl", "skip_reason": "Dependency not found on PyPI and could not be audited"}
BAD = {
    "name": "jinja2",
    "version": "2.4.1",
    "vulns": [{"id": "PYSEC-2014-8", "fix_versions": ["2.7.2"], "aliases": [], "description": ""}],
}


@pytest.mark.parametrize(
    ("packages", "status", "last"),
    [
        ([CLEAN, SKIPPED], 0, "audit: 1 of 2 packages looked up; known faults: 0"),
        ([CLEAN, BAD], 1, "audit: 2 of 2 packages looked up; known faults: 1"),
        ([SKIPPED, SKIPPED], 0, "audit: no data on any of 2 packages: nothing was looked up"),
    ],
)
def test_findings_fail_and_missing_data_is_told(
    packages: list[dict[str, object]], status: int, last: str
) -> None:
    lines, found = AUDIT.summary({"dependencies": packages})
    assert (found, lines[-1]) == (status, last)
    named = "jinja2 2.4.1: PYSEC-2014-8, mended in 2.7.2"
    assert (named in lines) == (BAD in packages)


def test_every_pin_is_exact() -> None:
    """An audit of anything else would be of whatever is newest."""
    pins = [pin.partition(" ;") for pin in AUDIT.PINS.read_text().splitlines()]
    assert len(pins) > 50
    assert all(pin.count("==") == 1 for pin, _, _ in pins)
    assert all(marker.startswith(" python_version ") for _, given, marker in pins if given)
