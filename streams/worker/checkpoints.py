"""Checkpoints: a worker's whole state in one file: all items, and the users of its partitions.

All workers write to one store (`streams.worker.stores`). A file's name says how many events its
items know of, which process wrote it, and how many that process had written before. No name is used
twice, because answers name the file that a state began with. The newest items are in the file whose
name sorts last. The users of a partition are in the files of whoever had it: a worker that takes it
over loads them from the newest of these, and of that file nothing but the users.

Writing takes a fork: the child has the state as it was at that moment, and the event path waits
for nothing but the fork itself, which takes an eighth of the time when memory is in huge pages.
A file takes its name only when every answer up to its offsets is in the output topics; a worker
that starts from it would give none of them again.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn

import msgspec

from engine.recommender import Recommender
from engine.settings import EngineSettings
from engine.state import huge_pages
from engine.state.container import SavedStateError
from engine.state.snapshot import is_of_users, read_notes
from streams.messages.state_mark import Cut, Rebuilt
from streams.worker.partition import Offset, PartitionNotes
from streams.worker.stores import SUFFIX, Store, Stored

log = logging.getLogger("millrace.worker")

_NICENESS = 10
_LOOK_SECONDS = 30.0
"""How old what is known of others' checkpoints may be, for metrics."""


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
    cut
        Where in the life of its process it was cut; None in files of before.
    exact
        The last rebuild without forgotten users that the state contains, if any.
    """

    log: str
    partitions: dict[int, PartitionNotes]
    catalogue: dict[int, Offset]
    items: dict[int, Offset] = {}
    told: dict[int, Offset] = {}
    owners: dict[int, str] = {}
    deltas: Offset = 0
    deltas_id: str = ""
    cut: Cut | None = None
    exact: Rebuilt | None = None

    @property
    def positions(self) -> dict[int, int]:
        """Up to which offset the events of each partition are in the items."""
        here = {number: partition.next_offset for number, partition in self.partitions.items()}
        return dict(self.told) if self.deltas_id else here

    @property
    def progress(self) -> int:
        """How many events the items know of."""
        return sum(self.positions.values())


class _Where(msgspec.Struct):
    """What is read of a partition's notes to find its users."""

    next_offset: Offset
    forgotten: Offset = 0


class _Partitions(msgspec.Struct):
    """What is read of a file's notes to find the users of partitions."""

    partitions: dict[int, _Where]
    exact: Rebuilt | None = None

    @property
    def forgotten(self) -> dict[int, int]:
        """The offset after the latest `forget` of each partition that has had one."""
        return {n: p.forgotten for n, p in self.partitions.items() if p.forgotten}

    def may_hold(self, newest: _Partitions) -> bool:
        """Whether it may hold a user who is forgotten in the newest, or what that user taught."""
        return asked_before(self.exact) < asked_before(newest.exact) or any(
            number in self.partitions and self.partitions[number].next_offset < end
            for number, end in newest.forgotten.items()
        )


@dataclass(frozen=True)
class Checkpoint:
    """A state that was read, and what is noted of it.

    Attributes
    ----------
    name
        Of its file in the store.
    """

    name: str
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
    """A store of them.

    Parameters
    ----------
    kept
        Newest files that are kept, of all and of each partition.
    writer
        The id of this process. It is part of each name, so that no two workers write the same.

    Raises
    ------
    OSError
        If the store cannot be used.
    """

    def __init__(self, store: Store, kept: int, writer: str = "") -> None:
        self.store = store
        self._kept = kept
        self._writer, self._count = writer, 0
        self._where: dict[Stored, _Partitions | None] = {}
        self._told: dict[int, int] = {}
        self._written = float("-inf")
        store.open()
        store.remove_abandoned()
        self._looking: threading.Thread | None = None
        self._look()

    def age(self) -> float:
        """Seconds since the newest was written, by whichever worker; infinite without one.

        Does not wait for the store: what others wrote is known half a minute later.
        """
        busy = self._looking is not None and self._looking.is_alive()
        if not busy and time.monotonic() - self._looked > _LOOK_SECONDS:
            self._looking = threading.Thread(target=self._look, name="checkpoints", daemon=True)
            self._looking.start()
        return time.time() - self._written

    def _look(self) -> None:
        self._looked = time.monotonic()
        try:
            self._files()
        except OSError as error:
            log.warning("checkpoints: %s", error)

    def _files(self) -> list[Stored]:
        """All that are there."""
        files = self.store.files()
        self._looked = time.monotonic()
        self._written = max((file.written for file in files), default=float("-inf"))
        return files

    def newest(
        self, settings: EngineSettings, fits: Callable[[Notes], str | None]
    ) -> Checkpoint | None:
        """The newest sound one; what is wrong with those that are passed over is logged.

        Parameters
        ----------
        fits
            Says why a checkpoint does not go with the topics, if it does not.

        Raises
        ------
        OSError
            If the store does not say what it has.
        """
        found = (self.load(file, settings, fits) for file in self.newest_first())
        return next(filter(None, found), None)

    def load(
        self, file: Stored, settings: EngineSettings, fits: Callable[[Notes], str | None]
    ) -> Checkpoint | None:
        """One of them; None, and a line of the log, if it is not sound or does not fit."""
        return self._load(
            file, fits, self.store.whole, partial(Recommender.load, settings=settings)
        )

    def load_users(
        self, file: Stored, settings: EngineSettings, fits: Callable[[Notes], str | None]
    ) -> Checkpoint | None:
        """As `load`, but of the items the ids alone (`Recommender.load_users`): the other entries
        are neither read nor verified."""
        part = partial(self.store.part, wanted=is_of_users)
        return self._load(file, fits, part, partial(Recommender.load_users, settings=settings))

    def _load(
        self,
        file: Stored,
        fits: Callable[[Notes], str | None],
        read: Callable[[Stored], AbstractContextManager[Path]],
        load: Callable[[Path], Recommender],
    ) -> Checkpoint | None:
        path: Path | None = None
        try:
            with self.store.header_and_notes(file) as path:
                notes = read_notes(path, Notes)
            if reason := fits(notes):
                raise SavedStateError(f"{path}: {reason}")
            with read(file) as path:
                return Checkpoint(file.name, load(path), notes)
        except FileNotFoundError:
            return None
        except (SavedStateError, OSError) as error:
            told = str(error)
            if path is not None:  # a copy here, of what the store has
                told = told.replace(str(path), self.store.place(file.name))
            log.warning("checkpoint passed over: %s", told)
            return None

    def holding(self, partition: int, beyond: int) -> list[Stored]:
        """Files with a partition's users of later than an offset, the furthest first.

        Raises
        ------
        OSError
            If the store does not say what it has.
        """
        found = [
            (there.next_offset, file)
            for file in self.newest_first()
            if (known := self._partitions(file))
            and (there := known.partitions.get(partition))
            and there.next_offset > beyond
        ]
        return [file for _, file in sorted(found, key=lambda one: one[0], reverse=True)]

    def newest_first(self) -> list[Stored]:
        """All files, that with the most events first.

        Raises
        ------
        OSError
            If the store does not say what it has.
        """
        return sorted(self._files(), key=lambda file: file.name, reverse=True)

    def _partitions(self, file: Stored) -> _Partitions | None:
        """Where the partitions of a file stand; None of one that cannot be read."""
        if file not in self._where:
            try:
                with self.store.header_and_notes(file) as path:
                    self._where[file] = read_notes(path, _Partitions)
            except FileNotFoundError:  # another worker has removed it
                return _Partitions({})
            except SavedStateError:
                self._where[file] = None
            except OSError:  # it may be read later
                return None
        return self._where[file]

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
        temporary = self.store.scratch / f"{sum(positions.values()):016d}.{os.getpid()}.tmp"
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
        temporary = self.store.scratch / f"{notes.progress:016d}.{os.getpid()}.tmp"
        engine.save(temporary, notes)
        self._publish(temporary, notes.progress)

    def publish(self, writing: Writing) -> None:
        """Give a checkpoint that is written its name, and remove those that are too many."""
        self._publish(writing.temporary, sum(writing.positions.values()))

    def _publish(self, temporary: Path, progress: int) -> None:
        mark = f"-{self._writer}-{self._count:08d}" if self._writer else ""
        newest = f"{progress:016d}{mark}{SUFFIX}"
        self._count += 1
        known = read_notes(temporary, _Partitions)
        self.store.publish(temporary, newest)
        try:
            self.store.remove_abandoned()
            self._remove_old()
            if known.forgotten:
                self._forget(newest, known)
        except OSError as error:
            log.warning("checkpoints that are too many were not removed: %s", error)

    def _remove_old(self) -> None:
        """Keep the newest files, and the newest that have the users of each partition."""
        # By when they were written: one that goes with no log of today would stay for ever.
        files = [file for file in self._files() if file.written]
        files.sort(key=lambda file: (file.written, file.name), reverse=True)  # stores say seconds
        of_partition: dict[int, int] = {}
        for place, file in enumerate(files):
            known = self._partitions(file)
            partitions = known.partitions if known else {}
            needed = any(of_partition.get(number, 0) < self._kept for number in partitions)
            if place >= self._kept and not needed:
                self.store.remove(file.name)
            for number in partitions:
                of_partition[number] = of_partition.get(number, 0) + 1
        self._where = {file: self._where[file] for file in files if file in self._where}

    def _forget(self, newest: str, its: _Partitions) -> None:
        """Remove the checkpoints that may hold somebody who is forgotten in the newest."""
        forgotten = its.forgotten
        left = [path.name for path in self.store.scratch.iterdir() if path.suffix != SUFFIX]
        for file in self._files():
            if file.name == newest:
                continue
            known = self._partitions(file)
            if known is None:  # of what it holds nothing is known
                left.append(file.name)
            elif known.may_hold(its):
                self.store.remove(file.name)
        if left:
            log.info("checkpoints: whom events up to %s forget may still be in %s",
                     forgotten, ", ".join(sorted(left)))  # fmt: skip
        elif forgotten != self._told:
            unseen = f" ({self.store.unseen})" if self.store.unseen else ""
            log.info("checkpoints: whom events up to %s forget is in none any more%s",
                     forgotten, unseen)  # fmt: skip
            self._told = forgotten


def asked_before(exact: Rebuilt | None) -> int:
    """The offset below which every request to be forgotten is carried out exactly."""
    return exact.rounds[0].end if exact else 0


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
