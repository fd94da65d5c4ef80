"""A producer that never loses a message silently."""

from __future__ import annotations

from collections.abc import Sequence

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from streams.kafka import clients
from streams.settings import Settings


class Outbox:
    """A producer that waits while its queue is full and raises once the broker refuses a message.

    A slow broker thus slows the caller down; an outage of less than five minutes (librdkafka's
    `message.timeout.ms`) costs time and no message.
    """

    def __init__(self, settings: Settings) -> None:
        self.producer: Producer = clients.producer(settings)
        self._failure: KafkaError | None = None

    def send(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | str | None,
        partition: int = -1,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> None:
        """Queue a message; without a partition the key decides.

        Raises
        ------
        KafkaException
            If an earlier message was refused for good.
        """
        self._raise_failure()
        clients.produce(self.producer, topic, value, key, partition, headers, self._delivered)

    def wait(self, seconds: float) -> None:
        """Serve delivery reports for that time at most; raises as `send` does."""
        self.producer.poll(seconds)
        self._raise_failure()

    def flush(self) -> None:
        """Return once the broker has acknowledged everything; raises as `send` does."""
        while self.producer.flush(1.0):
            self._raise_failure()
        self._raise_failure()

    def _delivered(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            self._failure = error

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise KafkaException(self._failure)
