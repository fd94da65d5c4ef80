"""Checkpoints: a worker's whole state in one file: all items, and the users of its partitions.

All workers write to one folder. A file's name says how many events its items know of, and who wrote
it; so the newest items are in the file whose name sorts last. The users of a partition are in the
files of whoever had it: a worker that takes it over loads them from the newest of these.

Writing takes a fork: the child has the state as it was at that moment, and the event path waits
for nothing but the fork itself, which takes an eighth of the time when memory is in huge pages.
A file takes its name only when every answer up to its offsets is in the output topics; a worker
that starts from it would give none of them again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import msgspec

from engine.recommender import Recommender
from engine.settings import EngineSettings
from engine.state import huge_pages
from engine.state.container import SavedStateError
from engine.state.snapshot import read_notes
from streams.messages.state_mark import CatalogueStep
from streams.settings import Settings
from streams.worker.partition import Offset, PartitionNotes

log = logging.getLogger("millrace.worker")

SUFFIX = ".millrace"
_ABANDONED_SECONDS = 600.0
"""After so long without a byte more nobody writes a file any more."""
_NICENESS = 10


def folder_of(settings: Settings, log_name: str) -> Path:
    """Where the workers of a group keep the checkpoints of a log (`Notes.log`)."""
    return Path(settings.worker.checkpoints) / settings.worker.group / log_name


class Notes(msgspec.Struct):
    """What a checkpoint says beside the engine's state.

    Attributes
    ----------
    log
        Of which log the offsets are: the cluster's id and the topic.
    partitions
        Where each partition of the interactions stands whose users are in it.
    catalogue, items
        The next offset of each partition of the items' embeddings, and of the items.
    told, owners
        Of all partitions, where items are shared: up to which offset its events are in the items,
        and which writer may tell of it (`streams.worker.ledger`).
    deltas, deltas_id
        The next offset of the topic of deltas, and the topic's id; empty where items are not
        shared.
    steps
        What was applied of the catalogue, and no answer tells of yet (`StateMarks.untold`).
    """

    log: str
    partitions: dict[int, PartitionNotes]
    catalogue: dict[int, Offset]
    items: dict[int, Offset] = {}
    told: dict[int, Offset] = {}
    owners: dict[int, str] = {}
    deltas: Offset = 0
    deltas_id: str = ""
    steps: list[CatalogueStep] = []

    @property
    def positions(self) -> dict[int, int]:
        """Up to which offset the events of each partition are in the items."""
        here = {number: partition.next_offset for number, partition in self.partitions.items()}
        return dict(self.told) if self.deltas_id else here

    @property
    def progress(self) -> int:
        """How many events the items know of."""
        return sum(self.positions.values())

    @property
    def forgotten(self) -> dict[int, int]:
        """The offset after the latest `forget` of each partition that has had one."""
        return {n: p.forgotten for n, p in self.partitions.items() if p.forgotten}

    def is_before(self, forgotten: dict[int, int]) -> bool:
        """Whether it ends before one of these, and so may hold whom it was of."""
        return any(
            number in self.partitions and self.partitions[number].next_offset < end
            for number, end in forgotten.items()
        )


class _Where(msgspec.Struct):
    """What is read of a partition's notes to find its users."""

    next_offset: Offset


class _Partitions(msgspec.Struct):
    """What is read of a file's notes to find the users of partitions."""

    partitions: dict[int, _Where]


@dataclass(frozen=True)
class Checkpoint:
    """A state that was read, and what is noted of it."""

    path: Path
    engine: Recommender
    notes: Notes


class Writing:
    """A checkpoint that a child process is writing.

    Attributes
    ----------
    temporary
        The file.
    positions
        By partition, the offset up to which its events are in it, as of the cut.
    pause_seconds
        How long the fork took, and so events waited.
    """

    def __init__(
        self, pid: int, failure: int, temporary: Path, positions: dict[int, int],
        pause_seconds: float,
    ) -> None:  # fmt: skip
        self._pid, self._failure = pid, failure
        self.temporary = temporary
        self.positions = positions
        self.pause_seconds = pause_seconds

    def wait(self) -> None:
        """Return once it is on the disk, still without a name.

        Raises
        ------
        OSError
            If the child could not write it, with its reason.
        """
        with os.fdopen(self._failure, "rb") as said:
            reason = said.read().decode()
        _, status = os.waitpid(self._pid, 0)
        # What was written while the child lived is in small pages, which the next fork would copy.
        huge_pages.collapse()
        if status:
            reason = reason or f"status {os.waitstatus_to_exitcode(status)}"
            raise OSError(f"{self.temporary.parent}: no checkpoint was written ({reason})")

    def discard(self) -> None:
        """Remove it."""
        self.temporary.unlink(missing_ok=True)


class Checkpoints:
    """A folder of them.

    Parameters
    ----------
    kept
        Newest files that are kept, of all and of each partition.
    writer
        What the names of ours end with, so that no other worker's are replaced.

    Raises
    ------
    OSError
        If there is no such folder and none can be made, or none can write to it.
    """

    def __init__(self, folder: Path, kept: int, writer: str = "") -> None:
        self.folder = folder
        self._kept = kept
        self._ending = (f"-{writer}" if writer else "") + SUFFIX
        self._where: dict[tuple[str, float], dict[int, _Where]] = {}
        self._told: dict[int, int] = {}
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(PermissionError):  # of a folder that is somebody else's
            folder.chmod(0o700)
        if not os.access(folder, os.W_OK):
            raise OSError(f"{folder} cannot be written to; worker.checkpoints names another")
        self._remove_abandoned()

    def age(self) -> float:
        """Seconds since the newest was written, by whichever worker; infinite without one."""
        return time.time() - max(map(_written, self._newest_first()), default=float("-inf"))

    def newest(
        self, settings: EngineSettings, fits: Callable[[Notes], str | None]
    ) -> Checkpoint | None:
        """The newest sound one; what is wrong with those that are passed over is logged.

        Parameters
        ----------
        fits
            Says why a checkpoint does not go with the topics, if it does not.
        """
        found = (self.load(path, settings, fits) for path in self._newest_first())
        return next(filter(None, found), None)

    def load(
        self, path: Path, settings: EngineSettings, fits: Callable[[Notes], str | None]
    ) -> Checkpoint | None:
        """One of them; None, and a line of the log, if it is not sound or does not fit."""
        try:
            notes = read_notes(path, Notes)
            if reason := fits(notes):
                raise SavedStateError(f"{path}: {reason}")
            return Checkpoint(path, Recommender.load(path, settings), notes)
        except FileNotFoundError:
            return None
        except (SavedStateError, OSError) as error:
            log.warning("checkpoint passed over: %s", error)
            return None

    def holding(self, partition: int, beyond: int) -> list[Path]:
        """Files with a partition's users of later than an offset, the furthest first."""
        found = [
            (there.next_offset, path)
            for path in self._newest_first()
            if (there := self._partitions(path).get(partition)) and there.next_offset > beyond
        ]
        return [path for _, path in sorted(found, reverse=True)]

    def _partitions(self, path: Path) -> dict[int, _Where]:
        """Of which partitions a file has the users; none of one that cannot be read."""
        key = (path.name, _written(path))
        if key not in self._where:
            try:
                self._where[key] = read_notes(path, _Partitions).partitions
            except (SavedStateError, OSError):
                self._where[key] = {}
        return self._where[key]

    def begin(
        self, engine: Recommender, positions: dict[int, int], notes: Callable[[], Notes]
    ) -> Writing:
        """Cut here, and have it written. The caller is the engine's thread.

        Parameters
        ----------
        positions
            By partition, the offset up to which its events are in it.
        notes
            Called in the child: they hold all known event ids.
        """
        started = time.perf_counter()
        temporary = self.folder / f"{sum(positions.values()):016d}.{os.getpid()}.tmp"
        failure, tell = os.pipe()
        try:
            pid = os.fork()
        except OSError:
            os.close(failure)
            os.close(tell)
            raise
        if pid == 0:
            _write_and_exit(engine, temporary, notes, tell)
        os.close(tell)
        return Writing(pid, failure, temporary, positions, time.perf_counter() - started)

    def write(self, engine: Recommender, notes: Notes) -> None:
        """Write one here and now."""
        temporary = self.folder / f"{notes.progress:016d}.{os.getpid()}.tmp"
        engine.save(temporary, notes)
        self._publish(temporary, notes.progress)

    def publish(self, writing: Writing) -> None:
        """Give a checkpoint that is written its name, and remove those that are too many."""
        self._publish(writing.temporary, sum(writing.positions.values()))

    def _publish(self, temporary: Path, progress: int) -> None:
        path = self.folder / f"{progress:016d}{self._ending}"
        temporary.replace(path)
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        self._remove_old()
        self._forget(path)

    def _remove_old(self) -> None:
        """Keep the newest files, and the newest that have the users of each partition."""
        # By when they were written: one that goes with no log of today would stay for ever.
        files = [path for path in self.folder.glob(f"*{SUFFIX}") if path.is_file()]
        files.sort(key=_written, reverse=True)
        of_partition: dict[int, int] = {}
        for place, path in enumerate(files):
            partitions = self._partitions(path)
            needed = any(of_partition.get(number, 0) < self._kept for number in partitions)
            if place >= self._kept and not needed:
                path.unlink(missing_ok=True)
            for number in partitions:
                of_partition[number] = of_partition.get(number, 0) + 1
        names = {path.name for path in files}
        self._where = {key: found for key, found in self._where.items() if key[0] in names}

    def _forget(self, newest: Path) -> None:
        """Remove the checkpoints that may hold somebody who is forgotten in the newest."""
        forgotten = read_notes(newest, Notes).forgotten
        if not forgotten:
            return
        self._remove_abandoned()
        left = []
        for path in self.folder.iterdir():
            if path == newest:
                continue
            try:
                if path.suffix == SUFFIX and not read_notes(path, Notes).is_before(forgotten):
                    continue
                if path.suffix == SUFFIX:
                    path.unlink(missing_ok=True)
                    continue
            except FileNotFoundError:
                continue
            except (SavedStateError, OSError):  # of what it holds nothing is known
                pass
            left.append(path.name)
        if left:
            log.info("checkpoints: whom events up to %s forget may still be in %s",
                     forgotten, ", ".join(sorted(left)))  # fmt: skip
        elif forgotten != self._told:
            log.info("checkpoints: whom events up to %s forget is in none any more", forgotten)
            self._told = forgotten

    def _remove_abandoned(self) -> None:
        for left in self.folder.glob("*.tmp"):
            if time.time() - _written(left) > _ABANDONED_SECONDS:
                with contextlib.suppress(IsADirectoryError):
                    left.unlink(missing_ok=True)

    def _newest_first(self) -> list[Path]:
        return sorted(self.folder.glob(f"*{SUFFIX}"), reverse=True)


def _written(path: Path) -> float:
    """When a file was written; long ago, if it is none or another worker has removed it."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return 0.0
    return found.st_mtime if stat.S_ISREG(found.st_mode) else 0.0


def _write_and_exit(
    engine: Recommender, path: Path, notes: Callable[[], Notes], tell: int
) -> NoReturn:
    """In the child: nothing of the parent's threads runs here, and nothing of it may be used.

    What goes wrong is written to the pipe `tell`: the parent logs it.
    """
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        # The parent's sockets would stay open as long as this lives, should it be killed.
        os.closerange(3, tell)
        os.closerange(tell + 1, os.sysconf("SC_OPEN_MAX"))
        os.nice(_NICENESS)
        engine.save(path, notes())
    except BaseException as error:
        os.write(tell, str(error).encode())
        os._exit(1)
    os._exit(0)
