"""Hostile input in small, and what the fuzzers found in large."""

from __future__ import annotations

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
    for run, count in ((fuzz.run_hypothesis, 150), (fuzz.run_spliced, 1000)):
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
    """Change what the format says of an entry."""
    return lambda header: header[name].update(changes)


def layout(name: str, **changes: Any) -> Callable[[dict[str, Any]], None]:
    """Change what we say of an entry beside that."""
    return lambda header: header["__metadata__"]["entries"][name].update(changes)


def settings(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda header: header["__metadata__"]["settings"].update(changes)


HUGE = 1 << 62
LENGTHS = "users/context/lengths"


@pytest.mark.parametrize(
    "change",
    [
        layout(LENGTHS, shape=[HUGE]),
        layout(LENGTHS, shape=[-1]),
        layout(LENGTHS, shape=[]),
        layout(LENGTHS, shape=[1]),
        layout(LENGTHS, shape=None),
        entry(LENGTHS, shape=[HUGE]),
        entry(LENGTHS, shape=[-1]),
        entry(LENGTHS, shape=[]),
        entry(LENGTHS, data_offsets=[0, HUGE]),
        entry(LENGTHS, data_offsets=[-8, 0]),
        entry(LENGTHS, dtype="O"),
        entry(LENGTHS, dtype="BF16"),
        entry(LENGTHS, dtype="F64"),
        layout("items/bias/accumulated", shape=[1 << 40]),  # ones: they would all be written
        entry("users/ids", shape=[HUGE]),
        entry("users/ids", dtype="I64"),
        layout("users/ids", shape=[4]),
        settings(dimensions=128),
        settings(neighbours=16),
        settings(transitions=4096),
        lambda header: header.pop("users/ids"),
        lambda header: header["__metadata__"]["entries"].pop("users/ids"),
        lambda header: header.update(another=header["users/ids"]),
        lambda header: header["__metadata__"].pop("settings"),
        lambda header: header["__metadata__"].update(entries="5"),
    ],
)
def test_a_header_that_lies_is_refused(
    whole: bytes, tmp_path: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    header = fuzz_checks.header_of(whole)
    change(header)
    content = fuzz_checks.with_header(whole, header)
    assert not fuzz_checks.check_state(content, tmp_path / "state")


@pytest.mark.parametrize("header", [b"", b"nonsense", b"5", b"\xff", b"[" * 100_000, b"{" * 99])
def test_a_header_that_is_none_is_refused(whole: bytes, tmp_path: Path, header: bytes) -> None:
    content = fuzz_checks.with_header(whole, header)
    assert not fuzz_checks.check_state(content, tmp_path / "state")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("items/categories", b'{"0": null}'),
        ("items/categories", b'{"a": {}}'),
        ("items/categories", b"[]"),
        ("users/ids", b"5"),
        ("users/ids", b"[[]]"),
        ("users/evicted", b"[]"),
        ("model/embeddings/random", b'{"bit_generator": "PCG64", "state": 1}'),
        ("model/embeddings/random", b"null"),
        ("items/reasons", b"[1]"),
        ("items/text/rows", b"[" * 100_000),
    ],
)
def test_json_that_does_not_fit_is_refused(
    whole: bytes, tmp_path: Path, name: str, content: bytes
) -> None:
    state = fuzz_checks.with_entry(whole, name, content)
    assert not fuzz_checks.check_state(state, tmp_path / "state")
