"""Look Kafka's jars up among the known vulnerabilities: python .ci/audit_jars.py.

Asks OSV (https://google.github.io/osv.dev/post-v1-querybatch/). Exits 1 when a jar has one that is
not accepted below; where no data can be had, it says so and exits 0, as `.ci/audit.py` does.
"""

from __future__ import annotations

import json
import sys
import urllib.request
from pathlib import Path
from typing import Any

JARS = Path(__file__).with_name("kafka-jars.txt")
OSV = "https://api.osv.dev/v1/querybatch"
TIMEOUT_SECONDS = 30.0
ACCEPTED: dict[str, str] = {}
"""Vulnerabilities by id that do not concern a broker on this machine, and why."""


def coordinates() -> list[tuple[str, str]]:
    """Name (`group:artifact`) and version of each jar that `make kafka-jars` fetches."""
    found = []
    for line in JARS.read_text().splitlines():
        group, artifact, version = line.split()[2].split(":")
        found.append((f"{group}:{artifact}", version))
    return found


def audit(address: str = OSV) -> int:
    """Ask, and say what was found; returns the exit status."""
    jars = coordinates()
    queries = [
        {"package": {"ecosystem": "Maven", "name": name}, "version": version}
        for name, version in jars
    ]
    request = urllib.request.Request(
        address, json.dumps({"queries": queries}).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
            told = json.load(answer)
    except OSError as error:
        print(f"audit: no data on Kafka's {len(jars)} jars: {getattr(error, 'reason', error)}")
        return 0
    lines, status = summary(jars, told)
    print("\n".join(lines))
    return status


def summary(jars: list[tuple[str, str]], told: dict[str, Any]) -> tuple[list[str], int]:
    """What to say of an answer, and the exit status."""
    found = [
        (f"{name} {version}", vulnerability["id"])
        for (name, version), result in zip(jars, told["results"], strict=True)
        for vulnerability in result.get("vulns", ())
    ]
    new = [f"{jar}: {id_}" for jar, id_ in found if id_ not in ACCEPTED]
    accepted = len(found) - len(new)
    last = f"audit: {len(jars)} jars looked up; known faults: {len(new)}, accepted: {accepted}"
    return [*new, last], int(bool(new))


if __name__ == "__main__":
    sys.exit(audit())
