"""Print a software bill of materials, CycloneDX 1.6 in JSON: python .ci/sbom.py.

Of what is pinned: the packages of the default install, with the SHA-256 of their files, Kafka's
jars, and the images of the compose file. Equal pins give equal bytes.

References
----------
https://cyclonedx.org/docs/1.6/json/
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
_PIN = re.compile(r"([\w.-]+)==([^ ;\\]+)")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_IMAGE = re.compile(
    r"^\s*(?:image:|FROM)\s+(\S+?)(?::([^\s@]+))?(?:@(sha256:[0-9a-f]{64}))?$", re.MULTILINE
)


def packages() -> list[dict[str, Any]]:
    """The packages of the default install."""
    found: list[dict[str, Any]] = []
    for line in (ROOT / "requirements.txt").read_text().splitlines():
        if pin := _PIN.match(line):
            name = re.sub(r"[-_.]+", "-", pin[1]).lower()
            found.append(_component("library", name, pin[2], f"pkg:pypi/{name}@{pin[2]}"))
        elif digest := _HASH.search(line):
            # Of each file that pip may choose: a wheel a platform, and the sources.
            found[-1].setdefault("properties", []).append(
                {"name": "millrace:file-sha256", "value": digest[1]}
            )
    return found


def jars() -> list[dict[str, Any]]:
    """The jars that `make kafka-jars` fetches."""
    found = []
    for line in (ROOT / ".ci" / "kafka-jars.txt").read_text().splitlines():
        digest, _, place = line.split()
        group, artifact, version = place.split(":")
        purl = f"pkg:maven/{group}/{artifact}@{version}"
        jar = _component("library", artifact, version, purl) | {"group": group}
        found.append(jar | {"hashes": [{"alg": "SHA-256", "content": digest}]})
    return found


def images() -> list[dict[str, Any]]:
    """The images that are built on, or run."""
    text = "\n".join((ROOT / name).read_text() for name in ("Dockerfile", "docker-compose.yml"))
    return [
        _component("container", name, tag or digest, f"pkg:docker/{name}@{digest or tag}")
        for name, tag, digest in sorted(set(_IMAGE.findall(text)))
    ]


def bill() -> dict[str, Any]:
    """The whole document."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    name, version = project["name"], project["version"]
    ours = _component("application", name, version, f"pkg:pypi/{name}@{version}")
    components = [*packages(), *jars(), *images()]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": ours | {"licenses": [{"license": {"id": project["license"]}}]}},
        "components": components,
        "dependencies": [
            {"ref": ours["bom-ref"], "dependsOn": [part["bom-ref"] for part in components]}
        ],
    }


def _component(kind: str, name: str, version: str, purl: str) -> dict[str, Any]:
    return {"type": kind, "bom-ref": purl, "name": name, "version": version, "purl": purl}


if __name__ == "__main__":
    json.dump(bill(), sys.stdout, indent=2)
    print()
