"""One run: a Kafka, workers, traffic, the plan of what goes wrong, and the count at the end."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from engine.datasets import Dataset
from engine.evaluation.provenance import provenance
from engine.events import Interaction
from streams.brokers import KafkaServer
from streams.kafka import clients, topics
from streams.messages.schemas import encode
from streams.settings import Settings
from streams.tools.torture import state
from streams.tools.torture.account import Account, account
from streams.tools.torture.fleet import Fleet
from streams.tools.torture.plan import Disturbance, make_plan
from streams.tools.torture.report import NAMED, counts
from streams.tools.torture.traffic import Subscriber, Traffic

CHECKPOINT_SECONDS = 5.0
"""Checkpoints are written as often as this, so that kills meet them, too."""
_START_SECONDS = 240.0
_STALL_SECONDS = 90.0
"""Without a message for this long, with nothing going wrong any more, the rest counts as lost."""
_LAST_WORDS_SECONDS = 2.0
"""What still comes after everything is answered comes within this."""
_TICK_SECONDS = 0.05


class TortureError(RuntimeError):
    """A run that could not be made; its message says which part did not do its work."""


@dataclass
class Torture:
    """What to do, and how far it is.

    Parameters
    ----------
    settings
        Of the workers; broker, topics' partitions, session and ports are set here.
    dataset
        Its first `events` interactions are sent; the `following` next judge the final state.
    rubbish
        Malformed messages for each event, and as many repeated ones.
    logs
        A folder for the workers' logs; without it they go with the run.

    Attributes
    ----------
    phase, events_answered, done
        What is going on, how many messages have come out, and what has been done to whom.
    """

    settings: Settings
    dataset: Dataset
    events: int
    kills: int
    freezes: int
    broker_kills: int
    workers: int
    seed: int
    rubbish: float = 0.02
    following: int = 10_000
    logs: Path | None = None
    on_tick: Callable[[], None] = lambda: None
    phase: str = "starting Kafka"
    events_answered: int = 0
    done: Counter[str] = field(default_factory=Counter)

    def run(self) -> dict[str, Any]:
        """Run to the end; returns the report.

        Raises
        ------
        TortureError
            If the catalogue is not read, or the traffic breaks off.
        BrokerError
            If Kafka cannot be started.
        """
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="millrace-tor-")))
            logs = self.logs or folder
            logs.mkdir(parents=True, exist_ok=True)
            kafka = stack.enter_context(KafkaServer())
            settings = self._on(kafka.bootstrap, folder)
            topics.create(settings)
            stream = self.dataset.interactions()
            started = time.monotonic()
            fleet = stack.enter_context(Fleet.of(settings, self.workers, logs))
            self._catalogue(settings, fleet)
            self.phase = "tormenting"
            subscriber = stack.enter_context(Subscriber(settings))
            traffic = stack.enter_context(
                Traffic(
                    settings,
                    islice(stream, self.events),
                    self.rubbish,
                    self.seed,
                    lambda: subscriber.count,
                )
            )
            for slot in fleet.slots:
                fleet.start(slot)
            self._torment(kafka, fleet, traffic, subscriber)
            self._drain(fleet, traffic, subscriber)
            self.phase = "stopping the workers"
            self._tick(fleet, subscriber)
            fleet.stop()
            seconds = time.monotonic() - started
            self.phase = "counting"
            self.on_tick()
            found = account(settings)
            return {
                **counts(settings, self.done, found, traffic, subscriber, fleet),
                "seconds": round(seconds, 1),
                **self._state(settings, found, stream),
                **provenance(f"{self.dataset.name} ({self.dataset.format})", self.seed),
            }

    def _on(self, bootstrap: str, folder: Path) -> Settings:
        sections: dict[str, dict[str, object]] = {
            "broker": {"bootstrap": bootstrap, "embedded": False},
            "worker": {
                "checkpoints": str(folder / "checkpoints"),
                # The last of each worker stays, to compare their items.
                "checkpoints_kept": self.settings.worker.checkpoints_kept + self.workers,
                "checkpoint_seconds": min(
                    CHECKPOINT_SECONDS, self.settings.worker.checkpoint_seconds
                ),
            },
        }
        return self.settings.model_copy(
            update={
                name: getattr(self.settings, name).model_copy(update=values)
                for name, values in sections.items()
            }
        )

    def _catalogue(self, settings: Settings, fleet: Fleet) -> None:
        """Have a worker embed the items, and stop: those of the run know all from their start.

        Items that come while events do are learnt at a moment of their own, in no run the same.
        """
        self.phase = "reading the catalogue"
        fleet.start(fleet.slots[0])
        producer = clients.producer(settings)
        items = list(self.dataset.items())
        for item in items:
            producer.produce(settings.topics.items, encode(item), item.item)
            producer.poll(0)
        producer.flush(clients.TIMEOUT_SECONDS)
        reader = clients.reader(settings)
        deadline = time.monotonic() + _START_SECONDS
        while True:
            self.on_tick()
            there = sum(clients.ends(reader, settings.topics.item_embeddings).values())
            if there >= len(items):
                break
            if time.monotonic() > deadline or fleet.ended:
                raise TortureError(
                    f"the worker embedded {there} of {len(items)} items, and then no more; "
                    "see its log (--logs)"
                )
            fleet.look()
            time.sleep(0.2)
        reader.close()
        fleet.stop()

    # ------------------------------------------------------------------ what goes wrong

    def _torment(
        self, kafka: KafkaServer, fleet: Fleet, traffic: Traffic, subscriber: Subscriber
    ) -> None:
        plan = make_plan(
            seed=self.seed,
            events=self.events,
            kills=self.kills,
            freezes=self.freezes,
            broker_kills=self.broker_kills,
            scalings=max(2, (self.kills + self.freezes) // 6) if self.workers > 1 else 0,
            session_seconds=self.settings.worker.session_seconds,
        )
        before = time.monotonic()
        for disturbance in plan:
            while (
                subscriber.count < disturbance.after
                and time.monotonic() < before + disturbance.patience
            ) or not fleet.running:
                self._tick(fleet, subscriber)
                if traffic.failure:
                    raise TortureError(f"the traffic broke off: {traffic.failure}")
            self._disturb(disturbance, kafka, fleet, subscriber)
            before = time.monotonic()

    def _disturb(
        self, disturbance: Disturbance, kafka: KafkaServer, fleet: Fleet, subscriber: Subscriber
    ) -> None:
        running = fleet.running
        slot = running[int(disturbance.which * len(running))]
        if disturbance.kind == "kill":
            fleet.kill(slot, disturbance.seconds)
        elif disturbance.kind == "freeze":
            fleet.freeze(slot, disturbance.seconds)
        elif disturbance.kind == "broker kill":
            kafka.kill()
            self._wait(disturbance.seconds, fleet, subscriber)
            kafka.restart()
        else:
            targets = [n for n in range(1, self.workers + 1) if n != len(fleet.wanted)]
            self._scale(fleet, targets[int(disturbance.which * len(targets))])
            return
        self.done[disturbance.kind] += 1

    def _scale(self, fleet: Fleet, target: int) -> None:
        """Have workers join or leave until `target` are wanted; one at least is left running."""
        for slot in fleet.slots:
            if len(fleet.wanted) < target and not slot.wanted and slot.leaving is None:
                fleet.start(slot)
                self.done["join"] += 1
        for slot in fleet.running:
            if len(fleet.wanted) > target and len(fleet.running) > 1:
                fleet.leave(slot)
                self.done["leave"] += 1

    def _wait(self, seconds: float, fleet: Fleet, subscriber: Subscriber) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._tick(fleet, subscriber)

    def _tick(self, fleet: Fleet, subscriber: Subscriber) -> None:
        fleet.look()
        if subscriber.thread.failure:
            raise TortureError(f"the subscriber broke off: {subscriber.thread.failure}")
        self.events_answered = subscriber.count
        self.on_tick()
        time.sleep(_TICK_SECONDS)

    def _drain(self, fleet: Fleet, traffic: Traffic, subscriber: Subscriber) -> None:
        """Let the workers answer the rest, undisturbed; give up when nothing moves any more."""
        self.phase = "answering the rest"
        if self.settings.topics.partitions > 1:  # all are there in the end, to compare their items
            for slot in fleet.slots:
                fleet.start(slot)
        since = time.monotonic()
        while not (traffic.done and traffic.outstanding <= 0 and fleet.settled):
            self._tick(fleet, subscriber)
            if time.monotonic() - max(since, subscriber.moved) > _STALL_SECONDS:
                break
        # Whatever a worker that was woken or started last would write twice, it writes now.
        self._wait(_LAST_WORDS_SECONDS, fleet, subscriber)

    # ------------------------------------------------------------------ what came of it

    def _state(
        self, settings: Settings, found: Account, stream: Iterator[Interaction]
    ) -> dict[str, Any]:
        self.phase = "folding the input, undisturbed"
        self.on_tick()
        whole, others, partitions = state.undisturbed(settings, found.sent, found.answers)
        report: dict[str, Any] = {
            "answers_differing": len(others) if settings.topics.partitions == 1 else None,
            "differing_answers": others[:NAMED],
        }
        left = state.Left.of(settings)
        if left is None:
            return report | {"state_identical": False, "state_differs": ["no checkpoint is left"]}
        self.phase = "judging both states by what follows"
        self.on_tick()
        following = islice(stream, self.following)
        return report | state.compare(settings, left, whole, partitions, found.sent, following)
