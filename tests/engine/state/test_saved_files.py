"""Files that no engine can be loaded from are refused, and a write that fails harms nothing."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from engine import Recommender
from engine.features.context import Contexts
from engine.state import snapshot as saving
from engine.state.array_codec import SavedStateError
from engine.state.schema import State
from engine.text.encoder import TextEncoder
from tests.engine.stories import HYBRID, INDEXED, saved, story, told


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    engine = Recommender(INDEXED)
    told(engine, story()[:200])
    return saved(engine, tmp_path_factory.mktemp("saved") / "state")


def refused(tmp_path: Path, content: bytes) -> str:
    """The one line that says why a file is no state, without its path."""
    path = tmp_path / "state"
    path.write_bytes(content)
    with pytest.raises(SavedStateError) as caught:
        Recommender.load(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


def with_manifest(whole: bytes, **changes: Any) -> bytes:
    """A file whose manifest says something else, with the right checksum."""
    magic, at, length, _ = saving._HEAD.unpack_from(whole)
    manifest = msgspec.json.encode({**msgspec.json.decode(whole[at : at + length]), **changes})
    digest = hashlib.sha256(manifest).digest()
    head = saving._HEAD.pack(magic, at, len(manifest), digest)
    return head + whole[len(head) : at] + manifest


def manifest_of(whole: bytes) -> dict[str, Any]:
    _, at, length, _ = saving._HEAD.unpack_from(whole)
    return msgspec.json.decode(whole[at : at + length])  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04", b"{}", bytes(500), b"Millrace", b"\x80\x04."]
)
def test_a_foreign_file_is_refused(tmp_path: Path, content: bytes) -> None:
    assert refused(tmp_path, content) == "not a saved state of Millrace"


def test_a_file_cut_short_is_refused(tmp_path: Path, whole: bytes) -> None:
    for length in (16, 63, 64, 65, 1000, len(whole) // 2, len(whole) - 1):
        assert refused(tmp_path, whole[:length]).startswith("cut short, or damaged: ")
    assert refused(tmp_path, whole + b"\n").startswith("cut short, or damaged: ")


def test_a_damaged_file_is_refused_wherever_it_is(tmp_path: Path, whole: bytes) -> None:
    places = np.random.default_rng(0).integers(0, len(whole), 60)
    for place in [*range(0, 64, 3), *places.tolist(), len(whole) - 1]:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        assert "damaged" in refused(tmp_path, bytes(damaged)) or place < 16


def test_another_version_is_refused(tmp_path: Path, whole: bytes) -> None:
    other = with_manifest(whole, version=99, entries=None)
    said = f"saved in version 99 of the format, this Millrace reads {saving.VERSION}"
    assert refused(tmp_path, other) == said


def test_another_encoder_is_refused(tmp_path: Path, whole: bytes) -> None:
    other = with_manifest(whole, encoder="word2vec")
    assert refused(tmp_path, other) == (
        f"its texts were embedded by word2vec, here it is {TextEncoder.name}"
    )


def test_unknown_settings_are_refused(tmp_path: Path, whole: bytes) -> None:
    settings = {**manifest_of(whole)["settings"], "k": 0, "colour": "red"}
    message = refused(tmp_path, with_manifest(whole, settings=settings))
    assert message.startswith("its settings are not understood: ")
    assert "colour" in message


def test_state_that_is_kept_otherwise_is_refused(
    tmp_path: Path, whole: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as changed:
        changed.setattr(Contexts, "STATE", State(arrays=("lengths",), unsaved=("levels",)))
        assert refused(tmp_path, whole) == "not what this Millrace keeps: contexts.levels"
    entries = manifest_of(whole)["entries"]
    (entry,) = (entry for entry in entries if entry["name"] == "contexts.lengths")
    entry["dtype"] = "<f8"
    message = refused(tmp_path, with_manifest(whole, entries=entries))
    assert message == "contexts.lengths is float64, here it is int64"


def test_nothing_is_pickled(tmp_path: Path, whole: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("dump", "dumps", "load", "loads", "Pickler", "Unpickler"):
        monkeypatch.setattr(pickle, name, None)
    (tmp_path / "state").write_bytes(whole)
    Recommender.load(tmp_path / "state").save(tmp_path / "again")
    for entry in manifest_of(whole)["entries"]:
        assert entry["dtype"][1:] in (
            "son", "f2", "f4", "f8", "i4", "i8", "u1", "u4", "b1",
        )  # fmt: skip


def test_a_write_that_fails_leaves_the_file_as_it_was(
    tmp_path: Path, whole: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state"
    path.write_bytes(whole)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(saving.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        Recommender(HYBRID).save(path)
    assert path.read_bytes() == whole
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Recommender.load(tmp_path / "none")
