"""What the doctor looks at on this machine: checkpoints and their log, disk, kernels, the port."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from engine.compiled import cache_folder
from engine.state.container import SavedStateError
from engine.state.snapshot import read_notes
from streams.settings import Settings, SettingsError, WebSettings, WorkerSettings
from streams.tools.doctor.finding import Finding
from streams.worker.checkpoints import Notes
from streams.worker.input_log import Input
from streams.worker.stores import SUFFIX, is_url, store_of

_FIRST_BYTES = 256 * 1024 * 1024
"""Room for the checkpoints of a worker that has none yet."""
_PROBED_LOG = "doctor"
"""Where the doctor writes and removes an empty object."""


def checkpoint_folder(settings: Settings) -> Iterator[Finding]:
    """Whether checkpoints can be written, and how many there is room for."""
    name = settings.worker.checkpoints
    if not name or settings.broker.embedded:
        why = (
            "worker.checkpoints is empty" if not name else "the embedded broker's log dies with it"
        )
        yield Finding("checkpoints", "ok", f"none are written ({why}): a restart reads the log")
        return
    if is_url(name):
        yield from _object_store(settings)
        return
    folder = Path(name)
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        own = name != WorkerSettings().checkpoints
        yield Finding(
            "checkpoints",
            "fail" if own else "warn",
            f"{there} is no folder that {_user()} may write to; "
            f"`install -d -m 700 -o {_user()} {folder}` makes one, or worker.checkpoints names "
            "another",
        )
        return
    state = "exists" if folder.exists() else f"can be made in {there}"
    yield Finding("checkpoints", "ok", f"{folder} {state}, and can be written to")
    yield _space(settings, folder, there)


def _object_store(settings: Settings) -> Iterator[Finding]:
    """Whether an object store can be listed and written to, and what is not seen of it."""
    name = settings.worker.checkpoints
    try:
        store_of(settings, _PROBED_LOG).open()
    except (SettingsError, OSError) as error:
        yield Finding("checkpoints", "fail", str(error))
        return
    yield Finding(
        "checkpoints",
        "ok",
        f"{name} can be listed and written to; how much more it takes, its lifecycle rules and "
        "whether it keeps old versions are not seen",
    )
    here = Path(tempfile.gettempdir())
    free = shutil.disk_usage(here).free
    yield Finding(
        "disk",
        "ok" if free >= 2 * _FIRST_BYTES else "warn",
        f"{_size(free)} in {here} (TMPDIR), where a checkpoint lies while it is sent or fetched",
    )


def _space(settings: Settings, folder: Path, there: Path) -> Finding:
    """Whether the disk holds the checkpoints that are kept, and one that is being written."""
    sizes = [path.stat().st_size for path in folder.rglob(f"*{SUFFIX}") if path.is_file()]
    kept = settings.worker.checkpoints_kept + 1
    needed = kept * max(sizes) if sizes else _FIRST_BYTES
    free = shutil.disk_usage(there).free + sum(sizes)
    told = f"{_size(free)} for checkpoints, of which {kept} take {_size(needed)}"
    if free >= 2 * needed:
        return Finding("disk", "ok", told)
    return Finding(
        "disk", "warn", f"{told}: make room on the disk of {there}, or name another folder in "
        "worker.checkpoints",
    )  # fmt: skip


def retention(settings: Settings) -> Iterator[Finding]:
    """Whether the log still has what a worker that starts now would read.

    Raises
    ------
    BrokerError
        If the broker has no such topic.
    """
    log = Input.of(settings)
    starts = dict.fromkeys(log.lows, 0)
    try:
        checkpoints = list(_notes(settings, log))
    except (SettingsError, OSError) as error:
        yield Finding(
            "log", "warn", f"not compared with checkpoints, for there is no list: {error}"
        )
        return
    for notes in checkpoints:  # each has the partitions of the worker that wrote it
        for number, partition in notes.partitions.items():
            starts[number] = max(starts[number], partition.next_offset)
    gone = {n: low - starts[n] for n, low in log.lows.items() if low > starts[n]}
    since = "the newest checkpoint" if checkpoints else "the beginning"
    if gone:
        yield Finding(
            "log",
            "warn",
            f"{sum(gone.values()):,} events since {since} are gone from "
            f"{settings.topics.interactions} (partitions {', '.join(map(str, gone))}): a worker "
            "that starts here does not know them; keep events longer (retention.ms), or start from "
            "a newer checkpoint",
        )
        return
    waiting = sum(log.highs[n] - max(starts[n], log.lows[n]) for n in log.highs)
    yield Finding("log", "ok", f"all events since {since} are there: {waiting:,} to read at start")


def _notes(settings: Settings, log: Input) -> Iterator[Notes]:
    """What the checkpoints that go with the log say of it."""
    if not settings.worker.checkpoints:
        return
    store = store_of(settings, log.name)
    for file in store.files():
        try:
            with store.header_and_notes(file) as path:
                notes = read_notes(path, Notes)
        except (SavedStateError, OSError):
            continue
        if log.fits(notes) is None:
            yield notes


def kernels() -> Finding:
    """Whether compiled kernels are kept from start to start."""
    folder = cache_folder()
    if folder is not None:
        return Finding("kernels", "ok", f"compiled ones are kept in {folder.parent}")
    return Finding(
        "kernels", "warn", "they are compiled at each start, for one to three minutes: set "
        "NUMBA_CACHE_DIR to a folder that can be written to",
    )  # fmt: skip


def port(web: WebSettings) -> Finding:
    """Whether the web server's address is free, or a worker's already."""
    if not web.port:
        return Finding("web", "ok", "web.port = 0: there is no page, no API and no /metrics")
    address = f"{web.host}:{web.port}"
    try:
        family = socket.AF_INET6 if ":" in web.host else socket.AF_INET
        socket.create_server((web.host, web.port), family=family).close()
    except OSError as error:
        if _is_worker(web):
            told = f"a worker answers at {address}"
            return Finding("web", "ok", told)
        if "port" not in web.model_fields_set and error.errno == errno.EADDRINUSE:
            return Finding("web", "ok", f"{address} is taken: a worker takes the next free port")
        return Finding(
            "web", "fail", f"{address} cannot be bound ({error.strerror}); "
            f"--set web.port={web.port + 1} takes another port, 0 none",
        )  # fmt: skip
    return Finding("web", "ok", f"{address} is free")


def _is_worker(web: WebSettings) -> bool:
    try:
        with urllib.request.urlopen(web.url("health/live"), timeout=3) as answer:
            return b'"live"' in answer.read(1000)
    except (OSError, ValueError):
        return False


def _user() -> str:
    return os.environ.get("USER") or f"uid {os.getuid()}"


def _size(count: int) -> str:
    return f"{count / 2**30:,.1f} GiB" if count >= 2**30 else f"{count / 2**20:,.0f} MiB"
