"""Which worker has which partition, and its address."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable

from confluent_kafka import KafkaException

from streams.kafka.group import Member
from streams.settings import Settings
from streams.web.errors import RefusedRequest

_KNOWN_SECONDS = 1.0
"""Seconds for which an answer of the group's coordinator is used."""
_EVERYWHERE = ("0.0.0.0", "::")


class Workers:
    """The workers of the group; for the web server's event loop.

    Parameters
    ----------
    ask
        Asks the group's coordinator for its members; it may block.

    Attributes
    ----------
    address
        The address of this worker; empty until its web server listens.
    """

    def __init__(self, ask: Callable[[], list[Member]]) -> None:
        self.address = ""
        self._ask = ask
        self._known: list[Member] = []
        self._until = 0.0
        self._asking = asyncio.Lock()

    async def known(self) -> list[Member]:
        """All workers, as they were at most a second ago.

        Raises
        ------
        RefusedRequest
            503, if the group's coordinator does not answer.
        """
        async with self._asking:
            if time.monotonic() > self._until:
                try:
                    self._known = await asyncio.to_thread(self._ask)
                except (KafkaException, TimeoutError) as error:
                    raise RefusedRequest(
                        503, f"the group's coordinator does not say who has which user: {error}"
                    ) from None
                self._until = time.monotonic() + _KNOWN_SECONDS
            return self._known

    async def owner(self, partition: int) -> str | None:
        """The address of the worker that has a partition, empty if it has no web server; None if no
        worker has it, as while partitions move."""
        for member in await self.known():
            if partition in member.partitions:
                return member.address
        return None


def host(member: Member) -> str:
    """The host of a worker's address."""
    return member.address.rpartition(":")[0].strip("[]")


def address_of(settings: Settings, port: int) -> str:
    """Host and port at which other workers reach this one's web server, which listens on `port`.

    That is `web.address` if it is set. Else the host is that which the server is bound to; where
    it is bound to all addresses, the one from which this machine reaches the broker.
    """
    if settings.web.address:
        return settings.web.address
    host = settings.web.host
    if host in _EVERYWHERE:
        host = _reaches(settings.broker.bootstrap.split(",")[0])
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _reaches(broker: str) -> str:
    """The address of this machine on the way to a broker. Nothing is sent."""
    host, _, port = broker.rpartition(":")
    try:
        family, kind, _, _, to = socket.getaddrinfo(
            host.strip("[]"), int(port), type=socket.SOCK_DGRAM
        )[0]
        with socket.socket(family, kind) as way:
            way.connect(to)
            return str(way.getsockname()[0])
    except (OSError, ValueError):
        return socket.gethostname()
