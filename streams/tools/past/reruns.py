"""What has to be run again, and from which checkpoint, to have the state that gave an answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from streams.messages.state_mark import Cut
from streams.tools.past.beginnings import Beginnings, writer_of
from streams.tools.past.error import PastError
from streams.tools.past.processes import EarlierError, Process, Processes
from streams.worker.checkpoints import Notes

Place = tuple[int, int]
"""A partition, and an offset of it."""


@dataclass
class Wanted:
    """Which answers of a process are wanted, by how many it had given: from, to before.

    Attributes
    ----------
    before
        An interaction that the state to begin with must not know yet, if any.
    saves
        Where its state is wanted as a checkpoint that is no more, by its name.
    """

    first: int
    end: int
    before: Place | None = None
    saves: dict[str, Cut] = field(default_factory=dict)


@dataclass(frozen=True)
class Rerun:
    """A process that does again what it did.

    Attributes
    ----------
    start
        The name of the checkpoint to begin with, which an earlier rerun may have to save; None for
        an empty engine.
    done
        How many answers and steps are in that.
    end
        Up to how many answers.
    saves
        Where the state is saved, in order, under which names.
    """

    process: Process
    start: str | None
    done: tuple[int, int]
    end: int
    saves: list[tuple[Cut, str]]


def plan(
    processes: Processes,
    beginnings: Beginnings,
    wanted: Mapping[str, Wanted],
    lows: Mapping[int, int],
) -> list[Rerun]:
    """What has to be run again, in this order, to have what is wanted of each worker.

    Parameters
    ----------
    wanted
        By worker; those who wrote checkpoints that are no more are added.
    lows
        The first interaction that the log still has, by partition.

    Raises
    ------
    PastError
        If there is nothing to begin with.
    EarlierError
        If answers have to be read from an earlier one on.
    """
    asked = dict(wanted)
    starts: dict[str, tuple[str | None, tuple[int, int]]] = {}
    order: list[str] = []
    open_ = list(asked)
    while open_:
        worker = open_.pop()
        process, want = _known(processes, worker), asked[worker]
        start, done, notes = _start(process, beginnings, want)
        if start is not None and notes is None:  # it is no more, or knows too much
            cut = _cut(processes, process)
            parent = writer_of(start)
            theirs = asked.setdefault(parent, Wanted(cut.answers, cut.answers, want.before))
            theirs.saves[start] = cut
            theirs.first = min(theirs.first, cut.answers)
            theirs.end = max(theirs.end, cut.answers)
            open_.append(parent)
            first = cut.steps - len(cut.untold)
            for number, step in enumerate(cut.untold, first):
                _known(processes, parent).steps.setdefault(number, step)
        elif start is None or notes is not None:
            _check_log(processes, lows, notes)
        if any(processes.begins.values()) and not process.has_all(done[0], want.end):
            raise EarlierError
        starts[worker] = start, done
        order = [worker, *(each for each in order if each != worker)]
    return [
        Rerun(
            processes.by_worker[worker], *starts[worker], asked[worker].end,
            sorted(((cut, name) for name, cut in asked[worker].saves.items()),
                   key=lambda save: (save[0].answers, save[0].steps)),
        )
        for worker in order
    ]  # fmt: skip


def _start(
    process: Process, beginnings: Beginnings, want: Wanted
) -> tuple[str | None, tuple[int, int], Notes | None]:
    """The checkpoint to begin with, how much of the process is in it, and its notes if it is there
    and knows nothing that it must not."""
    earliest = min([want.first, *(cut.answers for cut in want.saves.values())])
    for name, notes in beginnings.of(process.worker):
        cut = notes.cut
        if cut is not None and cut.answers <= earliest and _is_before(notes, want.before):
            return name, (cut.answers, cut.steps), notes
    if not process.began:
        return None, (0, 0), None
    notes_there = beginnings.notes(process.began)
    if notes_there is not None and not _is_before(notes_there, want.before):
        notes_there = None
    return process.began, (0, 0), notes_there


def _is_before(notes: Notes, place: Place | None) -> bool:
    if place is None or place[0] not in notes.partitions:
        return True
    return notes.partitions[place[0]].next_offset <= place[1]


def _cut(processes: Processes, process: Process) -> Cut:
    if process.cut is None:
        if any(processes.begins.values()):
            raise EarlierError
        raise PastError(
            f"the checkpoint that worker {process.worker} began with is no more, and no answer "
            "tells where it was cut: choose a later range, or keep more from now on "
            "(worker.checkpoints_kept)"
        )
    return process.cut


def _check_log(processes: Processes, lows: Mapping[int, int], notes: Notes | None) -> None:
    """Whether answers and log reach back to a checkpoint, or to an empty engine."""
    for partition, low in lows.items():
        at = 0
        if notes is not None and partition in notes.partitions:
            at = notes.partitions[partition].next_offset
        elif notes is not None:
            continue
        if at < low:
            raise PastError(
                f"the log of partition {partition} begins at offset {low}, and no checkpoint is "
                "left to begin with: choose a later range, or keep more from now on "
                "(worker.checkpoints_kept)"
            )
        if processes.begins[partition] > at:
            raise EarlierError({partition: at})


def _known(processes: Processes, worker: str) -> Process:
    if not worker:
        raise PastError(
            "answers of the range have no header millrace.state: a version before it gave them"
        )
    if worker not in processes.by_worker:
        if any(processes.begins.values()):
            raise EarlierError
        raise PastError(
            f"worker {worker} wrote the checkpoint that another began with, the file is no more, "
            "and no answer tells what it had applied: choose a later range"
        )
    return processes.by_worker[worker]
