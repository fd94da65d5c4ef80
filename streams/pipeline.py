"""One event, from the input topic to the output topic."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from time import perf_counter_ns, time

from engine.events import Interaction
from engine.propagation import DeviceWork
from engine.recommender import Answer, Recommender
from streams.messages import (
    BadMessage,
    Headers,
    LatencyUs,
    Model,
    RankedItem,
    Recommendation,
    Source,
    dead_letter_headers,
    decode_interaction,
    encode,
)
from streams.outbox import Outbox
from streams.partitions import Partition
from streams.settings import TopicSettings


@dataclass(frozen=True, slots=True)
class Record:
    """A message of the interactions topic, as any client reads it."""

    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers


@dataclass
class Counts:
    """What became of the events since the worker started."""

    received: int = 0
    recommendations: int = 0
    duplicates: int = 0
    replayed: int = 0
    dead_letters: Counter[str] = field(default_factory=Counter)


class Pipeline:
    """Takes records one at a time and writes an answer, a dead letter or nothing for each.

    An answer goes to the partition of the output topic that has the input's number, so that the
    order of a user's answers is that of their events.

    Attributes
    ----------
    partitions
        Those that were ever ours, by number: what the engine has learnt of each.
    active
        The numbers of those that are ours now.
    """

    def __init__(
        self, engine: Recommender, outbox: Outbox, topics: TopicSettings, model: Model
    ) -> None:
        self.partitions: dict[int, Partition] = {}
        self.active: set[int] = set()
        self.counts = Counts()
        self._engine = engine
        self._outbox = outbox
        self._topics = topics
        self._model = model

    @property
    def device_work(self) -> DeviceWork | None:
        """What a device did for the engine, if it has one."""
        return self._engine.embeddings.aggregator.work

    def positions(self) -> dict[int, int]:
        """The next offset of each partition that is ours now; any thread may ask."""
        return {number: self.partitions[number].next_offset for number in list(self.active)}

    def handle(self, record: Record) -> None:
        """Apply one record.

        Raises
        ------
        KafkaException
            If the broker refused an earlier answer for good: the worker must stop, and a restart
            answers from there.
        """
        received_ns = perf_counter_ns()
        queue_us = max(0.0, time() * 1e6 - record.timestamp_ms * 1e3)
        partition = self.partitions[record.partition]
        if record.offset < partition.next_offset:  # handed over again after a rebalance
            return
        self.counts.received += 1
        try:
            interaction = decode_interaction(record.value, record.headers, record.timestamp_ms)
        except BadMessage as error:
            self._bury(record, partition, error)
        else:
            decode_ns = perf_counter_ns() - received_ns
            if partition.is_duplicate(interaction.event_id):
                self.counts.duplicates += 1
            else:
                answer = self._engine.observe(interaction)
                if record.offset > partition.answered:
                    self._answer(record, interaction, answer, queue_us, received_ns, decode_ns)
                else:
                    self.counts.replayed += 1
        partition.next_offset = record.offset + 1

    def _answer(
        self,
        record: Record,
        interaction: Interaction,
        answer: Answer,
        queue_us: float,
        received_ns: int,
        decode_ns: int,
    ) -> None:
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
        self._outbox.send(
            self._topics.recommendations,
            encode(message),
            record.key,
            record.partition,
            carried_headers(record.headers),
        )
        self.counts.recommendations += 1

    def _bury(self, record: Record, partition: Partition, error: BadMessage) -> None:
        if record.offset <= partition.buried:
            self.counts.replayed += 1
            return
        headers = dead_letter_headers(
            error,
            self._topics.interactions,
            record.partition,
            record.offset,
            record.timestamp_ms,
            record.headers,
        )
        self._outbox.send(
            self._topics.dead_letters, record.value, record.key, record.partition, headers
        )
        self.counts.dead_letters[error.error_class] += 1


def carried_headers(headers: Headers) -> list[tuple[str, bytes]]:
    """The headers of an event that its answer carries on: tracing, and the replay's send time."""
    return [h for h in headers if h[0] in ("traceparent", "tracestate", "millrace.sent-ns")]
