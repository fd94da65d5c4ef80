"""Faust's consumer as Millrace needs it: positions of our own, and a short way in.

Overrides internals of faust-streaming 0.15.3 (the pin in pyproject.toml):

- `perform_seek` is the one hook that Faust's own rewinding uses too; a seek anywhere else in a
  rebalance is undone by it.
- `wait_first` makes four asyncio tasks a message; while the flow is on, awaiting the message's
  coroutine directly halves the CPU that a message costs.
- the fetch wait of 1.5 s is made short on the embedded broker, which answers a waiting fetch only
  when its time is up.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

import aiokafka
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from mode.services import WaitResults

Claim = Callable[[set[int]], dict[int, int]]
"""Given the partitions of the input that are ours now, the offset to read each from. Blocks."""


def transport(topic: str, claim: Claim, fetch_wait_ms: int) -> type[driver.Transport]:
    """The transport whose consumer reads `topic` from the offsets that `claim` gives."""

    class ConsumerThread(driver.AIOKafkaConsumerThread):
        def _create_worker_consumer(self, *args: Any, **kwargs: Any) -> aiokafka.AIOKafkaConsumer:
            consumer = super()._create_worker_consumer(*args, **kwargs)
            consumer._fetch_max_wait_ms = fetch_wait_ms
            return consumer

    class Consumer(driver.Consumer):
        def _new_consumer_thread(self) -> driver.AIOKafkaConsumerThread:
            return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

        async def perform_seek(self) -> None:
            await super().perform_seek()
            ours = {tp.partition for tp in self.assignment() if tp.topic == topic}
            offsets = await asyncio.to_thread(claim, ours)
            if offsets:
                await self.seek_wait({TP(topic, p): offset for p, offset in offsets.items()})

        async def wait_first(self, *waits: Any, timeout: Any = None) -> WaitResults:
            first = waits[0]
            if self.flow_active and timeout is None and inspect.iscoroutine(first):
                for other in waits[1:]:
                    if inspect.iscoroutine(other):
                        other.close()
                return WaitResults([first], [await first], False)
            return await super().wait_first(*waits, timeout=timeout)

    return type("Transport", (driver.Transport,), {"Consumer": Consumer})
