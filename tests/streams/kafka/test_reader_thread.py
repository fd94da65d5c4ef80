"""The thread of a reader ends with what ended it."""

from __future__ import annotations

import pytest

from streams.kafka import clients
from streams.kafka.reader_thread import ReaderThread
from streams.settings_io import load_settings


def test_what_ended_the_thread_is_raised_when_it_is_finished() -> None:
    consumer = clients.reader(load_settings())
    thread = ReaderThread("broken", consumer)

    def turn() -> None:
        raise KeyError("millrace.sent-ns")

    thread.start(turn)
    with pytest.raises(KeyError, match=r"millrace\.sent-ns"):
        thread.finish()
    with pytest.raises(RuntimeError, match="closed"):
        consumer.poll(0)
