"""Downloads a public release into a folder. Only MovieLens can be had without a form."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import pooch
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from engine.datasets.discovery import open_dataset
from engine.datasets.problems import DatasetError

MOVIELENS_URL = "https://files.grouplens.org/datasets/movielens/"
TIMEOUT_SECONDS = 30
MOST_UNPACKED = 4 << 30
"""Most bytes that an archive may unpack to; the largest release has 1.1 GB."""

# As GroupLens publishes them beside each zip (NAME.zip.md5). None: the release changes, so its
# .md5 is fetched with it.
MOVIELENS_MD5: dict[str, str | None] = {
    "ml-100k": "0e33842e24a9c977be4e0107933c0723",
    "ml-1m": "c4d9eecfca2ab87c1945afe126590906",
    "ml-20m": "cd245b17a1ae2cc31bb14903e1204af3",
    "ml-25m": "6b51fb2759a8657d3bfcbfc42b592ada",
    "ml-32m": "d472be332d4daa821edc399621853b57",
    "ml-latest-small": None,
}

_BY_HAND = {
    "amazon": (
        "Amazon Reviews: fetch one category's reviews and metadata (such as All_Beauty.jsonl.gz "
        "and meta_All_Beauty.jsonl.gz) from the McAuley Lab's site amazon-reviews-2023.github.io"
    ),
    "yelp": (
        "Yelp: accept the terms of the Yelp Open Dataset at "
        "business.yelp.com/data/resources/open-dataset, fetch its JSON archive, and unpack "
        "yelp_academic_dataset_review.json and yelp_academic_dataset_business.json"
    ),
}


def download(
    name: str, folder: Path | str, progress: bool = True, base_url: str = MOVIELENS_URL
) -> Path:
    """Fetch a MovieLens release, check its MD5 and unpack it; nothing is fetched twice.

    Parameters
    ----------
    name
        ``ml-100k``, ``ml-1m``, ``ml-20m``, ``ml-25m``, ``ml-32m`` or ``ml-latest-small``.
    folder
        Where to put ``name.zip`` and the folder ``name``.
    progress
        Show a progress bar on standard error, where that is a terminal.
    base_url
        Where the zips lie; ends with a slash.

    Returns
    -------
    Path
        The unpacked folder, for :func:`engine.datasets.open_dataset`.

    Raises
    ------
    DatasetError
        When the name is unknown or must be fetched by hand, or the download fails or does not
        match its MD5. No partial file is left.
    """
    folder = Path(folder).expanduser().resolve()
    if name in _BY_HAND:
        raise DatasetError(
            f"{_BY_HAND[name]}; put them into {folder / name}, then run "
            f"millrace demo --data {folder / name}"
        )
    if name not in MOVIELENS_MD5:
        known = ", ".join((*MOVIELENS_MD5, *_BY_HAND))
        raise DatasetError(f"no data set is called {name!r}: choose one of {known}")
    target = folder / name
    if target.exists():
        return _existing(target)
    try:
        _fetch(name, folder, progress, base_url)
    # The exceptions of requests are OSErrors; pooch raises ValueError when the hash does not match.
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        what = " ".join(str(error).split())
        raise DatasetError(
            f"could not fetch {name} from {base_url}: {what[:300]}; check the connection and try "
            f"again, or unpack {name}.zip from grouplens.org/datasets/movielens into {folder}"
        ) from error
    return target


def _existing(target: Path) -> Path:
    try:
        open_dataset(target)
    except DatasetError as error:
        raise DatasetError(f"{error}; or remove {target} to have it fetched anew") from error
    return target


def _fetch(name: str, folder: Path, progress: bool, base_url: str) -> None:
    pooch.get_logger().setLevel("WARNING")
    archive = f"{name}.zip"
    # Unpacked beside and then renamed: the folder is whole or not there.
    unpacked = folder / f".{name}.partial"
    with _Bar(archive, shown=progress) as bar:
        downloader = pooch.HTTPDownloader(
            progressbar=bar, chunk_size=2**16, timeout=TIMEOUT_SECONDS
        )
        try:
            pooch.retrieve(
                base_url + archive,
                known_hash=f"md5:{MOVIELENS_MD5[name] or _published_md5(base_url + archive)}",
                fname=archive,
                path=folder,
                downloader=downloader,
                processor=_Unzip(extract_dir=unpacked.name),
            )
            os.replace(unpacked / name, folder / name)
        finally:
            shutil.rmtree(unpacked, ignore_errors=True)


class _Unzip(pooch.Unzip):  # type: ignore[misc]
    """Unpacks an archive whose directory states at most `MOST_UNPACKED` bytes, which zipfile
    enforces."""

    def __call__(self, fname: str, action: str, pooch_: Any) -> Any:
        with zipfile.ZipFile(fname) as archive:
            said = sum(entry.file_size for entry in archive.infolist())
        if said > MOST_UNPACKED:
            raise ValueError(f"{fname} would unpack to {said:,} bytes, {MOST_UNPACKED:,} are taken")
        return super().__call__(fname, action, pooch_)


def _published_md5(url: str) -> str:
    """The MD5 that GroupLens publishes beside a zip: ``MD5 (NAME.zip) = …`` or ``…  NAME.zip``."""
    with tempfile.TemporaryDirectory() as folder:
        file = pooch.retrieve(f"{url}.md5", known_hash=None, fname="md5", path=folder)
        text = Path(file).read_text(encoding="utf-8", errors="replace")
    found = re.search(r"\b[0-9a-f]{32}\b", text.lower())
    if found is None:
        raise ValueError(f"{url}.md5 holds no MD5 but {text[:60]!r}")
    return found[0]


class _Bar:
    """A rich progress bar with the methods that pooch calls."""

    def __init__(self, label: str, *, shown: bool) -> None:
        console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            console=console,
            disable=not (shown and console.is_terminal),
        )
        self._task = self._progress.add_task(label, total=None)
        self.total = 0

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def update(self, amount: int) -> None:
        self._progress.update(self._task, total=self.total, advance=amount)

    def reset(self) -> None:
        self._progress.reset(self._task)

    def close(self) -> None:
        self._progress.stop_task(self._task)
