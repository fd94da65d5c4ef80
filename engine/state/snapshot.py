"""An engine's state in one file, and back.

The file is a safetensors file (`engine.state.container`) of the entries that `engine.state.schema`
names. Its metadata has the version of the format, the settings and the encoder; whoever saves can
add notes. All is verified before an engine is handed out.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import msgspec

from engine.state import format_2
from engine.state.container import Content, Reader, SavedStateError, digest, open_regular, write
from engine.state.migrations import MIGRATIONS
from engine.state.schema import Saved, entries, restore

VERSION = 4
"""Of the format. An entry that is added, or is kept no longer, needs no new one; an entry that is
renamed or means something else does, and a migration."""
_FORMAT = "millrace state"
_NOTES = "notes"
_NUMBERS = ("items/ids", "items/use_order", "items/departures/last", "items/departures/clock")
"""What says which items the numbers in `users/...` mean."""

Engine = TypeVar("Engine", bound=Saved)
Notes = TypeVar("Notes")


def write_state(
    path: Path, engine: Saved, settings: dict[str, Any], encoder: str | None, notes: object = None
) -> None:
    """Write all that an engine holds to one file, which takes its name when it is complete.

    Parameters
    ----------
    settings
        What the engine is made of again, as JSON can say it.
    encoder
        Name of the text encoder whose embeddings are in the state, if any are.
    notes
        What `read_notes` gives back, as JSON can say it.

    Raises
    ------
    OSError
        If the file cannot be written; what was at `path` is left as it was.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    metadata = {
        "format": _FORMAT,
        "version": str(VERSION),
        "settings": msgspec.json.encode(settings).decode(),
        "encoder": encoder or "",
    }
    try:
        # It says what people like: nobody else may read it.
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            write(file, [*entries(engine), (_NOTES, msgspec.json.encode(notes))], metadata)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    # The new name is in the folder, which has to reach the disk as well.
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def state_digest(engine: Saved) -> str:
    """SHA-256 of all that an engine holds, in hexadecimal digits: engines of equal settings with
    equal ones answer alike from now on."""
    return digest(entries(engine))


def is_of_users(name: str) -> bool:
    """Whether an entry is needed to have the users of a file, and none of its items' tables."""
    return name.startswith("users/") or name in _NUMBERS


def read_state(
    path: Path,
    make: Callable[[dict[str, Any]], Engine],
    encoder: str,
    *,
    users_only: bool = False,
) -> Engine:
    """The engine that a file holds.

    Parameters
    ----------
    make
        Makes a new engine of the saved settings.
    encoder
        Name of the text encoder here.
    users_only
        Read and verify nothing but the users, and which items they name; what the items are like is
        as in a new engine.

    Raises
    ------
    OSError
        If the file cannot be read.
    SavedStateError
        If it is no saved state, is damaged, is one of a version that is not read here or of another
        encoder, or holds what no engine can go on from.
    """
    with open_regular(path) as file:
        saved, version = _opened(file, path)
        written_with = saved.metadata["encoder"]
        if written_with not in ("", encoder):
            raise SavedStateError(
                f"{path}: its texts were embedded by {written_with}, here it is {encoder}"
            )
        try:
            engine = make(msgspec.json.decode(saved.metadata["settings"], type=dict[str, Any]))
        except SavedStateError:
            raise
        except (ValueError, msgspec.MsgspecError, RecursionError) as error:
            reason = " ".join(str(error).split())
            raise SavedStateError(f"{path}: its settings are not understood: {reason}") from error
        partly = users_only and version == VERSION  # migrations take whole files
        if partly and isinstance(saved, Reader):
            contents, in_use = saved.read(is_of_users)
        else:
            contents, in_use = saved.read()
    contents.pop(_NOTES, None)
    try:
        restore(engine, _migrated(contents, version), path, in_use, whole=not partly)
    except SavedStateError:
        raise
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError,
            MemoryError, msgspec.MsgspecError) as error:  # fmt: skip
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise SavedStateError(f"{path}: what it holds does not fit together: {reason}") from error
    return engine


def read_notes(path: Path, type_: type[Notes]) -> Notes:
    """What was noted when a state was saved.

    Raises
    ------
    OSError
        If the file cannot be read.
    SavedStateError
        As `read_state`, and if its notes are no `type_`.
    """
    with open_regular(path) as file:
        saved, _ = _opened(file, path)
        notes = saved.json(_NOTES)
    try:
        return msgspec.json.decode(notes, type=type_)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise SavedStateError(f"{path}: its notes are not understood: {error}") from error


def _opened(file: BinaryIO, path: Path) -> tuple[Reader | format_2.Reader, int]:
    """A verified file, and the version of its format."""
    if file.read(len(format_2.MAGIC)) == format_2.MAGIC:
        file.seek(0)
        return format_2.Reader(file, path), format_2.VERSION
    file.seek(0)
    saved = Reader(file, path)
    if saved.metadata.get("format") != _FORMAT:
        raise SavedStateError(f"{path}: not a saved state of Millrace")
    version = saved.metadata.get("version", "")
    if version != str(VERSION) and version not in map(str, MIGRATIONS):
        raise SavedStateError(
            f"{path}: saved in version {version[:20]} of the format, this Millrace reads "
            f"{min(MIGRATIONS)} to {VERSION}"
        )
    if not {"settings", "encoder"} <= saved.metadata.keys():
        raise SavedStateError(f"{path}: its header is not understood")
    return saved, int(version)


def _migrated(contents: dict[str, Content], version: int) -> dict[str, Content]:
    for number in range(version, VERSION):
        contents = MIGRATIONS[number](contents)
    return contents
