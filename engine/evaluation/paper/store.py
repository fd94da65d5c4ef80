"""Results on disk, each under a key of everything that decides it: what makes a run resumable."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

import engine
from engine.events import Interaction, Item


class ResultStore:
    """A folder of JSON files, one a result.

    A result is written whole or not at all, so one that is there can be trusted after any
    interruption.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    @staticmethod
    def key(**decides: Any) -> str:
        """Sixteen hexadecimal digits of a hash of what decides a result."""
        text = json.dumps(decides, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def get(self, key: str) -> dict[str, Any] | None:
        """The result under a key, or None where there is none."""
        try:
            result: dict[str, Any] = json.loads((self.folder / f"{key}.json").read_bytes())
        except FileNotFoundError:
            return None
        return result

    def put(self, key: str, result: dict[str, Any]) -> None:
        """Keep a result."""
        file = self.folder / f"{key}.json"
        unfinished = file.with_suffix(".unfinished")
        with unfinished.open("w") as stream:
            json.dump(result, stream, indent=2)
            stream.flush()
            os.fsync(stream.fileno())
        unfinished.replace(file)


def data_hash(interactions: Iterable[Interaction], items: Iterable[Item]) -> str:
    """SHA-256 of what a data set says, wherever it lies: 64 hexadecimal digits."""
    digest = hashlib.sha256()
    encoder = msgspec.json.Encoder()
    for part in (interactions, items):
        for fact in part:
            digest.update(encoder.encode(fact))
            digest.update(b"\n")
        digest.update(b"\n")
    return digest.hexdigest()


_TELLS = (
    "report.py", "published.py", "comparisons.py", "tables.py", "charts.py", "page.py",
    "terminal.py",
)  # fmt: skip
"""Modules beside this one that only tell what was measured."""


def code_hash() -> str:
    """SHA-256 of the engine's source: 64 hexadecimal digits. Changed code is measured anew."""
    root = Path(engine.__file__).parent
    digest = hashlib.sha256()
    tells = [Path(__file__).with_name(name) for name in _TELLS]
    for file in sorted(set(root.rglob("*.py")) - set(tells)):
        digest.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()
