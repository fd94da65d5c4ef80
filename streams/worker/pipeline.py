"""One event, from the input topic to the output topic."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter_ns, time

from engine.events import Interaction
from engine.propagation import DeviceWork
from engine.recommender import Answer, Recommender
from engine.state.eviction import Evicted
from streams.kafka.record import Record
from streams.messages.bad_message import BadMessage
from streams.messages.dead_letters import dead_letter
from streams.messages.decoding import decode_interaction
from streams.messages.limits import check_size
from streams.messages.schemas import (
    Headers,
    LatencyUs,
    Model,
    RankedItem,
    Recommendation,
    Source,
    encode,
)
from streams.settings import Settings
from streams.worker.durations import StageDurations
from streams.worker.partition import Output, Partition
from streams.worker.transactions import PartitionOutbox

News = tuple[Interaction, Recommendation | None] | Output
"""An event that was applied, with the answer if that was ours to give; or a dead letter."""


@dataclass
class Counts:
    """What became of the events since the worker started.

    `received` are of its own partitions, `followed` of those that others answer.
    `checkpoints` are those begun; `checkpoint_pause_seconds` is how long the event path stood still
    for all of them, `checkpoint_write_seconds`, how long those written took until they had their
    names; `follow_lag_seconds`, how old the last event was that another worker answered, when it
    was learnt here.
    """

    received: int = 0
    followed: int = 0
    recommendations: int = 0
    duplicates: int = 0
    late: int = 0
    replayed: int = 0
    dead_letters: Counter[str] = field(default_factory=Counter)
    checkpoints: int = 0
    checkpoint_pause_seconds: float = 0.0
    checkpoints_written: int = 0
    checkpoint_write_seconds: float = 0.0
    checkpoint_failures: int = 0
    follow_lag_seconds: float = 0.0


class Pipeline:
    """Takes records one at a time and writes an answer, a dead letter or nothing for each.

    An answer goes to the partition of the output topic that has the input's number, so that the
    order of a user's answers is that of their events.

    Attributes
    ----------
    partitions
        Every partition of the input, by number: what the engine has learnt of each.
    outboxes
        The ways out of those that are ours or were.
    ours
        The numbers of those that are ours now.
    on_news
        Called with what was applied or buried, on the event path: for who watches
        (`streams.web.feed`).
    counts, durations
        What became of the events, and how long the stages of the answered ones took.
    """

    def __init__(self, engine: Recommender, settings: Settings, model: Model) -> None:
        self.partitions: dict[int, Partition] = {}
        self.outboxes: dict[int, PartitionOutbox] = {}
        self.ours: set[int] = set()
        self.counts = Counts()
        self.on_news: Callable[[News], object] = lambda news: None
        self.durations = StageDurations()
        self._engine = engine
        self._topics = settings.topics
        self._grace_ms = settings.worker.grace_seconds * 1000
        self._buries_late = settings.worker.late == "dead-letter"
        self._model = model

    @property
    def device_work(self) -> DeviceWork | None:
        """What the device did for the engine, if it has one."""
        return self._engine.embeddings.aggregator.work

    @property
    def evicted(self) -> Evicted:
        """Who had to leave the engine so far."""
        return self._engine.evicted

    @property
    def known(self) -> dict[str, int]:
        """How many users and items the engine knows."""
        return {"users": len(self._engine.users), "items": len(self._engine.items)}

    def positions(self) -> dict[int, int]:
        """The next offset of each partition that is ours now; any thread may ask."""
        return {number: self.partitions[number].next_offset for number in list(self.ours)}

    def handle(self, record: Record) -> None:
        """Apply one record of a partition that is ours, and answer it if nobody has yet."""
        received_ns = perf_counter_ns()
        partition, outbox = self.partitions[record.partition], self.outboxes[record.partition]
        if record.offset < partition.next_offset:  # handed over again after a rebalance
            return
        self.counts.received += 1
        answers = record.offset > outbox.written
        self.counts.replayed += not answers
        self._take(record, partition, outbox if answers else None, received_ns)
        outbox.handled(partition.next_offset)

    def follow(self, record: Record) -> None:
        """Apply one record that another worker has answered."""
        partition = self.partitions[record.partition]
        if record.partition in self.ours or record.offset < partition.next_offset:
            return
        self.counts.followed += 1
        self.counts.follow_lag_seconds = time() - record.timestamp_ms / 1e3
        self._take(record, partition, None, perf_counter_ns())
        if outbox := self.outboxes.get(record.partition):
            outbox.forget(partition.next_offset)

    def _take(
        self, record: Record, partition: Partition, outbox: PartitionOutbox | None, received_ns: int
    ) -> None:
        try:
            self._apply(record, partition, outbox, received_ns)
        except BadMessage as error:
            if outbox is not None:
                self._bury(record, outbox, error)
        partition.next_offset = record.offset + 1

    def _apply(
        self,
        record: Record,
        partition: Partition,
        outbox: PartitionOutbox | None,
        received_ns: int,
    ) -> None:
        queue_us = max(0.0, time() * 1e6 - record.timestamp_ms * 1e3)
        check_size(record.key, record.value, record.headers, self._topics.message_bytes)
        interaction = decode_interaction(record.value, record.headers, record.timestamp_ms)
        decode_ns = perf_counter_ns() - received_ns
        if partition.is_duplicate(interaction.event_id):
            self.counts.duplicates += 1
            return
        if interaction.timestamp < partition.newest_ms - self._grace_ms:
            self.counts.late += 1
            if self._buries_late:
                raise late(interaction.timestamp, partition.newest_ms)
        partition.count(interaction.event_id, interaction.timestamp)
        answer = self._engine.observe(interaction, answer=outbox is not None)
        message = None
        if outbox is not None:
            message = self._answer(
                record, outbox, interaction, answer, queue_us, received_ns, decode_ns
            )
        self.on_news((interaction, message))

    def _answer(
        self,
        record: Record,
        outbox: PartitionOutbox,
        interaction: Interaction,
        answer: Answer,
        queue_us: float,
        received_ns: int,
        decode_ns: int,
    ) -> Recommendation:
        stages = {stage: ns / 1e3 for stage, ns in answer.stages_ns.items()}
        ranked_ns = perf_counter_ns()
        items = [RankedItem(*ranked) for ranked in answer.items]
        now_ns = perf_counter_ns()
        message = Recommendation(
            event_id=interaction.event_id,
            user=interaction.user,
            item=interaction.item,
            items=items,
            timestamp=interaction.timestamp,
            model=self._model,
            source=Source(self._topics.interactions, record.partition, record.offset),
            latency_us=LatencyUs(
                queue=queue_us,
                decode=decode_ns / 1e3,
                emit=(now_ns - ranked_ns) / 1e3,
                total=(now_ns - received_ns) / 1e3,
                **stages,
            ),
        )
        outbox.put(
            Output(
                record.offset,
                self._topics.recommendations,
                encode(message),
                record.key,
                carried_headers(record.headers),
            )
        )
        self.counts.recommendations += 1
        self.durations.observe(message.latency_us)
        return message

    def _bury(self, record: Record, outbox: PartitionOutbox, error: BadMessage) -> None:
        topics = self._topics
        found = dead_letter(error, topics.interactions, record, topics.message_bytes)
        letter = Output(record.offset, topics.dead_letters, found.value, found.key, found.headers)
        outbox.put(letter)
        self.on_news(letter)
        self.counts.dead_letters[error.error_class] += 1


def late(timestamp_ms: int, newest_ms: int) -> BadMessage:
    """The error of an event that comes too long after later ones."""
    return BadMessage(
        "Late",
        f"timestamp: {timestamp_ms} is {(newest_ms - timestamp_ms) / 1000:,.0f} s before the "
        "latest of its partition; worker.grace_seconds sets how much is taken, and "
        "worker.late = apply takes all",
    )


def carried_headers(headers: Headers) -> list[tuple[str, bytes]]:
    """The headers of an event that its answer carries on: tracing, and the replay's send time."""
    return [h for h in headers if h[0] in ("traceparent", "tracestate", "millrace.sent-ns")]
