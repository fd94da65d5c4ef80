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
    assert not ledger.count("a", {0: (15, 25)}), "some of it is told"
    assert ledger.count("a", {0: (20, 25), 1: (0, 5)})
    assert ledger.positions == {0: 25, 1: 5}


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
    """Writers claim and tell from where they believe that telling ended; some are out of date."""
    ledger, told = Ledger(), list[int]()
    believed = dict.fromkeys("abc", 0)
    for writer, claims, events in steps:
        if claims:
            ledger.claim(writer, {0: min(believed[writer], ledger.told(0))})
            believed[writer] = ledger.told(0)  # it has read up to its own claim
        first, end = believed[writer], believed[writer] + events
        owner = ledger.owners.get(0, writer)
        counted = first <= ledger.told(0) and ledger.count(writer, {0: (first, end)})
        assert counted == (owner == writer and first == ledger.told(0) - (events if counted else 0))
        if counted:
            told += range(first, end)
        believed[writer] = end
    assert told == list(range(len(told)))
