"""Files that no engine can be loaded from are refused, and a write that fails harms nothing."""

from __future__ import annotations

import json
import logging
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open

from benchmarks.fuzz_checks import header_of, with_entry, with_header
from engine import Recommender
from engine.state import container
from engine.state import snapshot as saving
from engine.state.container import SavedStateError
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


def test_a_newer_or_older_version_is_refused_by_name(tmp_path: Path, whole: bytes) -> None:
    header = header_of(whole)
    header["__metadata__"]["version"] = "99"
    assert refused(tmp_path, with_header(whole, header)) == (
        f"saved in version 99 of the format, this Millrace reads 2 to {saving.VERSION}"
    )


def test_another_encoder_is_refused(tmp_path: Path, whole: bytes) -> None:
    header = header_of(whole)
    header["__metadata__"]["encoder"] = "word2vec"
    assert refused(tmp_path, with_header(whole, header)) == (
        f"its texts were embedded by word2vec, here it is {TextEncoder.name}"
    )


def test_settings_that_cannot_be_are_refused(tmp_path: Path, whole: bytes) -> None:
    header = header_of(whole)
    header["__metadata__"]["settings"] |= {"k": 0}
    message = refused(tmp_path, with_header(whole, header))
    assert message.startswith("its settings are not understood: ")


def test_settings_and_notes_that_are_nested_without_end_are_refused(
    tmp_path: Path, whole: bytes
) -> None:
    header = header_of(whole)
    header["__metadata__"]["settings"] = '{"k": ' + "[" * 100_000
    assert "its settings are not understood" in refused(tmp_path, with_header(whole, header))
    path = tmp_path / "noted"
    path.write_bytes(with_entry(whole, "notes", b"[" * 100_000))
    with pytest.raises(SavedStateError, match="its notes are not understood"):
        saving.read_notes(path, dict)


def test_settings_that_are_no_more_are_named(
    tmp_path: Path, whole: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    header = header_of(whole)
    header["__metadata__"]["settings"] |= {"colour": "red"}
    (tmp_path / "state").write_bytes(with_header(whole, header))
    with caplog.at_level(logging.WARNING, "millrace.state"):
        loaded = Recommender.load(tmp_path / "state")
    assert loaded.settings == INDEXED
    assert "engine.colour" in caplog.text


def test_a_pipe_and_a_folder_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(SavedStateError, match="not a file"):
            Recommender.load(tmp_path / name)


def test_only_the_owner_may_read_it(tmp_path: Path, whole: bytes) -> None:
    Recommender(HYBRID).save(tmp_path / "state")
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o600


def test_the_library_of_the_format_reads_it(tmp_path: Path, whole: bytes) -> None:
    (tmp_path / "state").write_bytes(whole)
    engine = Recommender.load(tmp_path / "state")
    with safe_open(tmp_path / "state", "np") as file:
        weights = file.get_tensor("model/head/weights")
        names = json.loads(file.get_tensor("model/head/weights/axis-0").tobytes())
        assert file.metadata()["format"] == "millrace state"
    assert np.array_equal(weights, engine.head.weights)
    assert names[:2] == ["directed", "symmetric"]


def told_lies(whole: bytes) -> Iterator[tuple[str, bytes]]:
    """Files in which one entry has other contents, of the right length and with the right sum."""
    header = header_of(whole)
    (length,) = container._LENGTH.unpack_from(whole)
    for name, layout in header["__metadata__"]["entries"].items():
        start, end = (8 + length + at for at in header[name]["data_offsets"])
        if "shape" not in layout or end == start:
            continue
        for lie in (b"\xff", b"\x7f", b"\x00", b"\x01"):
            yield f"{name} {lie!r}", with_entry(whole, name, lie * (end - start))


def single_lies(whole: bytes) -> Iterator[tuple[str, bytes]]:
    """Files in which one number, or one entry of a list, is another; all sums are right."""
    draw = np.random.default_rng(0)
    header = header_of(whole)
    (length,) = container._LENGTH.unpack_from(whole)
    for name, layout in header["__metadata__"]["entries"].items():
        start, end = (8 + length + at for at in header[name]["data_offsets"])
        if end == start:
            continue
        for turn in range(2):
            lie = (
                _single_number(whole[start:end], header[name]["dtype"], draw)
                if "shape" in layout
                else _single_value(json.loads(whole[start:end]), draw)
            )
            if lie is not None:
                yield f"{name} {turn}", with_entry(whole, name, lie)


def _single_number(content: bytes, dtype: str, draw: np.random.Generator) -> bytes:
    numbers = np.frombuffer(content, container._DTYPES[dtype]).copy()
    at = int(draw.integers(len(numbers)))
    if numbers.dtype.kind in "iu":
        most = np.iinfo(numbers.dtype).max
        one = draw.choice([most, 0, 300, 1024, 1 << 20, min(int(numbers[at]), most - 1) + 1])
        numbers[at] = -1 if numbers.dtype.kind == "i" and draw.random() < 0.2 else min(one, most)
    elif numbers.dtype.kind == "f":
        numbers[at] = draw.choice([np.nan, np.inf, -np.inf, 1e4])
    else:
        numbers[at] = not numbers[at]
    return (draw.permutation(numbers) if draw.random() < 0.15 else numbers).tobytes()


def _single_value(value: Any, draw: np.random.Generator) -> bytes | None:
    odd = [-1, 10**6, 2**62, 0]
    if isinstance(value, list) and value:
        at = int(draw.integers(len(value)))
        value[at] = value[0] if isinstance(value[at], str) else odd[at % 4]
    elif isinstance(value, dict) and value:
        key = list(value)[int(draw.integers(len(value)))]
        moved = value.pop(key)
        value[str(draw.choice(odd))] = moved
    elif isinstance(value, int):
        value = int(draw.choice(odd))
    else:
        return None
    return json.dumps(value).encode()


_GO_ON = """
import sys
from pathlib import Path
from engine import SavedStateError, Recommender
from tests.engine.stories import story, told
for path in sorted(Path(sys.argv[1]).iterdir(), key=lambda path: int(path.name)):
    try:
        engine = Recommender.load(path)
        told(engine, story()[200:260])
        engine.forget("user-3")
        engine.forget("user-4")
    except SavedStateError as error:
        print(path.name, "refused", error, flush=True)
    except Exception as error:
        print(path.name, "raised", repr(error), flush=True)
    else:
        print(path.name, "went on", flush=True)
"""


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("told_so", [told_lies, single_lies])
def test_no_contents_of_a_sound_file_crash_the_kernels(
    tmp_path: Path, whole: bytes, told_so: Callable[[bytes], Iterator[tuple[str, bytes]]]
) -> None:
    """Compiled code checks no bounds: what it indexes with is checked when it is loaded."""
    lies = dict(told_so(whole))
    assert len(lies) > 100
    for number, content in enumerate(lies.values()):
        (tmp_path / str(number)).write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-c", _GO_ON, str(tmp_path)], capture_output=True, text=True, check=False
    )
    lines = done.stdout.splitlines()
    names = list(lies)
    assert done.returncode == 0, f"died of {names[len(lines)]}: {done.stderr[-500:]}"
    for line in lines:
        assert " raised " not in line, names[int(line.split()[0])]


def test_nothing_is_pickled(tmp_path: Path, whole: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("dump", "dumps", "load", "loads", "Pickler", "Unpickler"):
        monkeypatch.setattr(pickle, name, None)
    (tmp_path / "state").write_bytes(whole)
    Recommender.load(tmp_path / "state").save(tmp_path / "again")


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
