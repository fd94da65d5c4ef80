"""The header of an answer tells what was applied of the catalogue, in order and without limit."""

from __future__ import annotations

import pytest

from streams.messages.state_mark import (
    HEADER,
    MOST_STEPS,
    CatalogueStep,
    StateMark,
    StateMarks,
    read_mark,
)


def test_an_answer_tells_what_was_applied_since_the_last() -> None:
    marks = StateMarks("ab12", "0000000000000040-cd34")
    assert read_mark([(HEADER, marks.next())]) == StateMark("ab12", "0000000000000040-cd34")
    for end in (1, 2, 3):
        marks.applied(40, "items", 0, end)
    marks.applied(40, "embeddings", 0, 2)
    marks.applied(41, "embeddings", 0, 3)
    steps = [
        CatalogueStep(40, "items", 0, 3),
        CatalogueStep(40, "embeddings", 0, 2),
        CatalogueStep(41, "embeddings", 0, 3),
    ]
    assert marks.untold == steps
    header = marks.next()
    assert read_mark([("other", b"x"), (HEADER, header)]) == StateMark(
        "ab12", "0000000000000040-cd34", steps
    )
    assert len(marks.next()) < len(header)
    assert marks.untold == []


def test_what_a_checkpoint_holds_is_told_by_the_next_process() -> None:
    before = [CatalogueStep(40, "items", 0, 3)]
    marks = StateMarks("ab12", "x", before)
    marks.applied(40, "listed", 0, 9)
    mark = read_mark([(HEADER, marks.next())])
    assert mark is not None
    assert mark.steps == [*before, CatalogueStep(40, "listed", 0, 9)]


def test_a_header_does_not_grow_without_limit() -> None:
    marks = StateMarks("ab12")
    for n in range(MOST_STEPS + 10):
        marks.applied(0, "items" if n % 2 else "embeddings", 0, n)
    header = marks.next()
    mark = read_mark([(HEADER, header)])
    assert mark is not None
    assert mark.gap
    assert len(header) < 200_000
    after = read_mark([(HEADER, marks.next())])
    assert after is not None
    assert not after.gap


@pytest.mark.parametrize("header", [b"", b"{}", b"null", b"\xff", b'{"worker": 3}'])
def test_somebody_else_s_header_is_none(header: bytes) -> None:
    assert read_mark([(HEADER, header)]) is None


def test_an_answer_without_one_has_none() -> None:
    assert read_mark([]) is None
