"""Which data set a path holds: told by the files' names and first lines, never by a flag."""

from __future__ import annotations

from pathlib import Path

from engine.datasets import amazon
from engine.datasets.dataset import FileDataset
from engine.datasets.movielens import MovieLens1M, MovieLens100K, MovieLensCSV
from engine.datasets.problems import DatasetError
from engine.datasets.reading import head
from engine.datasets.yelp import YelpCSV, YelpJSON

NAMED = (MovieLens100K, MovieLens1M, MovieLensCSV, YelpJSON, YelpCSV)
_LISTED = 8

_Found = tuple[type[FileDataset], list[Path], list[Path]]


def open_dataset(path: Path | str, *, strict: bool = False, seed: int = 0) -> FileDataset:
    """Recognise the data set at ``path``, a folder or a file of interactions.

    A file whose name its release prescribes (``u.data``, ``ratings.csv``) stands for its folder:
    both give the same name, items and event ids. Of other files, only that one is read, with the
    items beside it. Files may be compressed with gzip.

    Parameters
    ----------
    path
        Folder or file.
    strict
        Raise at the first malformed row instead of skipping and counting it.
    seed
        Decides the order of interactions with equal timestamps.

    Raises
    ------
    DatasetError
        When there is nothing at ``path``, nothing known, a part missing, or several data sets.
    """
    given = Path(path)
    path = given.expanduser().resolve()
    try:
        if path.is_dir():
            name, (dataset, interactions, items) = path.name, _in_folder(path)
        elif path.is_file():
            name, (dataset, interactions, items) = _from_file(path)
        else:
            raise DatasetError(
                f"no data set at {given}: there is no such file or folder; give the folder that "
                f"holds one of {_known()}"
            )
    except OSError as error:
        raise DatasetError(f"cannot read {given}: {error.strerror}; check its rights") from error
    return dataset(name or "data", path, interactions, items, strict=strict, seed=seed)


def _in_folder(folder: Path) -> _Found:
    found = [_named(folder, dataset) for dataset in NAMED]
    fits = [one for one in (*found, _amazon(folder)) if one is not None]
    if len(fits) > 1:
        kinds = " and ".join(dataset.format for dataset, _, _ in fits)
        raise DatasetError(f"{folder} holds {kinds}: open one of them by its file")
    if fits:
        return fits[0]
    for dataset in NAMED:
        items, wanted = _files(folder, dataset.item_names), dataset.interaction_names[0]
        if items and not _files(folder, dataset.interaction_names):
            raise DatasetError(
                f"{folder} holds {items[0].name} of {dataset.format} but not {wanted}: get it "
                f"from {dataset.home} and put it there"
            )
    metadata = _amazon_files(folder)[1]
    if metadata:
        raise DatasetError(
            f"{folder} holds {metadata[0].name} of Amazon Reviews but no file of reviews: get that "
            f"of {amazon.category_of(metadata[0])} from {amazon.Amazon2023.home} and put it there"
        )
    raise DatasetError(
        f"no data set known in {folder}: looked for {_known()}; found {_listing(folder)}; give "
        "the folder that holds one of these"
    )


def _from_file(file: Path) -> tuple[str, _Found]:
    start, plain = head(file), file.name.removesuffix(".gz")
    for dataset in NAMED:
        if dataset.fits(start):
            items = _files(file.parent, dataset.item_names)
            name = file.parent.name if plain in dataset.interaction_names else Path(plain).stem
            return name, (dataset, [file], items)
    release = amazon.release_of(start)
    if release is not None:
        category = amazon.category_of(file)
        metadata = [
            one for one in _amazon_files(file.parent)[1] if amazon.category_of(one) == category
        ]
        return Path(plain).stem, (release, [file], metadata)
    first = f"its first line is {start[0][:60]!r}" if start else "it is empty"
    raise DatasetError(
        f"{file} is no known file of interactions: {first}; looked for the rows of {_known()}"
    )


def _named(
    folder: Path, dataset: type[MovieLens100K | MovieLens1M | MovieLensCSV | YelpJSON | YelpCSV]
) -> _Found | None:
    interactions = _files(folder, dataset.interaction_names)
    if interactions and dataset.fits(head(interactions[0])):
        return dataset, interactions, _files(folder, dataset.item_names)
    return None


def _files(folder: Path, names: tuple[str, ...]) -> list[Path]:
    """The named files that are there; of a file and its ``.gz``, the file."""
    both = ((folder / name, folder / f"{name}.gz") for name in names)
    return [next(p for p in pair if p.is_file()) for pair in both if any(p.is_file() for p in pair)]


def _amazon(folder: Path) -> _Found | None:
    reviews, metadata = _amazon_files(folder)
    releases = {file: release for file in reviews if (release := amazon.release_of(head(file)))}
    if not releases:
        return None
    categories: dict[str, Path] = {}
    for file, release in releases.items():
        other = categories.setdefault(amazon.category_of(file), file)
        if other != file or release != next(iter(releases.values())):
            raise DatasetError(
                f"{folder} holds both {next(iter(releases)).name} and {file.name}, which are one "
                "category twice or two releases: open one of them by its file"
            )
    return next(iter(releases.values())), list(releases), metadata


def _amazon_files(folder: Path) -> tuple[list[Path], list[Path]]:
    """Candidates for reviews, and the metadata; of a file and its ``.gz``, the file."""
    by_name: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        if file.name.endswith(amazon.SUFFIXES) and file.is_file():
            by_name.setdefault(file.name.removesuffix(".gz"), file)
    metadata = [file for file in by_name.values() if amazon.is_metadata(file)]
    return [file for file in by_name.values() if file not in metadata], metadata


def _known() -> str:
    names = ", ".join(f"{d.interaction_names[0]} ({d.format})" for d in NAMED)
    return f"{names}, or a .json[l][.gz] file of Amazon reviews"


def _listing(folder: Path) -> str:
    names = sorted(f"{one.name}/" if one.is_dir() else one.name for one in folder.iterdir())
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return (", ".join(names[:_LISTED]) + more) or "nothing"
