"""What has to be run again, and from which checkpoint, to have the state that gave an answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from graphlib import TopologicalSorter

import msgspec

from streams.messages.state_mark import Cut, Taken
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
    """A part of a process's life, done again.

    Attributes
    ----------
    start
        The name of the checkpoint to begin with, which an earlier rerun may have to save; None for
        an empty engine.
    done
        How many answers and steps are in that.
    end
        Up to how many answers.
    steps
        And up to how many steps, of a part that ends with a checkpoint; None of a process's last.
    save
        The name of that checkpoint.
    """

    process: Process
    start: str | None
    done: tuple[int, int]
    end: int
    steps: int | None = None
    save: str = ""

    def has_step(self, number: int) -> bool:
        """Whether this part does a step of the process."""
        if self.steps is not None:
            return self.done[1] <= number < self.steps
        return self.done[1] <= number and self.process.steps[number].at < self.end

    def taken(self) -> list[Taken]:
        """The checkpoints from which users came to the process meanwhile."""
        steps = self.process.steps.items()
        return [
            msgspec.json.decode(step.name, type=Taken)
            for number, step in steps
            if step.kind == "taken" and self.has_step(number)
        ]


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
    parts: dict[str, list[Rerun]] = {}
    open_ = list(asked)
    while open_:
        worker = open_.pop()
        process, want = _known(processes, worker), asked[worker]
        start, done, notes = _start(process, beginnings, want)
        parts[worker] = _parts(process, start, done, want, worker in wanted)
        gone = [
            each for part in parts[worker] for each in part.taken()
            if not _is_usable(beginnings.notes(each.name), want.before)
        ]  # fmt: skip
        if start is not None and notes is None:  # it is no more, or knows too much
            gone.append(Taken(start, _cut(processes, process)))
        else:
            _check_log(processes, lows, notes)
        open_ += [writer_of(each.name) for each in gone if _ask(processes, asked, each, want)]
        if any(processes.begins.values()) and not process.has_all(done[0], want.end):
            raise EarlierError
    return _in_order([part for of_worker in parts.values() for part in of_worker])


def _parts(
    process: Process, start: str | None, done: tuple[int, int], want: Wanted, to_its_end: bool
) -> list[Rerun]:
    """The life of a process, cut where its state is wanted as a checkpoint: two that took users
    over from each other can only be done again in turns."""
    parts = []
    for name, cut in sorted(want.saves.items(), key=lambda save: (save[1].answers, save[1].steps)):
        parts.append(Rerun(process, start, done, cut.answers, cut.steps, name))
        start, done = name, (cut.answers, cut.steps)
    return [*parts, Rerun(process, start, done, want.end)] if to_its_end else parts


def _in_order(parts: list[Rerun]) -> list[Rerun]:
    """Each part behind those that save what it begins with, or what users come from."""
    saving = {part.save: number for number, part in enumerate(parts) if part.save}
    needs = {
        number: {
            saving[name]
            for name in (part.start, *(each.name for each in part.taken()))
            if name in saving
        }
        for number, part in enumerate(parts)
    }
    return [parts[number] for number in TopologicalSorter(needs).static_order()]


def _ask(processes: Processes, asked: dict[str, Wanted], gone: Taken, want: Wanted) -> bool:
    """Have the process that wrote a checkpoint make it anew; whether that was not asked for yet."""
    cut, parent = gone.cut, writer_of(gone.name)
    if cut is None:
        raise PastError(
            f"checkpoint {gone.name} is no more, and does not tell where it was cut: choose a "
            "later range, or keep more from now on (worker.checkpoints_kept)"
        )
    theirs = asked.setdefault(parent, Wanted(cut.answers, cut.answers, want.before))
    if gone.name in theirs.saves:
        return False
    theirs.saves[gone.name] = cut
    theirs.first = min(theirs.first, cut.answers)
    theirs.end = max(theirs.end, cut.answers)
    steps = _known(processes, parent).steps
    for number, step in enumerate(cut.untold, cut.steps - len(cut.untold)):
        steps.setdefault(number, step)
    return True


def _start(
    process: Process, beginnings: Beginnings, want: Wanted
) -> tuple[str | None, tuple[int, int], Notes | None]:
    """The checkpoint to begin with, how much of the process is in it, and its notes if it is there
    and knows nothing that it must not."""
    saves = [(cut.answers, cut.steps) for cut in want.saves.values()]
    for name, notes in beginnings.of(process.worker):
        if notes.cut is None or notes.cut.answers > want.first:
            continue
        done = notes.cut.answers, notes.cut.steps
        # Of two that were cut between the same answers, steps tell which was first.
        if all(done <= save for save in saves) and _is_usable(notes, want.before):
            return name, done, notes
    if not process.began:
        return None, (0, 0), None
    notes_there = beginnings.notes(process.began)
    return process.began, (0, 0), notes_there if _is_usable(notes_there, want.before) else None


def _is_usable(notes: Notes | None, place: Place | None) -> bool:
    """Whether a checkpoint is there, and does not know an interaction that it must not."""
    if notes is None:
        return False
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
