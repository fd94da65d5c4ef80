"""Watches what happens to the input topic: deleted, made anew, given more partitions."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from streams.brokers import BrokerError
from streams.kafka import clients, topics
from streams.settings import Settings
from streams.worker.health import Health
from streams.worker.input_log import Input, describe

log = logging.getLogger("millrace.worker")

EXIT_STATUS = 75  # EX_TEMPFAIL of sysexits.h: start it again
_MOST_SECONDS = 3.0
"""Between two looks, at most; a look is one request to the broker."""


class TopicWatch:
    """Ends the worker when its input was made anew, and takes in partitions that were added.

    The state is a fold over one topic, known by its id. When another topic has taken its name, the
    worker ends in order and says so: a fresh start begins with the new topic's first event, and
    what was answered for the old one says nothing of it.

    Parameters
    ----------
    abandon
        Called in the watch's thread before the worker ends: nothing may be written any more.
    added
        Called in the watch's thread with the partitions that are there now, when some were added.

    Attributes
    ----------
    status
        With what status the process has to end; 0 if the watch did not end it.
    """

    def __init__(
        self,
        settings: Settings,
        input_: Input,
        health: Health,
        abandon: Callable[[], object],
        added: Callable[[set[int]], object],
    ) -> None:
        self.status = 0
        self._settings, self._input, self._health = settings, input_, health
        self._abandon, self._added = abandon, added
        self._partitions = set(input_.lows)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        if not settings.broker.embedded:  # which tells no ids and adds no partitions
            self._thread = threading.Thread(target=self._run, name="topic-watch", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        admin = AdminClient(clients.common(self._settings))
        seconds = min(_MOST_SECONDS, self._settings.broker.metadata_seconds)
        while not self._stopping.wait(seconds) and not self.status:
            try:
                self._look(admin)
            except KafkaException as error:
                self._look_failed(error.args[0])
            except TimeoutError:
                log.debug("the input topic cannot be looked at: the broker is away")
            except BrokerError as error:
                self._end(2, str(error))

    def _look(self, admin: AdminClient) -> None:
        topic = self._settings.topics.interactions
        topic_id, count = describe(admin, topic)
        self._health.input_gone = ""
        if topic_id != self._input.topic_id:
            self._abandon()
            self._end(
                EXIT_STATUS,
                f"topic {topic} was deleted and made anew (its id was {self._input.topic_id} and "
                f"is {topic_id}): start the worker again, and it begins with the new topic",
            )
            return
        there = set(range(count))
        if there > self._partitions:
            log.warning(
                "topic %s has %d partitions now, it had %d", topic, count, len(self._partitions)
            )
            grow_outputs(self._settings)
            self._partitions = there
            self._added(there)

    def _look_failed(self, error: KafkaError) -> None:
        if error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
            log.debug("the input topic cannot be looked at: %s", error)
            return
        topic = self._settings.topics.interactions
        if not self._health.input_gone:
            log.error("topic %s was deleted; the worker waits until there is one again", topic)
        self._health.input_gone = f"topic {topic} is not there: it was deleted"

    def _end(self, status: int, line: str) -> None:
        self.status = status
        log.critical("%s; the worker ends with status %d", line, status)
        os.kill(os.getpid(), signal.SIGTERM)


def grow_outputs(settings: Settings) -> None:
    """Give the output topics as many partitions as the input has, and say so.

    Raises
    ------
    BrokerError
        If the broker refuses.
    """
    for name, (before, after) in topics.grow(settings).items():
        log.warning(
            "topic %s had %d partitions and has %d now, as many as %s: an answer goes to the "
            "partition with the number of its event's",
            name, before, after, settings.topics.interactions,
        )  # fmt: skip
