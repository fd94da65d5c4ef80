"""Exact forgetting: the state is made anew beside the worker, which goes on with it.

    request ─► quick forget ─► a process makes the state anew ─► read here, caught up ─► exchange
                               (`streams.worker.rebuild`)        (a thread)       (engine's thread)

The event path goes on meanwhile; it stands still only for the exchange, and for the few events that
came just before it. From then on state and answers are those of a worker in whose log nothing of
these users stands, and whose catalogue came when it came here.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from engine.recommender import Recommender
from streams.kafka.record import Record
from streams.messages.schemas import Model
from streams.messages.state_mark import Rebuilt, Round, StateMarks
from streams.processes import Child
from streams.settings import Settings, SettingsError
from streams.settings_io import as_environment
from streams.worker.catalogue import Catalogue
from streams.worker.checkpoints import asked_before
from streams.worker.counts import Counts
from streams.worker.engine_thread import EngineThread
from streams.worker.input_log import Input
from streams.worker.partition import Partition
from streams.worker.rebuild import PARTITION, Job, Rebuild

log = logging.getLogger("millrace.worker")

T = TypeVar("T")

_AGAIN_SECONDS = 60.0
"""Pause before the next attempt, after one that failed."""
_LAST = 64
"""Events that may be left to learn in the engine's thread, some .2 ms each: a run of a backlog."""
_LOG_END = 2_000
"""Bytes of what a process said that failed which the log repeats."""


class ForgettingStatus(msgspec.Struct, frozen=True):
    """How far users are forgotten.

    Attributes
    ----------
    forget
        `engine.forget`.
    asked
        By partition that this worker has and that has had a request, the offset after the latest.
    exact
        The offset below which all who asked are forgotten exactly; 0 if nobody is.
    pending
        Whether somebody asked since.
    users, digest
        How many they are; of the state that was made anew without them, up to the offset `exact`:
        its SHA-256, which `millrace audit` compares.
    seconds
        How long the last time took from its begin until the worker went on with the new state, if
        this process did it.
    failure
        Why the last attempt failed, if it did; the next one follows.
    """

    forget: Literal["quick", "exact"]
    asked: dict[int, int]
    exact: int
    pending: bool
    users: int = 0
    digest: str = ""
    seconds: float = 0.0
    failure: str = ""


class ExactForgetting:
    """Makes a worker's state anew when users asked to be forgotten.

    Parameters
    ----------
    made
        What the state was last made anew from, as its checkpoint says.

    Attributes
    ----------
    exact
        The same, of the state that the worker has now.
    on_exchange
        Called in the engine's thread, after each exchange.
    """

    def __init__(
        self,
        settings: Settings,
        model: Model,
        engine: Recommender,
        partitions: dict[int, Partition],
        catalogue: Catalogue,
        marks: StateMarks,
        thread: EngineThread,
        counts: Counts,
        made: Rebuilt | None,
    ) -> None:
        self.is_on = settings.engine.forget == "exact"
        if self.is_on and len(partitions) > 1:
            raise SettingsError(
                f"engine.forget = exact: topic {settings.topics.interactions} has "
                f"{len(partitions)} partitions, and a state can be made anew of one: the order in "
                "which events of several came stands nowhere; set engine.forget = quick"
            )
        self.exact = made
        self.on_exchange: Callable[[], object] = lambda: None
        self._settings, self._model, self._engine = settings, model, engine
        self._partitions, self._partition = partitions, partitions[PARTITION]
        self._catalogue, self._marks, self._thread = catalogue, marks, thread
        self._counts = counts
        self._kept: deque[Sequence[Record]] | None = None
        self._failure, self._seconds = "", 0.0
        self._next = 0.0
        self._stopping = threading.Event()
        self._working: threading.Thread | None = None

    # ------------------------------------------------------------------ the engine's thread

    def status(self) -> ForgettingStatus:
        """How far users are forgotten."""
        asked = {n: p.forgotten for n, p in self._partitions.items() if p.held and p.forgotten}
        exact, before = self.exact, asked_before(self.exact)
        pending = self.is_on and asked.get(PARTITION, 0) > before
        return ForgettingStatus(
            self._settings.engine.forget, asked, before, pending,
            exact.users if exact else 0, exact.digest if exact else "",
            self._seconds, self._failure,
        )  # fmt: skip

    def if_due(self) -> None:
        """Begin to make the state anew, when somebody asked for it since the last time."""
        busy = self._working is not None and self._working.is_alive()
        if not self.is_on or busy or not self._partition.ours or time.monotonic() < self._next:
            return
        self._counts.forget_pending = self.status().pending
        if self._counts.forget_pending:
            self._working = threading.Thread(target=self._work, name="forget", daemon=True)
            self._working.start()

    def keep(self, records: Sequence[Record]) -> None:
        """Take note of interactions that were applied."""
        if self._kept is not None:
            self._kept.append(records)

    def stop(self) -> None:
        """Give up what is being made."""
        self._stopping.set()
        if self._working is not None and self._thread.loop is not None:
            self._working.join(timeout=1.0)  # not for ever: it may wait for a loop that has ended

    # ------------------------------------------------------------------ a thread beside it

    def _work(self) -> None:
        try:
            self._make_anew()
            self._failure = ""
        except _GivenUpError:
            pass
        except Exception as error:
            self._counts.rebuild_failures += 1
            self._failure = str(error) or type(error).__name__
            self._next = time.monotonic() + _AGAIN_SECONDS
            log.warning(
                "users are not forgotten exactly yet, the next attempt is in %d s: %s",
                _AGAIN_SECONDS, error,
            )  # fmt: skip
        finally:
            self._kept = None

    def _make_anew(self) -> None:
        begun = time.monotonic()
        input_ = Input.of(self._settings)
        if len(input_.lows) > 1:
            raise RuntimeError("the topic has several partitions now (docs/proof.md)")
        if low := input_.lows[PARTITION]:
            raise RuntimeError(
                f"the log begins at offset {low}: what users taught before cannot be told apart "
                "any more; topics.interactions has to be kept whole for engine.forget = exact"
            )
        first = self._do(self._position)
        with tempfile.TemporaryDirectory(prefix="millrace-forget-") as folder:
            file = Path(folder) / "state"
            self._run(Job(first, str(file)), Path(folder))
            rebuild = Rebuild.load(self._settings, input_, self._model, file)
        self._do(self._begin_to_keep)
        rebuild.go_on(self._do(self._position))
        while not (pause := self._do(partial(self._exchange, rebuild))):
            self._catch_up(rebuild)
        self._seconds, told = round(time.monotonic() - begun, 2), rebuild.told
        log.info(
            "%d users who asked before offset %d are forgotten exactly: the state was made anew "
            "without them in %.1f s, and taken over at offset %d within %.1f ms; digest %s",
            told.users, first.end, self._seconds, told.rounds[-1].end, pause * 1e3, told.digest,
        )  # fmt: skip

    def _run(self, job: Job, folder: Path) -> None:
        """Have a process do it."""
        asked = msgspec.json.encode(job).decode()
        command = [sys.executable, "-m", "streams.worker.rebuild", asked]
        environment = os.environ | as_environment(self._settings)
        said = folder / "said"
        with (
            said.open("wb") as output,
            Child(command, output=output, env=environment, temporary=folder) as child,
        ):
            while child.running:
                if self._stopping.wait(0.05):
                    raise _GivenUpError
            if child.process.returncode:
                told = said.read_bytes()[-_LOG_END:].decode(errors="replace").strip()
                raise RuntimeError(f"the process that made the state anew ended: {told}")

    def _catch_up(self, rebuild: Rebuild) -> None:
        """Apply what came meanwhile."""
        while self._kept:
            _learn(rebuild, self._kept.popleft())
        position = self._do(self._position)
        rebuild.follow_catalogue(position.embeddings, position.items)

    def _do(self, function: Callable[[], T]) -> T:
        """What it returns, in the engine's thread."""
        if self._stopping.is_set():
            raise _GivenUpError
        return self._thread.do(function)

    # ------------------------------------------------------------------ the engine's thread again

    def _position(self) -> Round:
        return Round(*self._catalogue.positions, self._partition.next_offset)

    def _begin_to_keep(self) -> None:
        self._kept = deque()

    def _exchange(self, rebuild: Rebuild) -> float:
        """Go on with the new state, if it has all but a few events.

        Returns
        -------
        float
            For how many seconds the event path stood still for it; 0 if it is not done.
        """
        begun = time.perf_counter()
        kept = self._kept
        if kept is None or not self._partition.ours:
            raise _GivenUpError
        position = self._position()
        last = rebuild.told.rounds[-1]
        left = sum(len(run) for run in kept)
        if (last.embeddings, last.items) != (position.embeddings, position.items) or left > _LAST:
            return 0.0
        while kept:
            _learn(rebuild, kept.popleft())
        rebuild.take_over(self._engine, self._partition)
        self.exact = rebuild.told
        told = msgspec.json.encode(rebuild.told).decode()
        self._marks.note("rebuilt", PARTITION, asked_before(self.exact), told)
        self.on_exchange()
        pause = time.perf_counter() - begun
        self._counts.rebuilds += 1
        self._counts.rebuild_pause_seconds += pause
        self._counts.forget_pending = self.status().pending
        return pause


class _GivenUpError(Exception):
    """The worker ends, or the partition is not its any more."""


def _learn(rebuild: Rebuild, records: Sequence[Record]) -> None:
    new = [record for record in records if record.offset >= rebuild.progress.next_offset]
    if new:
        rebuild.learn(new)
