"""What the clients of a real broker tell of topics."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from streams.kafka import clients
from streams.settings import Settings


@pytest.mark.parametrize("broker", ["kafka"], indirect=True)
def test_partitions_that_were_just_made_tell_where_they_end(
    settings: Callable[..., Settings],
) -> None:
    """They have no leader for a moment, and the broker says so."""
    chosen = settings()
    admin = AdminClient(clients.common(chosen))
    reader = clients.reader(chosen)
    for number in range(5):
        name = f"{chosen.topics.items}.{number}"
        admin.create_topics([NewTopic(name, 32, 1)])[name].result()
        ends = {partition: clients.bounds(reader, name, partition) for partition in range(32)}
        assert ends == dict.fromkeys(range(32), (0, 0))
    reader.close()


@pytest.mark.parametrize("broker", ["kafka"], indirect=True)
def test_the_tail_is_what_was_written_last(settings: Callable[..., Settings]) -> None:
    chosen = settings(topics={"partitions": 1})
    admin = AdminClient(clients.common(chosen))
    name = chosen.topics.items
    admin.create_topics([NewTopic(name, 1, 1)])[name].result()
    producer = clients.producer(chosen)
    for number in range(10):
        clients.produce(producer, name, b"%d" % number, b"key")
    producer.flush()
    reader = clients.tail_reader(chosen)
    for count, expected in ((3, [7, 8, 9]), (100, list(range(10))), (0, [])):
        found = [int(m.value() or b"") for m in clients.tail(reader, name, 0, count)]
        assert found == expected
        assert reader.assignment() == []
    found = [int(m.value() or b"") for m in clients.read_from(reader, name, 0, 6)]
    assert found == [6, 7, 8, 9]
    assert reader.assignment() == []
    reader.close()
