"""The messages that cost most are what they are said to be: as large as is parsed at all."""

from __future__ import annotations

from benchmarks.worst_messages import handle, messages
from streams.messages.dialect import Dialect
from streams.messages.limits import EVENT_BYTES
from streams.settings import Settings


def test_each_message_is_an_event_or_refused_for_what_is_wrong_with_it() -> None:
    settings = Settings()
    found = {
        name: (handle(value, Dialect.of(settings), settings), len(value))
        for name, value in messages().items()
    }
    assert {outcome for outcome, _ in found.values()} == {
        "an event", "WrongType", "TooDeep", "TooLong", "NotJson",
    }  # fmt: skip
    parsed = {name for name, (outcome, _) in found.items() if outcome != "TooLong"}
    assert {"beyond what is parsed", "whole numbers, fewer and longer"} == found.keys() - parsed
    assert all(found[name][1] <= EVENT_BYTES for name in parsed)
    assert sum(found[name][1] > 1_000_000 for name in parsed) >= 6
