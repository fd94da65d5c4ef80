"""Writes interactions and items that come over HTTP to the topics."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import cast
from urllib.parse import unquote_to_bytes

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from streams.kafka import clients
from streams.kafka.partitioner import partition_of
from streams.kafka.security import who
from streams.messages.schemas import TRACING, Headers, Source
from streams.settings import Settings
from streams.web.errors import RefusedRequest

PATIENCE_SECONDS = 5.0
"""Seconds that Kafka may take to acknowledge a message."""
_QUOTED = re.compile(rb'\A"((?:[^"\\]|\\.)*)"\Z')
_GIVEN_UP = (KafkaError._FATAL, KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT)
_STATUS = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED: 403,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: 403,
    KafkaError.MSG_SIZE_TOO_LARGE: 413,
}


def kafka_headers(headers: Iterable[tuple[str, str]]) -> Headers:
    """The headers of a request as those of a message: content type, tracing, CloudEvents.

    HTTP binds the attributes of a CloudEvent to `ce-id`, Kafka to `ce_id`, and HTTP alone encodes
    their values with per cent signs.

    References
    ----------
    https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md
    """
    found = []
    for name, text in headers:
        key, value = name.lower(), text.encode(errors="surrogateescape")
        if key.startswith("ce-"):
            found.append((f"ce_{key[3:]}", unquote_to_bytes(_QUOTED.sub(_bare, value))))
        elif key == "content-type" or key in TRACING:
            found.append((key, value))
    return found


def _bare(quoted: re.Match[bytes]) -> bytes:
    """A quoted string of HTTP without its quotes and escapes."""
    return re.sub(rb"\\(.)", rb"\1", quoted[1])


class MessageWriter:
    """Writes to the input topics from the web server's thread, and waits for the acknowledgement.

    A worker without the right to write to its inputs has a writer, too, which then refuses.

    Parameters
    ----------
    partitions
        Returns how many the topic of interactions has now: some may be added while the worker runs.
    """

    def __init__(self, settings: Settings, partitions: Callable[[], int]) -> None:
        self._settings = settings
        self._topics = settings.topics
        self._partitions = partitions
        self._failure: KafkaError | None = None
        # Made now: the first interaction would otherwise wait a second for the producer's id.
        self._start()

    async def interaction(self, user: str, value: bytes, headers: Headers) -> Source:
        """Write a user's interaction; see `_write`."""
        partition = partition_of(user, self._partitions())
        return await self._write(self._topics.interactions, user, value, headers, partition)

    async def item(self, item: str, value: bytes | None) -> Source:
        """Write a message about an item, None for a tombstone; see `_write`."""
        return await self._write(self._topics.items, item, value)

    async def _write(
        self, topic: str, key: str, value: bytes | None, headers: Headers = (), partition: int = -1
    ) -> Source:
        """Write a message; returns where it is once Kafka has acknowledged it.

        Messages are in their partition in the order of the calls, also of calls that wait at the
        same time.

        Raises
        ------
        RefusedRequest
            If Kafka refuses it (403, 413) or does not take it in time (503).
        """
        loop = asyncio.get_running_loop()
        delivered: asyncio.Future[Source] = loop.create_future()

        def report(error: KafkaError | None, message: Message) -> None:
            at = Source(topic, cast(int, message.partition()), message.offset() or 0)
            with suppress(RuntimeError):  # the server has ended
                loop.call_soon_threadsafe(settle, error, at)

        def settle(error: KafkaError | None, at: Source) -> None:
            if delivered.done():  # nobody waits for it any more
                return
            if error is not None:
                delivered.set_exception(KafkaException(error))
            else:
                delivered.set_result(at)

        if self._failure is not None:
            self._start()  # a producer that failed writes nothing more
        try:
            self._producer.produce(topic, value, key, partition, report, headers=list(headers))
            # librdkafka looks at its clock once a second.
            async with asyncio.timeout(PATIENCE_SECONDS + 2.0):
                return await delivered
        except BufferError:
            raise RefusedRequest(503, "too many messages wait for Kafka") from None
        except TimeoutError:
            raise self._refusal(topic, KafkaError(KafkaError._MSG_TIMED_OUT)) from None
        except KafkaException as error:
            reason: KafkaError = error.args[0]
            if self._failure is not None and reason.code() in _GIVEN_UP:
                reason = self._failure
            raise self._refusal(topic, reason) from None

    def _start(self) -> None:
        self._failure = None
        producer = self._producer = clients.producer(
            self._settings,
            **{
                "message.timeout.ms": int(PATIENCE_SECONDS * 1000),
                "delivery.report.only.error": False,
                "linger.ms": 0,
            },
        )
        threading.Thread(
            target=self._poll, args=(producer,), name="message-writer", daemon=True
        ).start()

    def _poll(self, producer: Producer) -> None:
        """Serve delivery reports until another producer has replaced this one."""
        while producer is self._producer or len(producer):
            try:
                producer.poll(1.0)
            except KafkaException as error:  # a fatal one: nothing more will be written
                if producer is self._producer:
                    self._failure = error.args[0]
                producer.purge()  # the waiting request gets the error

    def _refusal(self, topic: str, error: KafkaError) -> RefusedRequest:
        status = _STATUS.get(error.code(), 503)
        if status == 403:
            told = f"the broker does not grant {who(self._settings.security)} Write on topic"
            return RefusedRequest(403, f"{told} {topic!r}")
        if error.code() == KafkaError._MSG_TIMED_OUT:
            return RefusedRequest(
                503,
                f"Kafka has not acknowledged it within {PATIENCE_SECONDS:g} s; send it again (an "
                "interaction with the same event_id): it may be there",
            )
        return RefusedRequest(status, f"Kafka does not take it: {error.str() or error.name()}")
