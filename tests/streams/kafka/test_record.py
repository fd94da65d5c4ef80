"""Records as other producers write them: compressed, with headers that are no text."""

from __future__ import annotations

import asyncio
import gc
import random

import pytest
from confluent_kafka import TopicPartition

from benchmarks.fuzz_broker import send_raw_names
from streams.kafka import clients, topics
from streams.kafka.record import Record

pytestmark = pytest.mark.parametrize("broker", ["kafka"], indirect=True)


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_our_readers_read_every_codec(settings, codec):
    wanted = settings(topics={"partitions": 1})
    topics.create(wanted)
    producer = clients.producer(wanted, **{"compression.type": codec, "linger.ms": 50})
    sent = [b"%d" % number * 300 for number in range(20)]
    for value in sent:
        producer.produce(wanted.topics.interactions, value, b"ann", 0)
    assert producer.flush(30) == 0
    reader = clients.reader(wanted)
    reader.assign([TopicPartition(wanted.topics.interactions, 0, 0)])
    found = []
    while len(found) < len(sent):
        [message] = reader.consume(1, timeout=20)
        assert message.error() is None
        found.append(Record.of(message).value)
    reader.close()
    assert found == sent


def test_a_header_whose_name_is_no_utf_8_costs_its_headers_alone(settings):
    wanted = settings(topics={"partitions": 1})
    topics.create(wanted)
    sent = [(b"ann", b"%d" % number, []) for number in range(100)]  # often: see `record._ask`
    asyncio.run(send_raw_names(wanted, random.Random(1), sent))
    reader = clients.reader(wanted)
    reader.assign([TopicPartition(wanted.topics.interactions, 0, 0)])
    found: list[Record] = []
    while len(found) < len(sent):
        found += map(Record.of, reader.consume(100, timeout=20))
    reader.close()
    gc.collect()
    assert [(record.key, record.value, record.headers) for record in found] == [
        (key, value, ()) for key, value, _ in sent
    ]
