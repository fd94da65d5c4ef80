"""Data files that installed packages carry, checked by their SHA-256; no package is imported."""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from pathlib import Path


def installed(package: str, file: str) -> Path:
    """Where a file of a package is. Raises RuntimeError if the package is not installed."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise RuntimeError(f"the package {package} is missing: run `make install`")
    return Path(spec.origin).parent / file


def check(data: bytes, sha256: str, what: str, reinstall: str) -> None:
    """Raise RuntimeError, which says what to reinstall, unless the data have that SHA-256."""
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise RuntimeError(f"{what} have sha256 {found}, not {sha256}: reinstall {reinstall}")
