"""The users of this worker's partitions: how they come, from checkpoints, and how they go.

A partition's users move as a file: whoever has them writes checkpoints to the store that all
workers reach, and the next owner loads them from the newest and reads the log from there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from functools import partial

import msgspec

from engine.recommender import Recommender
from engine.settings import EngineSettings
from streams.messages.state_mark import StepKind, Taken
from streams.worker.checkpoints import Checkpoint, Checkpoints, Notes
from streams.worker.engine_thread import EngineThread
from streams.worker.partition import Partition
from streams.worker.process_memory import give_back
from streams.worker.stores import SUFFIX, Stored

log = logging.getLogger("millrace.worker")

AT_ONCE = 200
"""Users that are let go of in one go: events wait so long, some milliseconds."""
_NEAR = 5_000
"""Events of a partition that are learnt again rather than that a file is read for them: that takes
some seconds for 50,000 users (`benchmarks.moving_users`), these one or two."""


class UserSide:
    """Has the users of some partitions in the engine, and of no others.

    Parameters
    ----------
    partitions
        Those of the input, by number.
    fits
        Returns what says why a checkpoint does not go with the topics, if it does not.

    Attributes
    ----------
    note
        Called with what was done to the engine, for who does the same again (`StateMarks.note`).
    """

    def __init__(
        self,
        engine: Recommender,
        partitions: Mapping[int, Partition],
        checkpoints: Checkpoints | None,
        settings: EngineSettings,
        thread: EngineThread,
        fits: Callable[[], Callable[[Notes], str | None]],
    ) -> None:
        self._engine, self._partitions = engine, partitions
        self._checkpoints, self._settings, self._fits = checkpoints, settings, fits
        self._thread = thread
        self.note: Callable[[StepKind, int, int, str], object] = lambda *step: None
        self._leaving: list[str] = []

    def resume(self) -> None:
        """Go on with a checkpoint: users of partitions that it does not hold were leaving then."""
        gone = [number for number, each in self._partitions.items() if not each.held]
        self._leaving = self._engine.users_of(*gone) if gone else []

    def bring(self, numbers: Collection[int]) -> None:
        """Have the users of these partitions, as of the latest offset that there is or not long
        before it, and no others.

        Blocks while files are read. For another thread than the engine's.
        """
        self._thread.do(partial(self.assign, set(numbers)))
        self._load_users(numbers)
        give_back()  # what files took while they were read

    def _load_users(self, numbers: Collection[int]) -> None:
        loaded: dict[Stored, Checkpoint | None] = {}
        for number in sorted(numbers):
            partition = self._partitions[number]
            beyond = partition.next_offset + _NEAR if partition.held else -1
            for file in self._holding(number, beyond):
                if file not in loaded:
                    loaded.clear()  # one at a time: it may be large
                    loaded[file] = self._load(file)
                if (found := loaded[file]) is not None:
                    self._thread.do(partial(self.take_in, partition, found))
                    log.info(
                        "partition %d: its users as of offset %d are here, from %s",
                        number, partition.next_offset, file.name,
                        extra={"partition": number, "offset": partition.next_offset},
                    )  # fmt: skip
                    break
            partition.held = True

    def _holding(self, number: int, beyond: int) -> list[Stored]:
        if self._checkpoints is None:
            return []
        try:
            return self._checkpoints.holding(number, beyond)
        except OSError as error:
            log.warning("partition %d: its users are learnt from its log alone, for there are no "
                        "checkpoints: %s", number, error)  # fmt: skip
            return []

    def _load(self, file: Stored) -> Checkpoint | None:
        assert self._checkpoints is not None
        return self._checkpoints.load_users(file, self._settings, self._fits())

    def take_in(self, partition: Partition, found: Checkpoint) -> None:
        """Have the users of a partition as a checkpoint has them."""
        told = Taken(found.name.removesuffix(SUFFIX), found.notes.cut)
        self.note("taken", partition.number, 0, msgspec.json.encode(told).decode())
        theirs = found.engine
        # A file of an earlier version does not say where a user is: they come with any partition.
        unsettled = [u for u in theirs.users_of(-1) if self._engine.users.find(u) is None]
        self._engine.take_in(theirs, [*theirs.users_of(partition.number), *unsettled])
        partition.resume(found.notes.partitions[partition.number])

    def assign(self, numbers: set[int]) -> None:
        """Begin to forget the users of all other partitions."""
        while self._leaving:  # theirs may come back with the next
            self.let_some_go()
        self.note("assigned", 0, 0, " ".join(map(str, sorted(numbers))))
        others = [p for number, p in self._partitions.items() if number not in numbers]
        for partition in others:
            if partition.held:
                partition.let_go()
        self._leaving += self._engine.users_of(*(partition.number for partition in others))

    def let_some_go(self) -> None:
        """Forget some of the users that left; called a few times a second."""
        if not self._leaving:
            return
        self.note("forgot", 0, 0, "")
        leaving, self._leaving = self._leaving[:AT_ONCE], self._leaving[AT_ONCE:]
        self._engine.leave(leaving)
        if not self._leaving and self._engine.compact_users():
            give_back()
