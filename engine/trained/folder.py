"""A model folder: `model.json`, which names each other file and its SHA-256, and those files.

    model.json          format, version, recipe, checksums
    ids.json            users and items, in the order of the tables
    arrays.npz          the tables (see `Tables`)
    encoder.onnx        the text encoder, if the recipe has one
    tokenizer.json      and its tokenizer
    report.json         what the training took
    adapters/, encoder/ for later training; serving does not read them

Nothing is executed that a file says (no pickle), and nothing is served that was not verified.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from dataclasses import dataclass, fields
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from engine.state.container import open_regular
from engine.training.recipe import Recipe

VERSION = 1
_FORMAT = "Millrace model"
MANIFEST, IDS, ARRAYS = "model.json", "ids.json", "arrays.npz"
ENCODER, TOKENIZER = "encoder.onnx", "tokenizer.json"

LEVELS: NDArray[np.float32] = np.arange(-2.0, 2.5, 0.5, dtype=np.float32)
"""How much better than expected an item was rated, in units of the rating: the edge types."""


class TrainedModelError(ValueError):
    """A folder that no model can be loaded from; its message is one line that says why."""


@dataclass(frozen=True)
class Tables:
    """What was learnt. W is the width of all embeddings: that of liking, then that of taking.

    Attributes
    ----------
    rows : float32[items * 9, W]
        What a user's interaction contributes to their embedding: a row for each item and level.
    users : float32[users, W]
        The users' own part.
    outputs : float32[items, W]
        What items are scored by.
    like_bias, take_bias : float32[items]
    user_bias : float32[users]
    texts : float32[items, t]
        The items' texts, projected to unit length; t = 0 without text.
    text_mean, text_basis : float32[e], float32[t, e]
        Projects an encoder's embedding (width e); empty without text.
    text_rows : float32[2, t, W]
        A projected text's contribution: the part that its level multiplies, and the other.
    edges : int32[n]
        Rows that each user aggregates, most recent last, one user after another.
    starts : int64[users + 1]
        Where in `edges` a user's begin.
    """

    rows: NDArray[np.float32]
    users: NDArray[np.float32]
    outputs: NDArray[np.float32]
    like_bias: NDArray[np.float32]
    take_bias: NDArray[np.float32]
    user_bias: NDArray[np.float32]
    texts: NDArray[np.float32]
    text_mean: NDArray[np.float32]
    text_basis: NDArray[np.float32]
    text_rows: NDArray[np.float32]
    edges: NDArray[np.int32]
    starts: NDArray[np.int64]


_QUANTISED = ("rows", "outputs")
"""Tables that an INT8 model keeps in 8 bits with a scale for each row."""
_PLACES = ("edges", "starts")
"""Tables of whole numbers; all others are of float32."""


@dataclass(frozen=True)
class Folder:
    """A model folder's contents, verified."""

    path: Path
    recipe: Recipe
    users: list[str]
    items: list[str]
    tables: Tables


def quantise(table: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Symmetric 8 bits with a scale for each row: int8[n, d], float32[n]."""
    scale = np.maximum(np.abs(table).max(1), 1e-12) / 127.0
    return np.rint(table / scale[:, None]).astype(np.int8), scale.astype(np.float32)


def write_tables(
    folder: Path, users: list[str], items: list[str], tables: Tables, int8: bool
) -> None:
    """Write ids and tables; of an INT8 model, the large tables in 8 bits."""
    (folder / IDS).write_text(json.dumps({"users": users, "items": items}))
    arrays: dict[str, NDArray[Any]] = {}
    for field in fields(Tables):
        table = getattr(tables, field.name)
        if int8 and field.name in _QUANTISED:
            arrays[field.name], arrays[f"{field.name}_scale"] = quantise(table)
        else:
            arrays[field.name] = table
    np.savez(folder / ARRAYS, **arrays)


def seal(folder: Path, recipe: Recipe) -> None:
    """Write the manifest, last: a folder without one is no model."""
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file.name != MANIFEST)
    manifest = {
        "format": _FORMAT,
        "version": VERSION,
        "recipe": recipe.model_dump(mode="json"),
        "files": {file.relative_to(folder).as_posix(): _sha256(file) for file in files},
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")


def read_folder(path: Path) -> Folder:
    """What a model folder holds.

    Raises
    ------
    TrainedModelError
        If it is no model folder, is of another version, or a file of it is missing or damaged.
    """
    manifest = _read_json(path, MANIFEST, "no model folder")
    if not isinstance(manifest, dict) or manifest.get("format") != _FORMAT:
        raise TrainedModelError(f"{path}: no model folder: {MANIFEST} is not of one")
    if manifest.get("version") != VERSION:
        found = manifest.get("version")
        raise TrainedModelError(
            f"{path}: version {found!r} of the format, this Millrace reads {VERSION}"
        )
    files = manifest.get("files")
    if not isinstance(files, dict) or not {IDS, ARRAYS} <= files.keys():
        raise TrainedModelError(f"{path}: damaged: {MANIFEST} does not name its files")
    for name, digest in files.items():
        file = path / name
        if not file.resolve().is_relative_to(path.resolve()) or not file.is_file():
            raise TrainedModelError(f"{path}: {name} is missing")
        if _sha256(file) != digest:
            raise TrainedModelError(f"{path}: damaged: {name} does not have its checksum")
    try:
        recipe = Recipe.model_validate(manifest.get("recipe"))
    except ValidationError as error:
        reason = " ".join(str(error).split())
        raise TrainedModelError(f"{path}: its recipe is not understood: {reason}") from None
    users, items = _read_ids(path)
    return Folder(path, recipe, users, items, _read_tables(path, len(users), len(items)))


def _read_ids(path: Path) -> tuple[list[str], list[str]]:
    ids = _read_json(path, IDS, "damaged")
    try:
        users, items = ids["users"], ids["items"]
        whole = all(isinstance(name, str) for name in (*users, *items))
        sound = whole and len({*users}) == len(users) and len({*items}) == len(items)
    except (TypeError, KeyError):
        sound = False
    if not sound:
        raise TrainedModelError(f"{path}: {IDS}: not the ids of users and items, each once")
    return users, items


def _read_json(path: Path, name: str, otherwise: str) -> Any:
    """What a JSON file of the folder says; raises `TrainedModelError` if it is none."""
    try:
        with open_regular(path / name) as file:
            return json.load(file)
    except (OSError, ValueError, RecursionError) as error:
        raise TrainedModelError(f"{path}: {otherwise}: {name}: {error}") from None


def _read_tables(path: Path, users: int, items: int) -> Tables:
    try:
        with np.load(path / ARRAYS, allow_pickle=False) as arrays:
            _check_sizes(path / ARRAYS)
            held = {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, MemoryError) as error:
        if isinstance(error, TrainedModelError):
            raise
        reason = " ".join(str(error).split())[:200]
        raise TrainedModelError(f"{path}: {ARRAYS}: not arrays: {reason}") from None
    try:
        for name in _QUANTISED:
            if f"{name}_scale" in held:
                with np.errstate(over="ignore"):  # told below
                    held[name] = held[name].astype(np.float32) * held.pop(f"{name}_scale")[:, None]
        tables = Tables(**held)
        (width,), (texts, encoded) = tables.rows.shape[1:], tables.text_basis.shape
    except (TypeError, ValueError, LookupError) as error:
        raise TrainedModelError(f"{path}: {ARRAYS}: not the tables of a model: {error}") from None
    for name, table in held.items():
        if name not in _PLACES and (table.dtype != np.float32 or not np.isfinite(table).all()):
            raise TrainedModelError(f"{path}: {ARRAYS}: {name} holds what is no number")
    expected = {
        "rows": (items * len(LEVELS), width), "users": (users, width), "outputs": (items, width),
        "like_bias": (items,), "take_bias": (items,), "user_bias": (users,),
        "texts": (items, texts), "text_mean": (encoded,), "text_rows": (2, texts, width),
        "starts": (users + 1,),
    }  # fmt: skip
    for name, shape in expected.items():
        found = getattr(tables, name).shape
        if found != shape:
            raise TrainedModelError(f"{path}: {ARRAYS}: {name} is {found}, not {shape}")
    edges, starts = tables.edges, tables.starts
    if (
        edges.dtype != np.int32
        or starts.dtype != np.int64
        or edges.ndim != 1
        or not 0
        <= int(edges.min(initial=0))
        <= int(edges.max(initial=0))
        < max(1, len(tables.rows))
        or [int(starts[0]), int(starts[-1])] != [0, len(edges)]
        or (np.diff(starts) < 0).any()
    ):  # compiled kernels do not check bounds
        raise TrainedModelError(f"{path}: {ARRAYS}: edges and starts do not name rows")
    return tables


def _check_sizes(file: Path) -> None:
    """Refuse arrays that say they are larger than what the archive has of them.

    Tables are written uncompressed (`np.savez`): numpy would make room for the shape that is
    declared before it reads.
    """
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            if member.compress_type != zipfile.ZIP_STORED or member.file_size > file.stat().st_size:
                raise TrainedModelError(f"{file}: {member.filename[:80]} is compressed")
            with archive.open(member) as stream:
                version = np.lib.format.read_magic(stream)  # type: ignore[no-untyped-call]
                read = (
                    np.lib.format.read_array_header_1_0
                    if version == (1, 0)
                    else np.lib.format.read_array_header_2_0
                )
                shape, _, dtype = read(stream)  # type: ignore[no-untyped-call]
                if dtype.hasobject or stream.tell() + prod(shape) * dtype.itemsize != (
                    member.file_size
                ):
                    raise TrainedModelError(
                        f"{file}: {member.filename[:80]} is no array of shape {str(shape)[:80]}"
                    )


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
