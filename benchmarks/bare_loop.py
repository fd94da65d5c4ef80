"""What Millrace's latency is compared with: confluent-kafka in, confluent-kafka out, nothing done.

Run by `benchmarks.end_to_end`, in a process of its own, as a worker is.
"""

from __future__ import annotations

import sys
from collections import deque
from typing import NoReturn

from confluent_kafka import Consumer, Message, Producer, TopicPartition

from streams.kafka import clients
from streams.settings import Settings
from streams.settings_io import load_settings


def main(source: str, sink: str, delivery: str) -> None:
    """Copy `source` to `sink`, partition by partition, until the process is ended."""
    settings = load_settings()
    consumer = clients.reader(settings)
    places = clients.ends(consumer, source)
    consumer.assign([TopicPartition(source, p, end) for p, end in places.items()])
    if delivery == "leased":
        copy_plainly(consumer, clients.producer(settings), sink)
    copy_in_transactions(consumer, settings, sink)


def copy_plainly(consumer: Consumer, producer: Producer, sink: str) -> NoReturn:
    """Each message as it comes, by an idempotent producer."""
    print("ready", flush=True)
    while True:
        message = consumer.poll(0.1)
        if message is not None and not message.error():
            pass_on(producer, message, sink)
        producer.poll(0)


def copy_in_transactions(consumer: Consumer, settings: Settings, sink: str) -> NoReturn:
    """What is there in one transaction; two producers take turns, as the worker's do."""
    producers = deque(clients.transactional(settings, f"bare-{sink}-{turn}") for turn in "ab")
    for producer in producers:
        producer.init_transactions(clients.TIMEOUT_SECONDS)
    print("ready", flush=True)
    while True:
        first = consumer.poll(0.1)
        if first is None:
            continue
        producer = producers[0]
        producer.begin_transaction()
        for message in (first, *consumer.consume(500, 0.0)):
            if not message.error():
                pass_on(producer, message, sink)
        producer.commit_transaction()
        producers.rotate()


def pass_on(producer: Producer, message: Message, sink: str) -> None:
    """Queue a message for the partition of its number."""
    producer.produce(
        sink, message.value(), message.key(), message.partition(), headers=message.headers()
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
