"""When checkpoints are cut: every some seconds beside the event path, and at the end.

One is published once the answers of its state are written, and what it learnt is told: a worker
that starts from it would give none of them again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time

from engine.recommender import Recommender
from streams.messages.state_mark import StateMarks
from streams.settings import Settings, SettingsError, WorkerSettings
from streams.worker.assignment import Assignment
from streams.worker.catalogue import Catalogue
from streams.worker.checkpoints import Checkpoints, Notes, Writing, asked_before
from streams.worker.counts import Counts
from streams.worker.exact_forgetting import ExactForgetting
from streams.worker.input_log import Input
from streams.worker.item_deltas import ItemDeltas
from streams.worker.stores import store_of

log = logging.getLogger("millrace.worker")

_AWAY_SECONDS = 5.0
"""Pause between two attempts to reach the store of checkpoints at the start."""


class Checkpointing:
    """Cuts a worker's checkpoints. For the engine's thread.

    Parameters
    ----------
    checkpoints
        Where they go; None: nowhere.
    """

    def __init__(
        self,
        settings: Settings,
        checkpoints: Checkpoints | None,
        input_: Input,
        engine: Recommender,
        assignment: Assignment,
        deltas: ItemDeltas,
        catalogue: Catalogue,
        marks: StateMarks,
        forgetting: ExactForgetting,
        counts: Counts,
    ) -> None:
        self._settings, self._checkpoints, self._input = settings.worker, checkpoints, input_
        self._engine, self._assignment, self._deltas = engine, assignment, deltas
        self._catalogue, self._marks, self._counts = catalogue, marks, counts
        self._forgetting = forgetting
        self._publishing: asyncio.Task[None] | None = None
        self._next = time.monotonic() + self._settings.checkpoint_seconds
        self._saved = self._progress()

    def notes(self) -> Notes:
        """What a checkpoint of now says beside the engine's state."""
        partitions = {n: p.notes() for n, p in self._assignment.partitions.items() if p.held}
        notes = Notes(self._input.name, partitions, *self._catalogue.positions)
        notes.cut, notes.exact = self._marks.cut(), self._forgetting.exact
        if self._deltas.is_open:
            notes.told, notes.owners = self._deltas.positions, dict(self._deltas.ledger.owners)
            notes.deltas, notes.deltas_id = self._deltas.at, self._input.deltas_id
        return notes

    def hurry(self) -> None:
        """Have the next one cut as soon as may be."""
        self._next = time.monotonic()

    def if_due(self) -> None:
        """Cut one, off the event path; of a worker that waits for partitions, none."""
        busy = self._publishing is not None and not self._publishing.done()
        if self._checkpoints is None or busy or time.monotonic() < self._next:
            return
        if not self._assignment.ours():
            return
        # Where none can be written, one line says so each time, and not each second.
        self._next = time.monotonic() + self._settings.checkpoint_seconds
        self._marks.end_step()  # here: the notes are made in the child process
        try:
            writing = self._checkpoints.begin(self._engine, self._positions(), self.notes)
        except OSError as error:  # no descriptor or no process left: others may end theirs
            self._counts.checkpoint_failures += 1
            log.warning("no checkpoint: %s", error)
            return
        self._saved = self._progress()
        self._counts.checkpoints += 1
        self._counts.checkpoint_pause_seconds += writing.pause_seconds
        publishing = self._publish(self._checkpoints, writing)
        self._publishing = asyncio.get_running_loop().create_task(publishing)

    def at_end(self) -> None:
        """Write one here and now, if there is anything new, and all of it is written and told."""
        is_open = self._deltas.is_open
        whole = self._deltas.is_told if is_open else self._are_out(self._positions())
        if self._checkpoints is None or not whole or self._progress() == self._saved:
            return
        try:
            self._checkpoints.write(self._engine, self.notes())
        except OSError as error:
            log.warning("no checkpoint: %s", error)

    async def _publish(self, checkpoints: Checkpoints, writing: Writing) -> None:
        begun = time.monotonic()
        try:
            await asyncio.to_thread(writing.wait)
            deadline = time.monotonic() + self._settings.session_seconds
            while not self._are_out(writing.positions):
                if time.monotonic() > deadline or self._deltas.spoilt:
                    raise OSError(
                        "answers up to the checkpoint were not written, or what it learnt was not "
                        "told, within worker.session_seconds"
                    )
                await asyncio.sleep(0.01)
            await asyncio.to_thread(checkpoints.publish, writing)
            self._counts.checkpoints_written += 1
            self._counts.checkpoint_write_seconds += time.monotonic() - begun
        except OSError as error:
            self._counts.checkpoint_failures += 1
            log.warning("no checkpoint: %s", error)
            with contextlib.suppress(OSError):
                writing.discard()

    def _positions(self) -> dict[int, int]:
        """By partition, up to where its events are in the items here, once all that is collected
        is told."""
        return self._deltas.positions if self._deltas.is_open else self._assignment.positions()

    def _progress(self) -> tuple[int, int, int]:
        """Of how many events the users here know, and the items, and who is forgotten exactly; a
        checkpoint of equal ones would hold nothing new."""
        held = (p.next_offset for p in self._assignment.partitions.values() if p.held)
        exact = asked_before(self._forgetting.exact)
        return sum(held), sum(self._positions().values()), exact

    def _are_out(self, positions: dict[int, int]) -> bool:
        """Whether what a state of these positions has answered is written, and what it learnt
        told."""
        if self._deltas.is_open:
            return all(self._deltas.ledger.told(n) >= offset for n, offset in positions.items())
        return self._assignment.are_out(positions)


def checkpoints_of(settings: Settings, log_: Input, writer: str = "") -> Checkpoints | None:
    """This group's checkpoints, once their store answers. The embedded broker's log dies with it.

    Raises
    ------
    SettingsError
        If what the settings name cannot be used; without the default folder it goes on.
    """
    if not settings.worker.checkpoints or settings.broker.embedded:
        return None
    try:
        while True:
            try:
                store = store_of(settings, log_.name)
                return Checkpoints(store, settings.worker.checkpoints_kept, writer)
            except ConnectionError as error:  # a store that is away comes back, as a broker does
                log.warning("%s; the worker waits for it", error)
                time.sleep(_AWAY_SECONDS)
    except OSError as error:
        name = settings.worker.checkpoints
        if name != WorkerSettings().checkpoints:
            raise SettingsError(
                f"worker.checkpoints = {name!r} cannot be used: {error}; name a folder or a bucket "
                "that can be written, or nothing for no checkpoints"
            ) from None
        log.warning(
            "no checkpoints: %s; a restart reads the log again. worker.checkpoints names a folder",
            error,
        )
        return None
