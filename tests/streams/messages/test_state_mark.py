"""The header that tells which state gave an answer."""

from __future__ import annotations

import pytest

from streams.messages.state_mark import (
    StateMark,
    begun_at,
    catalogue_mark,
    catalogue_offsets,
    read_mark,
)


def test_it_is_read_as_it_is_written() -> None:
    catalogue = catalogue_mark({1: 3, 0: 1682}, {0: 1690})
    assert catalogue == "1682,3;1690"
    mark = read_mark(f"40123;{catalogue};30011.9c2e".encode())
    assert mark == StateMark(40123, b"1682,3;1690", b"30011.9c2e")
    assert catalogue_offsets(mark.catalogue) == ((1682, 3), (1690,))
    assert begun_at(mark.life) == 30011
    assert catalogue_offsets(catalogue_mark({}, {}).encode()) == ((), ())


@pytest.mark.parametrize("header", [b"", b"7", b"x;1;1;0.0", b"7;1;1"])
def test_what_is_none_is_refused(header: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        read_mark(header)
