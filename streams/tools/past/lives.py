"""Which worker process gave which answers, what it began with, and where to fold it again from."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from engine.recommender import Recommender
from engine.state.container import SavedStateError
from engine.state.snapshot import read_notes
from streams.messages.state_mark import CatalogueStep
from streams.settings import Settings
from streams.tools.past.answers import AnswerLog
from streams.tools.past.error import PastError
from streams.worker.checkpoints import Checkpoint, Notes
from streams.worker.input_log import Input
from streams.worker.stores import SUFFIX, Folder, store_of


@dataclass
class Life:
    """One worker process, as its answers tell.

    Attributes
    ----------
    worker
        What its checkpoints' names end with; empty for answers without a mark.
    began
        The name of the checkpoint that it began with; empty for an empty engine.
    steps
        What it applied of the catalogue, in order.
    gaps
        Offsets of interactions before which it applied more than its answers tell.
    """

    worker: str
    began: str
    steps: list[CatalogueStep] = field(default_factory=list)
    gaps: list[int] = field(default_factory=list)

    @property
    def begins(self) -> int:
        """The offset of the interactions at which it began."""
        return offset_of(self.began)

    @property
    def parent(self) -> str:
        """The worker whose checkpoint it began with; empty if none."""
        return writer_of(self.began)


def offset_of(name: str) -> int:
    """How many interactions are in a checkpoint, by its name; 0 of none."""
    return int(name.partition("-")[0] or 0)


def writer_of(name: str) -> str:
    """Which worker wrote a checkpoint, by its name."""
    return name.partition("-")[2]


class Lives:
    """All of them that answered interactions from an offset on."""

    def __init__(self, log: AnswerLog, begins: int) -> None:
        self.begins = begins
        self.by_worker: dict[str, Life] = {}
        self._firsts: list[int] = []
        self._workers: list[str] = []
        with closing(log.since(begins)) as answers:
            for answer in answers:
                mark = answer.mark
                worker = mark.worker if mark else ""
                if not self._workers or self._workers[-1] != worker:
                    self._firsts.append(answer.offset)
                    self._workers.append(worker)
                    self.by_worker.setdefault(worker, Life(worker, mark.began if mark else ""))
                if mark is not None:
                    self.by_worker[worker].steps += mark.steps
                    if mark.gap:
                        self.by_worker[worker].gaps.append(answer.offset)

    def answering(self, offset: int) -> str:
        """The worker that answered an interaction; if nobody did, the one that answered the last
        before it, or else the first.

        Raises
        ------
        PastError
            If there is no answer.
        EarlierError
            If an earlier one may tell.
        """
        place = bisect_right(self._firsts, offset) - 1
        if place < 0 and self.begins:
            raise EarlierError(0)
        if not self._firsts:
            raise PastError("there are no answers on the output topic")
        return self._workers[max(0, place)]

    def stretches(self, first: int, end: int) -> Iterator[tuple[str, int, int]]:
        """Workers, and the interactions that each answered before another did: from, to before."""
        at = first
        while at < end:
            worker = self.answering(at)
            place = bisect_right(self._firsts, at)
            until = min(end, self._firsts[place]) if place < len(self._firsts) else end
            yield worker, at, until
            at = until


@dataclass
class Need:
    """From which interaction on a worker's answers are wanted, and up to before which."""

    first: int
    end: int
    saves: set[int] = field(default_factory=set)
    """Where its state is wanted, for a worker that began with a checkpoint that is no more."""

    @property
    def earliest(self) -> int:
        return min(self.first, *self.saves) if self.saves else self.first


@dataclass(frozen=True)
class Leg:
    """A fold of one worker's life.

    Attributes
    ----------
    start
        The name of the checkpoint to begin with, which an earlier leg may have to save; None for an
        empty engine.
    end
        Up to before which interaction.
    saves
        At which offsets the state is saved, under these names.
    """

    life: Life
    start: str | None
    end: int
    saves: list[tuple[int, str]]

    @property
    def begins(self) -> int:
        """The first interaction that is applied."""
        return offset_of(self.start or "")


class Beginnings:
    """The checkpoints of a group, by their names without suffix: only read. And those that are made
    anew beside them, in a folder of this machine."""

    def __init__(self, settings: Settings, input_: Input, anew: Path) -> None:
        self._settings, self._input = settings, input_
        self._anew = anew
        there = settings.worker.checkpoints and not settings.broker.embedded
        self._store = store_of(settings, input_.name) if there else Folder(anew)
        self._found = {
            file.name.removesuffix(SUFFIX): file
            for file in sorted(self._store.files(), key=lambda file: file.name, reverse=True)
        }

    def before(self, offset: int, writer: str | None = None) -> str | None:
        """The newest at an offset or before it, of one writer or any."""
        for name in self._found:
            if offset_of(name) > offset or writer not in (None, writer_of(name)):
                continue
            if self._is_sound(name):
                return name
        return None

    def has(self, name: str) -> bool:
        """Whether one of this name is still there."""
        return name in self._found and self._is_sound(name)

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
        except FileNotFoundError:
            raise PastError(
                f"{place} was removed meanwhile, as newer ones came: ask again"
            ) from None
        except (SavedStateError, OSError) as error:
            raise PastError(f"checkpoint {place} cannot be used: {error}") from None

    def _is_sound(self, name: str) -> bool:
        try:
            with self._store.header_and_notes(self._found[name]) as path:
                return not self._input.fits(read_notes(path, Notes))
        except (SavedStateError, OSError):
            return False


def legs(lives: Lives, beginnings: Beginnings, needs: Mapping[str, Need], low: int) -> list[Leg]:
    """What has to be folded, in this order, to have what is wanted of each worker.

    Parameters
    ----------
    needs
        By worker; those of their parents are added, where checkpoints are no more.
    low
        The first interaction that the log still has.

    Raises
    ------
    PastError
        If there is nothing to begin with.
    EarlierError
        If the lives have to be read from an earlier answer on.
    """
    wanted = dict(needs)
    starts: dict[str, str | None] = {}
    open_ = list(wanted)
    while open_:
        worker = open_.pop()
        life = _known(lives, worker)
        earliest = wanted[worker].earliest
        start = beginnings.before(earliest, worker)
        if start is None and life.began:
            start = life.began
            if life.begins > earliest or not beginnings.has(start):
                need = wanted.setdefault(life.parent, Need(life.begins, life.begins))
                need.saves.add(life.begins)
                need.first, need.end = min(need.first, earliest), max(need.end, life.begins)
                open_.append(life.parent)
        starts[worker] = start
    found = []
    for worker in sorted(wanted, key=lambda worker: (lives.by_worker[worker].begins, worker)):
        life, need = lives.by_worker[worker], wanted[worker]
        saves = [(at, f"{at:016d}-{worker}") for at in sorted(need.saves)]
        leg = Leg(life, starts[worker], need.end, saves)
        if leg.begins < lives.begins:
            raise EarlierError(leg.begins)
        if leg.begins < low:
            raise PastError(
                f"the log begins at offset {low}, and no checkpoint is left from which worker "
                f"{worker}'s answers follow: choose a later range, or keep more from now on "
                "(worker.checkpoints_kept)"
            )
        found.append(leg)
    return found


def _known(lives: Lives, worker: str) -> Life:
    if not worker:
        raise PastError(
            "answers of the range have no header millrace.state: a version before it gave them"
        )
    if worker not in lives.by_worker:
        if lives.begins:
            raise EarlierError(0)
        raise PastError(
            f"worker {worker} wrote the checkpoint that another began with, the file is no more, "
            "and no answer tells what it had applied: choose a later range"
        )
    return lives.by_worker[worker]


class EarlierError(Exception):
    """Answers of interactions before this offset have to be read, too."""

    def __init__(self, offset: int) -> None:
        super().__init__(offset)
        self.offset = offset
