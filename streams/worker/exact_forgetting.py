"""Exact forgetting: a process rebuilds the state without the users, and the worker takes it over.

    request ─► quick forget ─► a process rebuilds the state ─► it is loaded, catches up ─► exchange
                               and follows the worker          (a thread)          (engine's thread)
                               (`streams.worker.rebuild`)

Events are answered meanwhile, and the process has what processors are left: it, and not the
thread, learns what comes until the worker is close. Events wait only for the exchange, in which the
last few are learnt.
From then on state and answers are those of a worker whose log has no event of these users, and
whose catalogue came at the same moments.
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
"""Most events that are learnt in the exchange itself, some .2 ms each: a run of a backlog."""
_POLL_SECONDS = 0.1
"""Between two looks at the process, each with the worker's position written for it anew."""
_LOG_END = 2_000
"""Bytes of a failed process's output in which its last line is looked for."""


class ForgettingStatus(msgspec.Struct, frozen=True):
    """How far users are forgotten.

    Attributes
    ----------
    forget
        `engine.forget`.
    asked
        The offset after the latest request, by partition; partitions of other workers and those
        without a request are missing.
    exact
        The offset below which every request is carried out exactly; 0 if none is.
    pending
        Whether there was a request since.
    users, digest
        How many users those requests are of, and the SHA-256 of the state that was rebuilt without
        them up to the offset `exact`; `millrace audit` compares it.
    seconds
        How long the last rebuild took, from its start to the exchange; 0 if this process did none.
    failure
        Why the last attempt failed; empty if it did not. It is repeated.
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
    """Has a worker's state rebuilt when users asked to be forgotten.

    Parameters
    ----------
    made
        The last rebuild that the checkpoint's state contains, if any.

    Attributes
    ----------
    exact
        The last rebuild that the worker's state contains, if any.
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
                f"{len(partitions)} partitions, and only one is supported, because no offset "
                "orders the events of several; set engine.forget = quick"
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
        """Start a rebuild if there was a request since the last one."""
        busy = self._working is not None and self._working.is_alive()
        if not self.is_on or busy or not self._partition.ours or time.monotonic() < self._next:
            return
        self._counts.forget_pending = self.status().pending
        if self._counts.forget_pending:
            self._working = threading.Thread(target=self._work, name="forget", daemon=True)
            self._working.start()

    def keep(self, records: Sequence[Record]) -> None:
        """Keep interactions that were applied, for the state that is catching up."""
        kept = self._kept  # read once: the other thread may set it to None
        if kept is not None:
            kept.append(records)

    def stop(self) -> None:
        """Give up a rebuild that is under way."""
        self._stopping.set()
        if self._working is not None and self._thread.loop is not None:
            self._working.join(timeout=1.0)  # not for ever: it may wait for a loop that has ended

    # ------------------------------------------------------------------ a thread beside it

    def _work(self) -> None:
        try:
            self._rebuild()
            self._failure = ""
        except _GivenUpError:
            pass
        except Exception as error:
            if self._stopping.is_set():
                return
            self._counts.rebuild_failures += 1
            self._failure = str(error) or type(error).__name__
            self._next = time.monotonic() + _AGAIN_SECONDS
            log.warning(
                "users are not forgotten exactly yet, the next attempt is in %d s: %s",
                _AGAIN_SECONDS, error,
            )  # fmt: skip
        finally:
            self._kept = None

    def _rebuild(self) -> None:
        begun = time.monotonic()
        input_ = Input.of(self._settings)
        if len(input_.lows) > 1:
            raise RuntimeError(
                f"topic {self._settings.topics.interactions} has {len(input_.lows)} partitions "
                "now, and only one is supported"
            )
        if low := input_.lows[PARTITION]:
            raise RuntimeError(
                f"the log begins at offset {low}, and engine.forget = exact needs all of it: topic "
                f"{self._settings.topics.interactions} has to be kept whole"
            )
        first = self._do(self._position)
        with tempfile.TemporaryDirectory(prefix="millrace-forget-") as folder:
            file = self._run(first, Path(folder))
            rebuild = Rebuild.load(self._settings, input_, self._model, file)
        self._do(self._begin_to_keep)
        rebuild.go_on(self._do(self._position))
        while (pause := self._do(partial(self._exchange, rebuild))) is None:
            self._catch_up(rebuild)
        self._seconds, told = round(time.monotonic() - begun, 2), rebuild.told
        log.info(
            "%d users who asked before offset %d are forgotten exactly: the state was rebuilt "
            "without them in %.1f s, and taken over at offset %d within %.1f ms; digest %s",
            told.users, first.end, self._seconds, told.rounds[-1].end, pause * 1e3, told.digest,
        )  # fmt: skip

    def _run(self, first: Round, folder: Path) -> Path:
        """Have a process rebuild the state, and tell it how far the worker is; returns the file."""
        state, position, said = folder / "state", folder / "position", folder / "said"
        self._tell(position)
        job = msgspec.json.encode(Job(first, str(state), str(position))).decode()
        command = [sys.executable, "-m", "streams.worker.rebuild", job]
        environment = os.environ | as_environment(self._settings)
        with (
            said.open("wb") as output,
            Child(command, output=output, env=environment, temporary=folder) as child,
        ):
            child.give_way()
            while True:
                ended = not child.running  # first: it may write the file and end meanwhile
                if state.exists():  # it takes its name when it is whole
                    return state
                if ended:
                    break
                if self._stopping.wait(_POLL_SECONDS):
                    raise _GivenUpError
                self._tell(position)
        told = said.read_bytes()[-_LOG_END:].decode(errors="replace").splitlines()
        raise RuntimeError(f"the rebuilding process failed: {(told or ['no reason'])[-1]}")

    def _tell(self, file: Path) -> None:
        """Write how far the worker is; whoever reads it finds a whole file."""
        new = file.with_suffix(".new")
        new.write_bytes(msgspec.json.encode(self._do(self._position)))
        new.replace(file)

    def _catch_up(self, rebuild: Rebuild) -> None:
        """Apply what came meanwhile."""
        while self._kept:
            _learn(rebuild, self._kept.popleft())
        position = self._do(self._position)
        rebuild.follow_catalogue(position.embeddings, position.items)

    def _do(self, function: Callable[[], T]) -> T:
        """Call a function in the engine's thread; returns what it returns."""
        if self._stopping.is_set():
            raise _GivenUpError
        return self._thread.do(function)

    # ------------------------------------------------------------------ the engine's thread again

    def _position(self) -> Round:
        return Round(*self._catalogue.positions, self._partition.next_offset)

    def _begin_to_keep(self) -> None:
        self._kept = deque()

    def _exchange(self, rebuild: Rebuild) -> float | None:
        """Take the rebuilt state over, if all but a few events are in it.

        Returns
        -------
        float
            For how many seconds the event path stood still; None if too much is missing yet.
        """
        begun = time.perf_counter()
        kept = self._kept
        if kept is None or not self._partition.ours:
            raise _GivenUpError
        position = self._position()
        last = rebuild.told.rounds[-1]
        left = sum(len(run) for run in kept)
        if (last.embeddings, last.items) != (position.embeddings, position.items) or left > _LAST:
            return None
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
    """The worker ends, or the partition is another worker's now."""


def _learn(rebuild: Rebuild, records: Sequence[Record]) -> None:
    new = [record for record in records if record.offset >= rebuild.progress.next_offset]
    if new:
        rebuild.learn(new)
