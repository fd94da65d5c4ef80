"""Look the pinned packages up among the known vulnerabilities: python .ci/audit.py PIP_AUDIT.

Exits 1 when a package has one. Where no vulnerability data can be had, it says so and exits 0;
pip-audit itself tells that apart neither from a finding (no network, exit 1) nor from a clean bill
(a registry that mirrors packages without their data, exit 0).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

PINS = Path(__file__).parents[1] / "requirements.txt"
UNREACHABLE = ("ConnectionError", "Max retries", "Failed to resolve", "timed out")


def audit(pip_audit: str) -> int:
    """Run pip-audit on the pins and say what it found; returns the exit status."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        done = subprocess.run(
            [pip_audit, "--disable-pip", "--no-deps", "--requirement", str(PINS),
             "--progress-spinner", "off", "--format", "json", "--output", str(report)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if report.exists() and report.stat().st_size:
            lines, status = summary(json.loads(report.read_text()))
        elif any(words in done.stderr for words in UNREACHABLE):
            lines, status = ["audit: no network, so nothing was looked up"], 0
        else:
            lines, status = [f"audit: pip-audit failed: {done.stderr.strip()}"], 2
    print("\n".join(lines))
    return status


def summary(report: dict[str, Any]) -> tuple[list[str], int]:
    """What to say of pip-audit's report, and the exit status."""
    packages = report["dependencies"]
    known = [package for package in packages if "skip_reason" not in package]
    found = [
        f"{package['name']} {package['version']}: {vulnerability['id']}, "
        f"mended in {', '.join(vulnerability['fix_versions']) or 'no version'}"
        for package in known
        for vulnerability in package["vulns"]
    ]
    if not known:
        return [f"audit: no data on any of {len(packages)} packages: nothing was looked up"], 0
    told = f"audit: {len(known)} of {len(packages)} packages looked up; known faults: {len(found)}"
    return [*found, told], int(bool(found))


if __name__ == "__main__":
    sys.exit(audit(sys.argv[1]))
