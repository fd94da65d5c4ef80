"""The message of what was added to items: what is read back, and what is refused, by name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest
from backports import zstd
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from engine import Recommender
from engine.sharing import DeltaError, ItemDelta
from engine.sharing.delta import LEARNT, VERSION
from tests.engine.builders import WITHOUT_TEXT, stream

WIDTH = WITHOUT_TEXT.dimensions


def made() -> ItemDelta:
    engine = Recommender(WITHOUT_TEXT)
    engine.share()
    engine.observe_many(stream(1, 80))
    return engine.collect_delta({3: (5, 85), 1: (0, 2)})


def changed(change: Any) -> bytes:
    """A delta's message, after a change of what it unpacks to."""
    whole = msgspec.msgpack.decode(zstd.decompress(made().encode()), strict=False)
    change(whole)
    return zstd.compress(msgspec.msgpack.encode(whole))


def part(name: str, field: str, value: bytes) -> Any:
    def change(whole: list[Any]) -> None:
        whole[4][name][field] = value

    return change


def put(place: int, value: Any) -> Any:
    def change(whole: list[Any]) -> None:
        whole[place] = value

    return change


def test_a_delta_is_read_as_it_was_made() -> None:
    delta = made()
    read = ItemDelta.decode(delta.encode(), WIDTH)
    assert (read.ranges, read.events, read.names) == (delta.ranges, delta.events, delta.names)
    assert read.rows == delta.rows > 100
    for one, other in (
        (read.counted, delta.counted), (read.followed, delta.followed),
        (read.biased, delta.biased), (read.totals, delta.totals),
        *((read.learnt[name], delta.learnt[name]) for name in LEARNT),
    ):  # fmt: skip
        for left, right in zip(one, other, strict=True):
            assert left.dtype == right.dtype
            np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (put(0, VERSION + 1), f"version: {VERSION + 1}; this Millrace reads version {VERSION}"),
        (put(0, "one"), "version: 'one'"),
        (put(1, {"0": [0, 1]}), "damaged"),
        (put(1, {0: [4, 4]}), "ranges: offsets 4 to 4 of partition 0"),
        (put(1, {0: [-1, 4]}), "ranges: offsets -1 to 4"),
        (put(2, -1), "events: -1 is negative"),
        (put(3, ["a", "a"]), "names: an item is named twice"),
        (put(3, ["a"]), "counted.items: an item that is not among the 1 names"),
        (lambda whole: whole[4].pop("biased"), "biased.items is missing"),
        (part("counted", "counts", b"\0" * 8), "counted.counts: 2 rows, and"),
        (part("counted", "by_stage", b"\0" * 60), "counted.by_stage: 60 bytes are no rows of 16"),
        (part("outputs", "changes", b"\0" * 33), "outputs.changes: 33 bytes are no rows of 32"),
        (part("totals", "stages", b"\0" * 8), "totals.stages: 1 numbers, not 16"),
        (
            part("totals", "moments", np.array([-1.0, 0, 0]).tobytes()),
            "totals.moments: a negative number of ratings",
        ),
        (
            part("totals", "moments", np.array([np.nan, 0, 0]).tobytes()),
            "totals.moments: a number is not finite",
        ),
    ],
)
def test_what_is_no_delta_is_refused(change: Any, said: str) -> None:
    with pytest.raises(DeltaError, match=said):
        ItemDelta.decode(changed(change), WIDTH)


def test_rows_that_come_twice_are_refused() -> None:
    delta = made()
    twice = delta.biased.items.copy()
    twice[1] = twice[0]
    wrong = replace(delta, biased=delta.biased._replace(items=twice))
    with pytest.raises(DeltaError, match=r"biased\.items: rows are not in the order of the names"):
        ItemDelta.decode(wrong.encode(), WIDTH)


def test_a_negative_sum_of_squares_is_refused() -> None:
    delta = made()
    wrong = replace(delta, biased=delta.biased._replace(accumulated=-delta.biased.accumulated - 1))
    with pytest.raises(DeltaError, match=r"biased\.accumulated: a negative sum of squares"):
        ItemDelta.decode(wrong.encode(), WIDTH)


def test_a_delta_of_another_width_is_refused() -> None:
    with pytest.raises(DeltaError, match=r"changes: \d+ (bytes|rows)"):
        ItemDelta.decode(made().encode(), WIDTH + 1)


@pytest.mark.parametrize("before", [b"", zstd.compress(b"x")], ids=["one frame", "two frames"])
def test_a_message_that_would_fill_the_memory_is_refused(before: bytes) -> None:
    with pytest.raises(DeltaError, match="no frame of at most 67108864 bytes, unpacked"):
        ItemDelta.decode(before + zstd.compress(bytes(1 << 30)), WIDTH)


@pytest.mark.parametrize("begin", [b"", b"\x95\x01"], ids=["all", "within"])
def test_a_message_that_is_nested_without_end_is_refused(begin: bytes) -> None:
    with pytest.raises(DeltaError, match="recursion"):
        ItemDelta.decode(zstd.compress(begin + b"\x91" * 1_000_000), WIDTH)


@hypothesis_settings(max_examples=200, deadline=None)
@given(st.data())
def test_damage_is_refused_or_harmless(data: st.DataObject) -> None:
    """Whatever is read fits an engine: it is added without an error."""
    message = bytearray(MESSAGE if data.draw(st.booleans()) else UNPACKED)
    packed = bytes(message) == MESSAGE
    for _ in range(data.draw(st.integers(1, 3))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(message)) | st.just(len(message)))
    damaged = bytes(message[:end]) if packed else zstd.compress(bytes(message[:end]))
    try:
        delta = ItemDelta.decode(damaged, WIDTH)
    except DeltaError:
        return
    if delta.events < 10_000:
        ENGINE.apply_delta(replace(delta, ranges={}))


MESSAGE = made().encode()
UNPACKED = zstd.decompress(MESSAGE)
ENGINE = Recommender(WITHOUT_TEXT)
ENGINE.share()
