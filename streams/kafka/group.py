"""The members of a consumer group, and where each can be asked over HTTP.

A worker joins with its address in its client id, so the group's coordinator, who knows which
partitions each member has, is the register of workers: nothing has to be written, renewed or
tidied up, and a worker that dies leaves it when its session ends.
"""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

from confluent_kafka.admin import AdminClient

from streams.kafka import clients
from streams.settings import Settings

_NAME = "millrace"
_SECONDS = 2.0


class Member(NamedTuple):
    """A worker of the group.

    Attributes
    ----------
    address
        Host and port of its web server; empty if it has none.
    partitions
        Those of the topic that the group has assigned to it, ascending.
    """

    address: str
    partitions: list[int]


def client_id(address: str) -> str:
    """The client id of a worker whose web server has this address; empty if it has none."""
    return f"{_NAME}@{address}" if address else _NAME


class Group:
    """The workers' consumer group, as its coordinator describes it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @cached_property
    def _admin(self) -> AdminClient:
        return AdminClient(clients.common(self._settings))

    def members(self) -> list[Member]:
        """Its members by address; blocks for a few milliseconds, 2 s at most.

        While the group moves partitions, its members have none.

        Raises
        ------
        KafkaException, TimeoutError
            If the coordinator cannot be asked.
        """
        name, topic = self._settings.worker.group, self._settings.topics.interactions
        asked = self._admin.describe_consumer_groups([name], request_timeout=_SECONDS)
        return sorted(
            Member(
                member.client_id.partition("@")[2] if member.client_id.startswith(_NAME) else "",
                sorted(
                    place.partition
                    for place in (member.assignment.topic_partitions if member.assignment else ())
                    if place.topic == topic
                ),
            )
            for member in asked[name].result().members
        )
