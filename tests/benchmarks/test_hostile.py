"""The attacks of `benchmarks.hostile` on a web server, briefly: it answers others meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from benchmarks.hostile import ATTACKS, HEALTH, Target
from streams.brokers import EmbeddedBroker
from tests.streams.served import Served

WEB: dict[str, Any] = {
    "connections": 64,
    "idle_seconds": 0.5,
    "body_seconds": 0.25,
    "body_bytes": 65_536,
}


@pytest.fixture(scope="module")
def attacked(embedded: EmbeddedBroker) -> Iterator[Served]:
    made = Served(embedded.bootstrap, **WEB)
    yield made
    made.close()


@pytest.mark.parametrize("name", sorted(ATTACKS.keys() - {"messages", "page_streams"}))
def test_others_are_answered_during_an_attack(attacked: Served, name: str) -> None:
    target = Target(attacked.port)

    async def together() -> int:
        attack = asyncio.create_task(ATTACKS[name](target, 1.0))
        answered = 0
        while not attack.done():
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(1.0):
                    answered += b" 200 " in await target.send(HEALTH)
        return answered

    # Slow bodies hold all places until their time is over; a client that asks again is answered.
    assert asyncio.run(together()) >= 2
    assert attacked.get("/health/live").status == 200
    assert attacked.get("/users/u1").status == 200
