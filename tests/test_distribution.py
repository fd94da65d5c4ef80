"""The sdist and the wheel: what is in them, and that a wheel runs where there is no checkout."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NAME = PROJECT["name"].replace("-", "_")
PACKAGES = ("engine", "streams", "overlays")
CHECKOUT_ONLY = ("overlays/README.md", "overlays/roofline.png", "overlays/synth/")
"""What `benchmarks/` and readers of the sources use."""


def tracked(*folders: str) -> set[str]:
    """Files of these folders that git knows."""
    listed = subprocess.run(
        ["git", "ls-files", *folders], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return {name for name in listed.stdout.splitlines() if (ROOT / name).exists()}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sdist, made of what git knows, and the wheel that is made of the sdist."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no git checkout")
    source, folder = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in tracked("."):
        copy = source / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes((ROOT / name).read_bytes())
    done = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, source],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    [sdist], [wheel] = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return sdist, wheel


@pytest.fixture(scope="module")
def installed(built: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of commands of a new environment with the wheel, and our dependencies."""
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, with_pip=False)
    python = home / "bin/python"
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps",
         "--disable-pip-version-check", built[1]],
        check=True,
    )  # fmt: skip
    site = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True, capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip
    # A path added by a .pth file is searched last, and its own .pth files, which would lead to
    # this checkout, are not read.
    Path(site, "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return home / "bin"


def run(command: list[str | Path], folder: Path, **variables: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= variables
    done = subprocess.run(
        command, cwd=folder, env=environment, check=False, capture_output=True, text=True,
        timeout=540,  # kernels are compiled for the new environment, on a busy machine
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_holds_every_file_of_the_packages(built: tuple[Path, Path]) -> None:
    names = set(zipfile.ZipFile(built[1]).namelist())
    wanted = {name for name in tracked(*PACKAGES) if not name.startswith(CHECKOUT_ONLY)}
    assert wanted - names == set()
    rest = {name for name in names if not name.startswith(f"{NAME}-")}
    assert {name.split("/")[0] for name in rest} == set(PACKAGES)
    [licence] = [name for name in names if name.endswith("licenses/LICENSE")]
    assert zipfile.ZipFile(built[1]).read(licence) == (ROOT / "LICENSE").read_bytes()


def test_the_sdist_holds_what_a_wheel_is_made_of(built: tuple[Path, Path]) -> None:
    with tarfile.open(built[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE"} <= names


@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_installed_command_runs_the_demo_on_a_file(installed: Path, tmp_path: Path) -> None:
    """`installed` has the command and all packages; the folder that it runs in has one data set."""
    where = run([installed / "python", "-c", "import streams; print(streams.__file__)"], tmp_path)
    assert Path(where).is_relative_to(installed.parent)
    lines = [f"{n % 17}\t{n * 7 % 41}\t{n % 5 + 1}\t{880_000_000 + n}" for n in range(200)]
    (tmp_path / "u.data").write_text("\n".join(lines) + "\n")
    items = [f"{n}|Film {n}|01-Jan-1995||http://x|{'|'.join('0' * 19)}" for n in range(41)]
    (tmp_path / "u.item").write_text("\n".join(items) + "\n")
    options = ["--data", tmp_path, "--events", "100"]
    told = run([installed / "millrace", "demo", *options], tmp_path)
    assert "100 events in = 100 recommendations + 0 dead letters + 0 duplicates" in told


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.skipif(not shutil.which("uvx"), reason="uv is not here")
def test_uvx_runs_the_demo_of_the_wheel(built: tuple[Path, Path], tmp_path: Path) -> None:
    """It resolves what the wheel says that it needs, with a registry's packages."""
    tool = ["uvx", "--python", sys.executable, "--from", built[1], "millrace"]
    told = run([*tool, "demo", "--events", "100"], tmp_path)
    assert "100 events in = 100 recommendations + 0 dead letters + 0 duplicates" in told


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.skipif(not shutil.which("pipx"), reason="pipx is not here")
def test_pipx_installs_the_wheel(built: tuple[Path, Path], tmp_path: Path) -> None:
    home = {"PIPX_HOME": str(tmp_path / "pipx"), "PIPX_BIN_DIR": str(tmp_path / "bin")}
    run(["pipx", "install", "--python", sys.executable, built[1]], tmp_path, **home)
    told = run([tmp_path / "bin/millrace", "--version"], tmp_path)
    assert told.startswith(f"millrace {PROJECT['version']}, Python ")


def test_no_page_and_no_message_installs_a_stranger_s_package() -> None:
    """What pip, pipx or uv are told to install is a folder or wheel of ours, or pinned."""
    told = ("docs", "README.md", "CONTRIBUTING.md", "Makefile", "benchmarks")
    for name in tracked(*told, *PACKAGES):
        file = ROOT / name
        if file.suffix in {".md", ".py", ""}:
            for named in re.findall(r"(?:pip|pipx|uv) install '?(millrace\S*)", file.read_text()):
                pytest.fail(f"{name} installs {named!r}")


def test_the_distribution_is_not_named_as_another_project_on_pypi() -> None:
    assert PROJECT["name"] == "millrace-recommender"
    assert PROJECT["scripts"] == {"millrace": "streams.cli:main"}
    extras = [each for needs in PROJECT["optional-dependencies"].values() for each in needs]
    named = {each for each in extras if each.startswith("millrace")}
    assert named == {"millrace-recommender[train,fpga]"}
