"""The checkpoints of a group, that past states begin with: only read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from functools import cache
from pathlib import Path

from engine.recommender import Recommender
from engine.state.container import SavedStateError
from engine.state.snapshot import read_notes
from streams.settings import Settings
from streams.tools.past.error import PastError
from streams.worker.checkpoints import Checkpoint, Notes
from streams.worker.input_log import Input
from streams.worker.stores import SUFFIX, Folder, store_of


def writer_of(name: str) -> str:
    """Which worker wrote a checkpoint, by its name."""
    return name.split("-")[1] if "-" in name else ""


class Beginnings:
    """Those of a group's store, by their names without suffix, and those that are made anew beside
    them, in a folder of this machine."""

    def __init__(self, settings: Settings, input_: Input, anew: Path) -> None:
        self._settings, self._input = settings, input_
        self._anew = anew
        there = settings.worker.checkpoints and not settings.broker.embedded
        self._store = store_of(settings, input_.name) if there else Folder(anew)
        self._found = {
            file.name.removesuffix(SUFFIX): file
            for file in sorted(self._store.files(), key=lambda file: file.name, reverse=True)
        }
        self.notes = cache(self._notes)

    def of(self, worker: str) -> Iterator[tuple[str, Notes]]:
        """Those that a worker process wrote, the newest first."""
        for name in self._found:
            if writer_of(name) == worker and (notes := self.notes(name)) is not None:
                yield name, notes

    def _notes(self, name: str) -> Notes | None:
        """What one of them says beside the state; None of one that is no more or does not fit."""
        if name not in self._found:
            return None
        try:
            with self._store.header_and_notes(self._found[name]) as path:
                notes = read_notes(path, Notes)
        except (SavedStateError, OSError):
            return None
        return None if self._input.fits(notes) else notes

    def anew(self, name: str) -> Path:
        """Where one that is no more is made anew."""
        return self._anew / f"{name}{SUFFIX}"

    def place(self, name: str) -> str:
        """The path or URL of one, for people; empty of one that is made anew."""
        return "" if self.anew(name).exists() else self._store.place(f"{name}{SUFFIX}")

    def load(self, name: str) -> Checkpoint:
        """One of them.

        Raises
        ------
        PastError
            If it cannot be read.
        """
        place = self._store.place(f"{name}{SUFFIX}")
        made = self.anew(name)
        try:
            with (
                nullcontext(made) if made.exists() else self._store.whole(self._found[name]) as path
            ):
                engine = Recommender.load(path, self._settings.engine)
                return Checkpoint(name, engine, read_notes(path, Notes))
        except (FileNotFoundError, KeyError):
            raise PastError(
                f"{place} was removed, as newer ones came: choose a later range, or keep more from "
                "now on (worker.checkpoints_kept)"
            ) from None
        except (SavedStateError, OSError) as error:
            raise PastError(f"checkpoint {place} cannot be used: {error}") from None
