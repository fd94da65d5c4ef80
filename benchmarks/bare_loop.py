"""What Millrace's latency is compared with: confluent-kafka in, confluent-kafka out, nothing done.

Run by `benchmarks.end_to_end`, in a process of its own, as a worker is.
"""

from __future__ import annotations

import sys

from confluent_kafka import TopicPartition

from streams.kafka import clients
from streams.settings import load_settings


def main(source: str, sink: str) -> None:
    """Copy `source` to `sink`, partition by partition, until the process is ended."""
    settings = load_settings()
    consumer, producer = clients.reader(settings), clients.producer(settings)
    places = clients.ends(consumer, source)
    consumer.assign([TopicPartition(source, p, end) for p, end in places.items()])
    print("ready", flush=True)
    while True:
        message = consumer.poll(0.1)
        if message is not None and not message.error():
            producer.produce(
                sink,
                message.value(),
                message.key(),
                message.partition(),
                headers=message.headers(),
            )
        producer.poll(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
