"""The header of an answer tells what was applied of the catalogue, in order and without limit."""

from __future__ import annotations

import pytest

from streams.messages.state_mark import (
    HEADER,
    MOST_STEPS,
    Cut,
    StateMark,
    StateMarks,
    Step,
    read_mark,
)


def test_an_answer_tells_what_was_done_since_the_last() -> None:
    marks = StateMarks("ab12", "0000000000000040-cd34")
    assert read_mark([(HEADER, marks.next())]) == StateMark("ab12", "0000000000000040-cd34")
    for end in (1, 2, 3):
        marks.note("items", 0, end)
    marks.note("embeddings", 0, 2)
    marks.note("collected", 0, 7)
    marks.note("collected", 0, 8)
    steps = [
        Step(1, "items", 0, 3),
        Step(1, "embeddings", 0, 2),
        Step(1, "collected", 0, 7),
        Step(1, "collected", 0, 8),
    ]
    assert marks.cut() == Cut(1, 4, steps)
    header = marks.next()
    assert read_mark([("other", b"x"), (HEADER, header)]) == StateMark(
        "ab12", "0000000000000040-cd34", 1, 0, steps
    )
    usual = marks.next()
    assert len(usual) < len(header)
    assert read_mark([(HEADER, usual)]) == StateMark("ab12", "0000000000000040-cd34", 2)
    assert marks.cut() == Cut(3, 4)
    marks.note("items", 0, 5)
    marks.end_step()
    marks.note("items", 0, 9)  # not in that checkpoint, and so a step of its own
    assert marks.cut().untold == [Step(3, "items", 0, 5), Step(3, "items", 0, 9)]
    assert read_mark([(HEADER, marks.next())]) is not None
    marks.note("told", 2, 9)
    mark = read_mark([(HEADER, marks.next())])
    assert mark is not None
    assert (mark.n, mark.first, mark.steps) == (4, 6, [Step(4, "told", 2, 9)])


def test_the_first_answer_of_a_process_tells_where_its_checkpoint_was_cut() -> None:
    cut = Cut(40, 9, [Step(40, "items", 0, 3)])
    marks = StateMarks("ab12", "x", cut)
    marks.note("listed", 0, 9)
    mark = read_mark([(HEADER, marks.next())])
    assert mark is not None
    assert (mark.cut, mark.steps) == (cut, [Step(0, "listed", 0, 9)])
    after = read_mark([(HEADER, marks.next())])
    assert after is not None
    assert after.cut is None


def test_a_header_does_not_grow_without_limit() -> None:
    marks = StateMarks("ab12")
    for n in range(MOST_STEPS + 10):
        marks.note("items" if n % 2 else "embeddings", 0, n)
    header = marks.next()
    mark = read_mark([(HEADER, header)])
    assert mark is not None
    assert mark.gap
    assert mark.first == MOST_STEPS
    assert len(header) < 200_000
    marks.note("told", 0, 1)
    after = read_mark([(HEADER, marks.next())])
    assert after is not None
    assert (after.gap, after.first) == (False, MOST_STEPS + 10)


@pytest.mark.parametrize("header", [b"", b"{}", b"null", b"\xff", b'{"worker": 3}'])
def test_somebody_else_s_header_is_none(header: bytes) -> None:
    assert read_mark([(HEADER, header)]) is None


def test_an_answer_without_one_has_none() -> None:
    assert read_mark([]) is None
