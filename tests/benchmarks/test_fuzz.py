"""Hostile input in small, and what the fuzzers found in large."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import fuzz, fuzz_checks
from benchmarks.fuzz_corpus import BODIES, HEADERS
from streams.messages.bad_message import BadMessage


def test_the_corpus_holds_good_messages_of_every_form() -> None:
    letters = fuzz_checks.DeadLetters()
    read = [
        fuzz_checks.check_interaction(body, headers, letters)
        or fuzz_checks.check_item(body, headers, letters)
        for body in BODIES
        for headers in HEADERS[:3]
    ]
    assert [any(read[at : at + 3]) for at in range(0, len(read), 3)] == [True] * len(BODIES)


def test_generated_and_spliced_messages_are_read_or_buried() -> None:
    for run, count in ((fuzz.run_hypothesis, 400), (fuzz.run_spliced, 2000)):
        good, bad = run(count, 1)
        assert good + bad >= count * 0.9
        assert good > 0 < bad


@pytest.mark.parametrize(
    ("decoded", "promise"),
    [(ValueError("odd"), "odd"), (BadMessage("NotJson", "a\nb"), "one line")],
)
def test_a_broken_promise_is_noticed(decoded: Exception, promise: str) -> None:
    def decode(_value: bytes | None, _headers: object) -> Any:
        raise decoded

    with pytest.raises((ValueError, fuzz_checks.Broken), match=promise):
        fuzz_checks._check(decode, b"", (), fuzz_checks.DeadLetters())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return fuzz_checks.small_state(tmp_path_factory.mktemp("fuzz"))


def test_damaged_states_are_refused_in_one_line(whole: bytes, tmp_path: Path) -> None:
    draw = random.Random(7)
    assert fuzz_checks.check_state(whole, tmp_path / "state")
    sound = [
        fuzz_checks.check_state(fuzz.damaged(whole, draw), tmp_path / "state") for _ in range(60)
    ]
    assert sum(sound) < len(sound) / 2


def entry(name: str, **changes: Any) -> Callable[[dict[str, Any]], None]:
    def change(manifest: dict[str, Any]) -> None:
        (found,) = (entry for entry in manifest["entries"] if entry["name"] == name)
        found.update(changes)

    return change


def settings(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda manifest: manifest["settings"].update(changes)


HUGE = 1 << 62


@pytest.mark.parametrize(
    "change",
    [
        entry("contexts.lengths", shape=[HUGE]),
        entry("contexts.lengths", shape=[-1]),
        entry("contexts.lengths", shape=[]),
        entry("contexts.lengths", rows=HUGE),
        entry("contexts.lengths", rows=-1),
        entry("contexts.lengths", dtype="O"),
        entry("contexts.lengths", dtype="(9,)f8"),
        entry("contexts.lengths", dtype="nonsense"),
        entry("contexts.lengths", dtype="json"),
        entry("head.bias_accumulated", shape=[1 << 40]),  # of ones: they would all be written
        entry("users.names", rows=HUGE),
        entry("users.names", dtype="<i8"),
        settings(dimensions=128),
        settings(neighbours=16),
        settings(transitions=4096),
        lambda manifest: manifest["entries"].pop(),
        lambda manifest: manifest["entries"].append(manifest["entries"][0]),
        lambda manifest: manifest.pop("settings"),
        lambda manifest: manifest.update(entries=5),
    ],
)
def test_a_manifest_that_lies_is_refused(
    whole: bytes, tmp_path: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    manifest = fuzz_checks.manifest_of(whole)
    change(manifest)
    content = fuzz_checks.with_manifest(whole, json.dumps(manifest).encode())
    assert not fuzz_checks.check_state(content, tmp_path / "state")


@pytest.mark.parametrize("manifest", [b"", b"nonsense", b"5", b"\xff", b"[" * 100_000])
def test_a_manifest_that_is_none_is_refused(whole: bytes, tmp_path: Path, manifest: bytes) -> None:
    content = fuzz_checks.with_manifest(whole, manifest)
    assert not fuzz_checks.check_state(content, tmp_path / "state")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("categories._of", b'{"0": null}'),
        ("categories._of", b'{"a": {}}'),
        ("categories._of", b"[]"),
        ("users.names", b"5"),
        ("users.names", b"[[]]"),
        ("popularity.events", b"[]"),
        ("embeddings._random", b'{"bit_generator": "PCG64", "state": 1}'),
        ("embeddings._random", b"null"),
        ("dislikes._items", b"[1]"),
        ("vectors._rows", b"[" * 100_000),
    ],
)
def test_json_that_does_not_fit_is_refused(
    whole: bytes, tmp_path: Path, name: str, content: bytes
) -> None:
    state = fuzz_checks.with_entry(whole, name, content)
    assert not fuzz_checks.check_state(state, tmp_path / "state")
