"""The embedded broker: librdkafka's mock cluster, for the demo and for quick tests.

It speaks Kafka's protocol to clients in every process of this machine and needs nothing but
confluent-kafka, whose wheel carries librdkafka. It is no store: the log is in memory, at most 5 MB
or 100,000 batches per partition, and older messages are dropped silently; compaction and
CreateTopics are missing, and a consumer group does not recover from a member that died.

Source: https://github.com/confluentinc/librdkafka/blob/master/src/rdkafka_mock.h
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterable
from typing import Self

from confluent_kafka import cimpl

from streams.brokers.errors import BrokerError

PARTITIONS = 4  # what the mock gives a topic that a client asks for and that is not there yet
PRODUCER = 0  # rd_kafka_type_t
TOPIC_ALREADY_EXISTS = 36  # rd_kafka_resp_err_t


class EmbeddedBroker:
    """One mock broker on a port of its own choosing of 127.0.0.1.

    confluent-kafka starts a mock cluster (``test.mock.num.brokers``) but gives no way to choose a
    topic's partitions, and the mock holds a consumer group's first assignment back for 3 s. Both
    are in librdkafka's C interface, which this class therefore calls.

    Parameters
    ----------
    topics
        Topics to make at once.
    partitions
        Partitions of each of them. Topics that clients ask for by name later get 4.

    Attributes
    ----------
    bootstrap : str
        ``127.0.0.1:port``.

    Raises
    ------
    BrokerError
        When librdkafka cannot start it.
    """

    embedded = True

    def __init__(self, topics: Iterable[str] = (), partitions: int = PARTITIONS) -> None:
        self._handle: int | None = None
        self._library = _library()
        configuration = self._library.rd_kafka_conf_new()
        reason = ctypes.create_string_buffer(512)
        for name, value in (
            (b"test.mock.num.brokers", b"1"),
            # the mock reports requests that it does not know, and a poll that a signal cut short
            (b"log_level", b"0"),
        ):
            if self._library.rd_kafka_conf_set(configuration, name, value, reason, len(reason)):
                raise BrokerError(f"no embedded broker: {reason.value.decode()}; {REMEDY}")
        self._handle = self._library.rd_kafka_new(PRODUCER, configuration, reason, len(reason))
        if not self._handle:
            raise BrokerError(f"no embedded broker: {reason.value.decode()}; {REMEDY}")
        self._cluster = self._library.rd_kafka_handle_mock_cluster(self._handle)
        self._library.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, 0)
        self.bootstrap: str = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()
        for topic in topics:
            self.create_topic(topic, partitions)

    def create_topic(self, name: str, partitions: int) -> bool:
        """Make a topic, unless it is there.

        Parameters
        ----------
        name
            The topic.
        partitions
            How many partitions it gets, one at least.

        Returns
        -------
        bool
            Whether it was made.

        Raises
        ------
        BrokerError
            When librdkafka refuses it.
        """
        status = self._library.rd_kafka_mock_topic_create(
            self._cluster, name.encode(), partitions, 1
        )
        if status not in {0, TOPIC_ALREADY_EXISTS}:
            raise BrokerError(
                f"the embedded broker did not make topic {name!r} with {partitions} partitions "
                f"(librdkafka error {status}): name another topic"
            )
        return bool(status == 0)

    def wait(self) -> None:
        """Serve until an exception (KeyboardInterrupt, most likely) ends the wait."""
        threading.Event().wait()

    def close(self) -> None:
        """Stop it; its topics are gone. A second call does nothing."""
        if self._handle:
            self._library.rd_kafka_destroy(self._handle)
            self._handle = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


REMEDY = "use a real one: `make kafka`, or name yours with --broker"


def _library() -> ctypes.CDLL:
    """librdkafka as confluent-kafka loaded it, with the signatures of what is called here.

    Symbols are looked up in confluent-kafka's extension module and the libraries it is linked to,
    so that this is the same librdkafka wherever the wheel put it.
    """
    library = ctypes.CDLL(cimpl.__file__)
    pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
    signatures = {
        "rd_kafka_conf_new": (pointer, []),
        "rd_kafka_conf_set": (number, [pointer, text, text, text, ctypes.c_size_t]),
        "rd_kafka_new": (pointer, [number, pointer, text, ctypes.c_size_t]),
        "rd_kafka_destroy": (None, [pointer]),
        "rd_kafka_handle_mock_cluster": (pointer, [pointer]),
        "rd_kafka_mock_cluster_bootstraps": (text, [pointer]),
        "rd_kafka_mock_group_initial_rebalance_delay_ms": (None, [pointer, ctypes.c_int32]),
        "rd_kafka_mock_topic_create": (number, [pointer, text, number, number]),
    }
    try:
        for name, (result, arguments) in signatures.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except AttributeError as error:
        raise BrokerError(f"no embedded broker: {error}; {REMEDY}") from None
    return library
