"""What `make audit` says of a report as pip-audit writes it; what is pinned; `make sbom`."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


def loaded(name: str) -> ModuleType:
    file = Path(__file__).parents[1] / ".ci" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


AUDIT, AUDIT_JARS, SBOM = map(loaded, ("audit", "audit_jars", "sbom"))

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


ROOT = Path(__file__).parents[1]
FILES = ("requirements.txt", "requirements-dev.txt", "requirements-extras.txt")
NAME = r"[A-Za-z0-9][\w.-]*"


def pins(file: str) -> dict[str, set[str]]:
    """The versions of each package; every line is a pin, or a hash of it."""
    found: dict[str, set[str]] = {}
    last = ""
    for line in (ROOT / file).read_text().splitlines():
        if pin := re.fullmatch(rf"({NAME})==([\w.!+-]+)( ; [^\\]+)? \\", line):
            last = re.sub(r"[-_.]+", "-", pin[1]).lower()
            found.setdefault(last, set()).add(pin[2])
        else:
            assert re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}( \\)?", line), line
            assert last
    return found


@pytest.mark.parametrize("file", FILES)
def test_every_pin_is_exact_and_has_hashes_and_no_address(file: str) -> None:
    """An audit of anything else would be of whatever is newest."""
    text = (ROOT / file).read_text()
    assert len(pins(file)) > 50
    for block in re.split(r"\n(?=\S)", text.rstrip("\n")):
        assert "--hash=sha256:" in block, block
    assert "://" not in text


def test_the_files_agree_and_each_extra_is_pinned() -> None:
    default, dev, extras = (pins(file) for file in FILES)
    assert default.keys() <= dev.keys()
    for name, versions in dev.items():
        # Only other systems, or newer Pythons, have what the file of every extra lacks.
        assert extras.get(name, versions) & versions, name
        assert default.get(name, versions) == versions, name
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = project["project"]["optional-dependencies"]
    wanted = [*project["build-system"]["requires"], *project["project"]["dependencies"]]
    for requirements, pinned in ((wanted, default), ([*wanted, *groups["dev"]], dev),
                                 (sum(groups.values(), wanted), extras)):  # fmt: skip
        for requirement in requirements:
            name = re.sub(r"[-_.]+", "-", re.match(NAME, requirement)[0]).lower()  # type: ignore[index]
            assert name in pinned or name == project["project"]["name"], requirement


JARS = [("org.x:a", "1"), ("org.x:b", "2")]


def test_what_is_known_of_jars_fails_unless_it_is_accepted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: dict[str, Any] = {"results": [{}, {"vulns": [{"id": "GHSA-1"}, {"id": "GHSA-2"}]}]}
    lines, status = AUDIT_JARS.summary(JARS, told)
    assert status == 1
    assert lines[:2] == ["org.x:b 2: GHSA-1", "org.x:b 2: GHSA-2"]
    monkeypatch.setattr(AUDIT_JARS, "ACCEPTED", dict.fromkeys(("GHSA-1", "GHSA-2"), "why"))
    lines, status = AUDIT_JARS.summary(JARS, told)
    assert (lines, status) == (["audit: 2 jars looked up; known faults: 0, accepted: 2"], 0)


def test_without_data_on_jars_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert AUDIT_JARS.audit("http://127.0.0.1:1/") == 0
    assert "no data on Kafka's 57 jars" in capsys.readouterr().out


def test_the_jars_are_those_of_the_kafka_that_is_fetched() -> None:
    jars = dict(AUDIT_JARS.coordinates())
    wanted = re.findall(
        r"<groupId>(org[^<]+)</groupId>\s*<artifactId>([^<]+)</artifactId>\s*<version>([^<]+)",
        (ROOT / "pom.xml").read_text(),
    )
    assert len(wanted) >= 2
    for group, artifact, version in wanted:
        if "plugin" not in artifact:
            assert jars[f"{group}:{artifact}"] == version


def test_the_bill_of_materials_names_all_that_is_pinned() -> None:
    bill = SBOM.bill()
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    parts = {part["bom-ref"]: part for part in bill["components"]}
    assert len(parts) == len(bill["components"])
    for name, versions in pins("requirements.txt").items():
        for version in versions:
            assert parts[f"pkg:pypi/{name}@{version}"]["properties"]
    jar = parts["pkg:maven/org.apache.kafka/kafka_2.13@3.9.1"]
    assert len(jar["hashes"][0]["content"]) == 64
    images = [part["name"] for part in parts.values() if part["type"] == "container"]
    assert images == ["apache/kafka", "grafana/grafana", "prom/prometheus", "python"]
    assert set(bill["dependencies"][0]["dependsOn"]) == parts.keys()
