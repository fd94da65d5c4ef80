"""The header that tells which state gave an answer."""

from __future__ import annotations

import pytest

from streams.messages.state_mark import StateMark, catalogue_mark, read_mark


def test_it_is_read_as_it_is_written() -> None:
    catalogue = catalogue_mark({1: 3, 0: 1682}, {0: 1690})
    assert catalogue == "1682,3;1690"
    assert read_mark(f"40123;{catalogue}".encode()) == StateMark(40123, (1682, 3), (1690,))
    assert read_mark(f"7;{catalogue_mark({}, {})}".encode()) == StateMark(7, (), ())


@pytest.mark.parametrize("header", [b"", b"7", b"x;1;1", b"\xff;1;1"])
def test_what_is_none_is_refused(header: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        read_mark(header)
