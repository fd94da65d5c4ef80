"""What counts of deltas is decided by the order of the topic: once each, whoever sends what."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.worker.ledger import GapError, Ledger


def test_a_delta_counts_once_and_only_where_the_last_ended() -> None:
    ledger = Ledger({0: 10}, {0: "a"})
    assert ledger.count("a", {0: (10, 20)})
    assert not ledger.count("a", {0: (10, 20)}), "sent twice"
    assert ledger.count("a", {0: (20, 25), 1: (0, 5)})
    assert ledger.positions == {0: 25, 1: 5}


def test_what_is_known_in_part_is_passed_over_and_what_follows_counts() -> None:
    ledger = Ledger({0: 10})
    ledger.claim("a", {0: 5})
    assert not ledger.count("a", {0: (5, 15)})
    assert ledger.count("a", {0: (15, 20)})


def test_what_an_earlier_owner_still_sends_is_passed_over() -> None:
    ledger = Ledger({0: 10, 1: 10}, {0: "a", 1: "a"})
    ledger.claim("b", {0: 10})
    assert not ledger.count("a", {0: (10, 20)})
    assert not ledger.count("a", {0: (10, 20), 1: (10, 20)}), "a delta counts whole or not at all"
    assert ledger.count("a", {1: (10, 20)})
    assert ledger.count("b", {0: (10, 15)})
    assert not ledger.count("a", {0: (15, 20)})


def test_what_is_missing_is_told() -> None:
    ledger = Ledger({0: 10})
    with pytest.raises(GapError, match="events 10 to 12 of partition 0"):
        ledger.count("a", {0: (12, 20)})
    with pytest.raises(GapError, match="events 10 to 11 of partition 0"):
        ledger.claim("a", {0: 11})
    assert ledger.positions == {0: 10}


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), st.integers(1, 5)), max_size=40))
def test_each_event_is_told_once_whoever_is_cut_off_when(
    steps: list[tuple[str, bool, int]],
) -> None:
    """Writers take a partition over, and tell from where they believe that telling ended."""
    ledger, told = Ledger(), list[int]()
    ledger.claim("a", {0: 0})
    believed = dict.fromkeys("abc", 0)
    for writer, claims, events in steps:
        if claims:
            ledger.claim(writer, {0: 0})
            believed[writer] = ledger.told(0)  # it has read up to its own claim
        first, end = believed[writer], believed[writer] + events
        if ledger.count(writer, {0: (first, end)}):
            told += range(first, end)
            assert ledger.owners[0] == writer
        believed[writer] = end
    assert told == list(range(len(told)))
    assert ledger.told(0) == len(told)
