"""The members of a consumer group, and where each can be asked over HTTP.

A worker joins with its address in its client id, so the group's coordinator, who knows which
partitions each member has, is the register of workers: nothing has to be written, renewed or
tidied up, and a worker that dies leaves it when its session ends.
"""

from __future__ import annotations

from typing import NamedTuple

from confluent_kafka.admin import AdminClient

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


def members(admin: AdminClient, group: str, topic: str) -> list[Member]:
    """The group's members by address; blocks for a few milliseconds, 2 s at most.

    While the group moves partitions, its members have none.

    Raises
    ------
    KafkaException, TimeoutError
        If the coordinator cannot be asked.
    """
    asked = admin.describe_consumer_groups([group], request_timeout=_SECONDS)
    return sorted(
        Member(
            member.client_id.partition("@")[2] if member.client_id.startswith(_NAME) else "",
            sorted(
                place.partition
                for place in (member.assignment.topic_partitions if member.assignment else ())
                if place.topic == topic
            ),
        )
        for member in asked[group].result().members
    )
