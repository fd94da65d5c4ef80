"""The way of events through the worker: bytes in, one call of the engine, bytes out.

    records ── decode ──► interactions ── engine.observe_many ──► answers ── encode ──► outputs

A batch is what is there of one partition: one record at a low rate, a run of them in a backlog.
Results do not depend on where batches begin.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from time import perf_counter_ns, time

from engine.events import Interaction
from engine.propagation import DeviceWork
from engine.recommender import Answer, Recommender
from engine.state.eviction import Evicted
from streams.experiments.arms import Arms
from streams.experiments.lists import observe_many
from streams.kafka.record import Record
from streams.messages.bad_message import BadMessage
from streams.messages.dead_letters import DeadLetter, dead_letter
from streams.messages.decoding import decode_interaction
from streams.messages.dialect import Dialect
from streams.messages.limits import check_size, check_work
from streams.messages.schemas import (
    TRACING,
    Headers,
    LatencyUs,
    Model,
    RankedItem,
    Recommendation,
    Source,
    encode,
)
from streams.messages.state_mark import HEADER, StateMarks
from streams.settings import Settings
from streams.worker.counts import Counts
from streams.worker.delivery import Output
from streams.worker.drift import Drift
from streams.worker.durations import StageDurations
from streams.worker.partition import Partition, Progress
from streams.worker.traces import Traces

log = logging.getLogger("millrace.worker")

_CARRIED = (*TRACING, "millrace.sent-ns")

LeavesOut = Callable[[Record, Interaction], bool]
News = tuple[Interaction, Recommendation | None] | DeadLetter
"""An event that was applied, with the answer if that was ours to give; or a dead letter."""


class Pipeline:
    """Applies records to the engine and hands an answer, a dead letter or nothing for each on.

    Attributes
    ----------
    on_news
        Called with what was applied or buried, on the event path: for who watches
        (`streams.web.feed`).
    leaves_out
        Says of an event whether to leave it out: it is not applied, not noted as known, and not
        answered.
    settles
        Whether the engine is told of which partition each user is.
    arms
        Those of the experiments, which the lists of answers follow.
    marks
        Writes the header of each answer that says which state gave it.
    traces
        Makes spans of answers, where a collector is named.
    counts, durations, drift
        What became of the events, how long the stages of the answered ones took, and what shows
        that users, items or answers are others than last week.
    """

    def __init__(
        self, engine: Recommender, settings: Settings, model: Model, topic_id: str = ""
    ) -> None:
        self.counts = Counts()
        self.settles = False
        self.leaves_out: LeavesOut = leaves_out_none
        self.on_news: Callable[[News], object] = lambda news: None
        self.marks: StateMarks | None = None
        self.traces: Traces | None = None
        self.durations = StageDurations()
        self.drift = Drift(engine)
        self.arms = Arms(settings.experiments, settings.engine)
        self._engine = engine
        self._dialect = Dialect.of(settings)
        self._topics = settings.topics
        self._topic_id = topic_id
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
        return {"users": self._engine.users.known, "items": self._engine.items.known}

    def count_dead_item(self, error: BadMessage, letter: DeadLetter) -> None:
        """Count an item's message that could not be read, and tell of it."""
        self.counts.item_dead_letters[error.error_class] += 1
        self.on_news(letter)

    # ------------------------------------------------------------------ the path of a batch

    def handle(self, partition: Partition, records: Sequence[Record]) -> None:
        """Apply records of a partition that is ours, and answer those that nobody has yet."""
        received_ns = perf_counter_ns()
        # Handed over again after a rebalance: those below are in the state.
        records = [record for record in records if record.offset >= partition.next_offset]
        if not records:
            return
        self.counts.received += len(records)
        written = partition.writer.queue.written
        events, outputs = self._decode(partition, records, written)
        decode_us = (perf_counter_ns() - received_ns) / 1e3 / len(records)
        answered = [record.offset > written for record, _ in events]
        if learnt := [record.offset for record in records if record.offset <= written]:
            self.counts.replayed += len(learnt)
            if self.marks is not None:
                self.marks.note("learnt", partition.number, learnt[-1] + 1)
        self._count_unknown(
            event for (_, event), ours in zip(events, answered, strict=True) if ours
        )
        answers = self._observe(partition, events, answered)
        partition.next_offset = records[-1].offset + 1
        outputs += self._encode(events, answered, answers, received_ns, decode_us)
        outputs.sort(key=lambda output: output.offset)  # dead letters among answers
        partition.writer.put(outputs, partition.next_offset)

    def learn(self, partition: Progress, records: Sequence[Record]) -> None:
        """Apply records of a partition that were answered, and whose teachings were told."""
        events = self.events(partition, records)
        self._observe(partition, events, [False] * len(events))

    def events(
        self, partition: Progress, records: Sequence[Record]
    ) -> list[tuple[Record, Interaction]]:
        """The events of records that were answered, without repeated ones; each is noted as known.

        For those who read the log again.
        """
        events, _ = self._decode(partition, records, written=records[-1].offset)
        partition.next_offset = records[-1].offset + 1
        return events

    def _observe(
        self,
        partition: Progress,
        events: Sequence[tuple[Record, Interaction]],
        answered: Sequence[bool],
    ) -> list[Answer]:
        """Have the engine learn events of a partition; what is told already, of its users alone."""
        teaches = [record.offset >= partition.told for record, _ in events]
        told = [event for _, event in events]
        answers = observe_many(self._engine, self.arms, told, answered, teaches)
        if self.settles:
            self._engine.settle({event.user for event in told}, partition.number)
        return answers

    # ------------------------------------------------------------------ its stages

    def _decode(
        self, partition: Progress, records: Sequence[Record], written: int
    ) -> tuple[list[tuple[Record, Interaction]], list[Output]]:
        """The events to apply, and dead letters of what is none and lies behind `written`."""
        events, letters = [], []
        for record in records:
            try:
                event = self._event(partition, record)
            except BadMessage as error:
                if record.offset > written:
                    letters.append(self._dead_letter(record, error))
                continue
            if event is not None:
                events.append((record, event))
        return events, letters

    def _event(self, partition: Progress, record: Record) -> Interaction | None:
        """The event to apply, counted; None of one that was applied before, or is left out.

        Raises
        ------
        BadMessage
            If it is none, or comes too late.
        """
        check_size(record.key, record.value, record.headers, self._topics.message_bytes)
        check_work(record.value)
        event = decode_interaction(record.value, record.headers, record.timestamp_ms, self._dialect)
        if self.leaves_out(record, event):
            return None
        if record.key != event.user.encode():
            self._count_key(record)
        if partition.is_duplicate(event.user, event.event_id):
            self.counts.duplicates += 1
            return None
        if event.timestamp < partition.newest_ms - self._grace_ms:
            self.counts.late += 1
            if self._buries_late:
                raise late(event.timestamp, partition.newest_ms)
        newest_ms = watermark(event.timestamp, record.timestamp_ms)
        partition.count(event.user, event.event_id, newest_ms)
        if event.kind == "forget":
            partition.forgotten = record.offset + 1
        self.counts.newest_ms = max(self.counts.newest_ms, newest_ms)
        return event

    def _count_key(self, record: Record) -> None:
        """Count a key that is not the user's id, and log the first."""
        self.counts.foreign_keys += 1
        if self.counts.foreign_keys == 1:
            log.warning(
                "%s[%d] at %d: its key is not its user's id, so events of one user may lie in "
                "several partitions, out of order and unknown as duplicates; more are counted, not "
                "logged",
                self._topics.interactions, record.partition, record.offset,
                extra={"topic": self._topics.interactions, "partition": record.partition,
                       "offset": record.offset},
            )  # fmt: skip

    def _count_unknown(self, events: Iterable[Interaction]) -> None:
        """Count what the engine does not know yet of events that it is about to learn."""
        users, items, unlisted = self._engine.users, self._engine.items, self._engine.unlisted
        met: set[tuple[str, str]] = set()  # by an earlier event of these
        for event in events:
            if users.find(event.user) is None and ("user", event.user) not in met:
                met.add(("user", event.user))
                self.counts.unknown["user"] += 1
            if event.item is None:
                continue
            number = items.find(event.item)
            self.drift.count_taken(number)
            if number is None or unlisted[number]:
                self.counts.unknown["unlisted"] += 1
            if number is None and ("item", event.item) not in met:
                met.add(("item", event.item))
                self.counts.unknown["item"] += 1

    def _encode(
        self,
        events: Sequence[tuple[Record, Interaction]],
        answered: Sequence[bool],
        answers: Sequence[Answer],
        received_ns: int,
        decode_us: float,
    ) -> list[Output]:
        outputs = []
        received_us = time() * 1e6 - (perf_counter_ns() - received_ns) / 1e3
        for (record, event), ours, answer in zip(events, answered, answers, strict=True):
            if not ours:
                self.on_news((event, None))
                continue
            began_ns = perf_counter_ns()
            items = [RankedItem(*ranked) for ranked in answer.items]
            arms = self.arms.of(event.user)
            for experiment_arm in arms.items():
                self.counts.arms[experiment_arm] += 1
            now_ns = perf_counter_ns()
            message = Recommendation(
                event_id=event.event_id,
                user=event.user,
                item=event.item,
                kind=event.kind,
                items=items,
                timestamp=event.timestamp,
                model=self._model,
                source=Source(
                    self._topics.interactions, record.partition, record.offset, self._topic_id
                ),
                latency_us=LatencyUs(
                    queue=max(0.0, received_us - record.timestamp_ms * 1e3),
                    decode=decode_us,
                    emit=(now_ns - began_ns) / 1e3,
                    total=(now_ns - received_ns) / 1e3,
                    **{stage: ns / 1e3 for stage, ns in answer.stages_ns.items()},
                ),
                experiments=arms,
            )
            outputs.append(
                Output(
                    record.offset,
                    self._topics.recommendations,
                    encode(message),
                    record.key,
                    self._headers(record, message),
                )
            )
            self.counts.recommendations += 1
            self.durations.observe(message.latency_us)
            self.drift.count_answer(answer.items)
            self.on_news((event, message))
        return outputs

    def _headers(self, record: Record, message: Recommendation) -> Headers:
        headers: Headers = carried_headers(record.headers)
        if self.traces is not None:
            headers = self.traces.answered(record, message, headers)
        return [*headers, (HEADER, self.marks.next())] if self.marks else headers

    def _dead_letter(self, record: Record, error: BadMessage) -> Output:
        found = dead_letter(
            error, self._topics.interactions, record, self._topics.message_bytes, self._topic_id
        )
        letter = Output(
            record.offset, self._topics.dead_letters, found.value, found.key, found.headers
        )
        self.on_news(found)
        self.counts.dead_letters[error.error_class] += 1
        return letter


def leaves_out_none(_record: Record, _event: Interaction) -> bool:
    """Leave no event out."""
    return False


def watermark(timestamp_ms: int, appended_ms: int) -> int:
    """How far an event moves the time that lateness is measured against, in ms.

    To no later than the broker appended it: a sender whose clock is ahead, or who says so, makes
    nobody else's events late. Where the topic does not keep that time (`millrace topics check`), it
    is the sender's word, too.
    """
    return min(timestamp_ms, appended_ms) if appended_ms > 0 else timestamp_ms


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
    return [h for h in headers if h[0] in _CARRIED]
