"""A stretch of a partition, read once from one offset to another."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from itertools import islice, takewhile

from streams.kafka import clients
from streams.kafka.record import Record
from streams.settings import Settings

_AT_ONCE = 500


def records_between(
    settings: Settings, topic: str, partition: int, first: int, end: int
) -> Generator[list[Record], None, None]:
    """The committed records of a partition from `first` to before `end`, in runs of some hundreds.

    Raises
    ------
    TimeoutError
        If the broker does not deliver them in time.
    """
    reader = clients.tail_reader(settings, **{"isolation.level": "read_committed"})
    try:
        with closing(clients.read_from(reader, topic, partition, first)) as messages:
            records = takewhile(lambda record: record.offset < end, map(Record.of, messages))
            while run := list(islice(records, _AT_ONCE)):
                yield run
    finally:
        reader.close()
