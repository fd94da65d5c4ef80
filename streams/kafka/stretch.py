"""A stretch of a partition, read once from one offset to another."""

from __future__ import annotations

from collections.abc import Iterator

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from streams.kafka import clients
from streams.kafka.record import Record
from streams.settings import Settings

_AT_ONCE = 500


def records_between(
    settings: Settings, topic: str, partition: int, first: int, end: int
) -> Iterator[list[Record]]:
    """The committed records of a partition from `first` to before `end`, in runs of some hundreds.

    Raises
    ------
    TimeoutError
        If the broker does not hand them over.
    """
    reader = clients.tail_reader(settings, **{"isolation.level": "read_committed"})
    place = TopicPartition(topic, partition, first)
    try:
        reader.assign([place])
        while first < end:
            message = reader.poll(clients.TIMEOUT_SECONDS)
            if message is None:
                raise TimeoutError(f"{topic}[{partition}] could not be read in time")
            # `consume` waits for as many as it is asked for: only for what is there.
            messages = [message, *reader.consume(_AT_ONCE, 0.0)]
            records = []
            for message in messages:
                error = message.error()
                if error is not None and error.code() == KafkaError._PARTITION_EOF:
                    end = min(end, reader.position([place])[0].offset)
                elif error is not None:
                    raise KafkaException(error)
                else:
                    records.append(Record.of(message))
            records = [record for record in records if record.offset < end]
            if records:
                yield records
            first = reader.position([place])[0].offset
    finally:
        reader.close()
