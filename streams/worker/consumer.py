"""Faust's consumer as Millrace needs it: positions of our own, and a short way in.

Overrides internals of faust-streaming 0.15.3 (the pin in pyproject.toml):

- `perform_seek` is the one hook that Faust's own rewinding uses too; a seek anywhere else in a
  rebalance is undone by it. It first goes to the committed offsets, which may lie beyond what this
  worker has applied, so nothing that was asked for meanwhile is handled.
- `getmany` hands an input message straight to its handler. Faust's own way from there to an agent
  (conductor, channel, stream, four asyncio tasks a message) costs 80 to 150 us an event, as much
  as the engine takes; group membership, rebalancing, timers and the items agent stay Faust's.
- messages come in runs of one partition, not one of each in turn: users act in bursts, and what
  scored a user's last answer teaches their next event, unless another user's comes between.
- the fetch wait of 1.5 s is made short on the embedded broker, which answers a waiting fetch only
  when its time is up.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

import aiokafka
from aiokafka.errors import IllegalStateError
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, Message
from faust.types.transports import SchedulingStrategyT

Claim = Callable[[set[int]], dict[int, int]]
"""Given the partitions of the input that are ours now, the offset to read each from. Blocks."""
HasRoom = Callable[[], bool]
"""Whether more messages may be handled now."""
Handle = Callable[[Any], None]
"""Takes a message of the input, as aiokafka's `ConsumerRecord` names its fields."""

_YIELD_EVERY = 16
"""Messages after which timers, the items agent and what others answered get their turn."""


class Runs(SchedulingStrategyT):
    """Hands over what was fetched, a partition after the other."""

    def __init__(self) -> None:
        pass

    def iterate(self, records: Mapping[TP, list[Any]]) -> Iterator[tuple[TP, Any]]:
        """Every message with its partition."""
        for partition, messages in records.items():
            for message in messages:
                yield partition, message


def transport(
    topic: str, claim: Claim, handle: Handle, has_room: HasRoom, fetch_wait_ms: int
) -> type[driver.Transport]:
    """The transport whose consumer hands `topic` to `handle`, from the offsets of `claim` on."""

    class ConsumerThread(driver.AIOKafkaConsumerThread):
        def _create_worker_consumer(self, *args: Any, **kwargs: Any) -> aiokafka.AIOKafkaConsumer:
            consumer = super()._create_worker_consumer(*args, **kwargs)
            consumer._fetch_max_wait_ms = fetch_wait_ms
            return consumer

    class Consumer(driver.Consumer):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.scheduler = Runs()
            self._placing = asyncio.Lock()
            self._placed = False
            self._moves = 0

        def _new_consumer_thread(self) -> driver.AIOKafkaConsumerThread:
            return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

        async def perform_seek(self) -> None:
            # Faust gives up waiting after a while; the seek has to come all the same.
            await asyncio.shield(self._place())

        async def _place(self) -> None:
            async with self._placing:
                self._moves += 1
                self._placed = False
                await super().perform_seek()
                # Faust does not seek where nothing is committed yet, and drops what came meanwhile.
                unread = [
                    tp for tp in self.assignment()
                    if tp.topic != topic and not self._read_offset.get(tp)
                ]  # fmt: skip
                ours = {tp.partition for tp in self.assignment() if tp.topic == topic}
                offsets = await asyncio.to_thread(claim, ours)
                try:
                    if unread:
                        await self.seek_wait(await self.earliest_offsets(*unread))
                    if offsets:
                        await self.seek_wait({TP(topic, p): o for p, o in offsets.items()})
                except IllegalStateError:
                    # Others' already: the rebalance that took them away asks for the next seek.
                    return
                self._placed = True

        async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Message]]:
            handled, misplaced, moves = 0, False, self._moves
            async for tp, message in super().getmany(timeout):
                if not self._placed or self._moves != moves:
                    # Asked for before a seek, or between Faust's seek and ours: of what lies
                    # between the two, the state would never know.
                    misplaced = True
                    continue
                if tp.topic != topic:
                    yield tp, message
                    continue
                handle(message)
                handled += 1
                if handled % _YIELD_EVERY == 0:
                    await asyncio.sleep(0)
                    while not has_room() and self.flow_active and not self.should_stop:
                        await asyncio.sleep(0.01)
            if misplaced:
                await self.perform_seek()

    return type("Transport", (driver.Transport,), {"Consumer": Consumer})
