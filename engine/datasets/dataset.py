"""A data set: items, and interactions in order of time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import ClassVar, TypeVar

from engine.datasets.problems import Problems
from engine.datasets.reading import OnRead
from engine.datasets.sorting import TimeSorter
from engine.events import Interaction, Item

OnProgress = Callable[[int, int], None]

_Row = TypeVar("_Row")
_Fact = TypeVar("_Fact", Interaction, Item)

# With two parts and a line number an event id stays below its limit of 256 characters.
_NAME_IN_ID = 100


class Dataset(ABC):
    """What a replay reads: an iterator of items, and one of interactions in order of time.

    Attributes
    ----------
    name : str
        Name of the folder or file, such as ``ml-100k``.
    format : str
        What it was recognised as, such as ``MovieLens 100K``.
    path : Path or None
        Where it lies on disk, if it does.
    problems : Problems
        The malformed rows met so far.
    count : int or None
        Number of interactions; None until :meth:`interactions` has sorted them.
    """

    format: ClassVar[str]

    def __init__(self, name: str, path: Path | None = None, *, strict: bool = False) -> None:
        self.name = name
        self.path = path
        self.problems = Problems(strict=strict)
        self.count: int | None = None

    @abstractmethod
    def items(self) -> Iterator[Item]:
        """Yield what the catalogue knows of each item."""

    @abstractmethod
    def interactions(self, on_progress: OnProgress | None = None) -> Iterator[Interaction]:
        """Yield the interactions in order of time.

        ``on_progress(bytes_read, bytes_total)`` is called while the source is read, and once
        with both equal when the first interaction is ready.
        """


class FileDataset(Dataset):
    """A data set in files. A format says how a file's rows become interactions and items.

    Parameters
    ----------
    name, path
        As in :class:`Dataset`.
    interaction_files, item_files
        The files to read; with several of the first, event ids also hold the file's stem.
    strict
        Raise DatasetError at the first malformed row instead of skipping and counting it.
    seed
        Decides the order of interactions with equal timestamps.
    """

    def __init__(
        self,
        name: str,
        path: Path,
        interaction_files: Sequence[Path],
        item_files: Sequence[Path],
        *,
        strict: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(name, path, strict=strict)
        self.seed = seed
        self.interaction_files = tuple(interaction_files)
        self.item_files = tuple(item_files)

    @abstractmethod
    def read_items(self, file: Path) -> Iterator[Item]:
        """Yield the items of one file, in the file's order."""

    @abstractmethod
    def read_interactions(self, file: Path, on_read: OnRead | None) -> Iterator[Interaction]:
        """Yield the interactions of one file, in the file's order."""

    def items(self) -> Iterator[Item]:
        """Yield what the catalogue knows of each item; nothing where there is no such file."""
        for file in self.item_files:
            yield from self.read_items(file)

    def interactions(self, on_progress: OnProgress | None = None) -> Iterator[Interaction]:
        """Yield the interactions in order of time, ties in the seed's order.

        All are read and sorted (:mod:`engine.datasets.sorting`) before the first is yielded.
        """
        sizes = [file.stat().st_size for file in self.interaction_files]
        total = sum(sizes)
        with closing(TimeSorter(self.seed)) as sorter:
            before = 0
            for file, size in zip(self.interaction_files, sizes, strict=True):
                on_read = None if on_progress is None else _offset(on_progress, before, total)
                sorter.add(self.read_interactions(file, on_read))
                before += size
            self.count = sorter.count
            for place, event in enumerate(sorter):
                if place == 0 and on_progress is not None:
                    on_progress(total, total)
                yield event

    def event_id(self, file: Path, line: int) -> str:
        """The same for a row in every run, so that a replay is recognised as a duplicate."""
        name = self.name[:_NAME_IN_ID]
        if len(self.interaction_files) > 1:
            name = f"{name}:{stem(file)[:_NAME_IN_ID]}"
        return f"{name}:{line}"

    def convert(
        self,
        file: Path,
        rows: Iterable[tuple[int, _Row]],
        fact_of: Callable[[int, _Row], _Fact],
    ) -> Iterator[_Fact]:
        """Yield what ``fact_of(line, row)`` makes of each row; record those it rejects."""
        for line, row in rows:
            try:
                fact = fact_of(line, row)
            except ValueError as error:
                self.problems.add(file.name, line, str(error))
                continue
            yield fact


def stem(file: Path) -> str:
    """File name without ``.gz`` and without its last suffix."""
    return Path(file.name.removesuffix(".gz")).stem


def _offset(on_progress: OnProgress, before: int, total: int) -> OnRead:
    return lambda read: on_progress(before + read, total)
