"""Partitions, workers, memory and network for a load, by what `planning.costs` has measured.

A worker answers the events of its own users, tells the others what they taught the items, and adds
what the others tell. It uses one core for this, and is planned to be busy for `LOAD` of the time:
above it, events wait for one another.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from math import ceil
from typing import Any

from streams.settings import Settings
from streams.tools.planning import costs
from streams.tools.planning.costs import Cost
from streams.tools.planning.telling import Telling, telling

LOAD = 0.6
"""Of a core, how much of the time a worker is busy at most."""
LOAD_ONE_GONE = 0.9
"""The same with another worker gone."""
MOST_WORKERS = 1_000
TAKEN_EACH = 50
"""Items that a user took, where nothing else is known."""
MOVING_SECONDS = 10.0
"""How long a partition may take to move: as long as it takes to notice that a worker has died."""
LEAST_PARTITIONS = 4
MOST_KNOWN = 1 << 24
"""The largest engine.max_users and engine.max_items."""
_LARGE_ITEMS = 8 * 2**30
_LARGE_TOPIC = 50e6


@dataclass(frozen=True)
class Plan:
    """What a load needs.

    Attributes
    ----------
    workers
        A core each; 0 if no number of workers manages the events.
    busy
        Of a worker's core, the share of the time; of which `following` goes to others' deltas.
    busy_one_gone
        The same with another worker gone; 0 of a single worker.
    planned
        Of how many workers all figures are: `workers`, or what comes nearest.
    memory_bytes
        Of a worker.
    memory_one_gone_bytes
        Of a worker that has its part of another's users too. What to reserve.
    delta_seconds, told
        How long a worker waits from one delta to the next, and the share of the changed rows that
        are told then: others have a limit of what they read (`streams.worker.item_deltas`).
    delta_bytes_a_second, delta_bytes_served_a_second
        Written to the topic of item deltas by all workers, and read from it by all.
    checkpoint_bytes, checkpoint_seconds, checkpoint_bytes_a_second
        Of a worker: a file, the time to write it, what goes to the store.
    moving_seconds
        How long the users of a partition take to come to another worker.
    notes
        What does not fit, and what to do about it; what the figures do not know.
    """

    events_per_second: float
    users: int
    items: int
    workers: int
    planned: int
    partitions: int
    busy: float
    busy_one_gone: float
    following: float
    own_event_us: float
    memory_bytes: float
    memory_one_gone_bytes: float
    items_bytes: float
    delta_seconds: float
    told: float
    delta_bytes_a_second: float
    delta_bytes_served_a_second: float
    checkpoint_bytes: float
    checkpoint_seconds: float
    checkpoint_bytes_a_second: float
    moving_seconds: float
    settings: dict[str, int]
    notes: list[str] = field(default_factory=list)
    costs: list[Cost] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """All of it, with the command that measured each cost."""
        return asdict(self)


class _Load:
    """The time that a worker is busy, by how many share a stream of events."""

    def __init__(self, items: int, delta_seconds: float) -> None:
        self.own, self.telling = costs.OWN_EVENT.at(items), costs.TELLING.at(items)
        self.event_us = self.own.value + costs.OUTSIDE_ENGINE.value
        self.rows = costs.ROWS.at(items)
        self._delta_seconds = delta_seconds

    def deltas(self, events: float, workers: int) -> Telling:
        """How each worker tells."""
        return telling(events / workers, workers, self.rows.value, self._delta_seconds)

    def told(self, events: float, workers: int) -> float:
        """The share of the changed rows that are told."""
        seconds, rows = self.deltas(events, workers)
        return rows / (events / workers * seconds * self.rows.value)

    def following(self, events: float, workers: int) -> float:
        """Of a core, what others' deltas take."""
        seconds, rows = self.deltas(events, workers)
        reading = costs.DELTA.value + rows * costs.ROW.value
        return (workers - 1) * reading / seconds / 1e6

    def busy(self, events: float, workers: int) -> float:
        """Of a core, all."""
        each = self.event_us + (self.telling.value if workers > 1 else 0.0)
        own = events / workers * each / 1e6
        return own + self.following(events, workers)

    def workers(self, events: float, least: int) -> int:
        """How many manage it; 0 if no number does."""
        numbers = range(least, MOST_WORKERS + 1)
        return next((n for n in numbers if self._is_enough(events, n)), 0)

    def _is_enough(self, events: float, workers: int) -> bool:
        one_gone = self.busy(events, workers - 1) if workers > 1 else 0.0
        return self.busy(events, workers) <= LOAD and one_gone <= LOAD_ONE_GONE

    def least_busy(self, events: float, least: int) -> int:
        """How many workers have the least to do each."""
        return min(range(least, MOST_WORKERS + 1), key=lambda n: self.busy(events, n))

    def most_events(self) -> float:
        """Events a second that some number of workers manages, and no more."""
        low, high = 0.0, 1e9
        while high - low > max(1.0, low / 100):
            middle = (low + high) / 2
            low, high = (middle, high) if self.workers(middle, 1) else (low, middle)
        return low


def plan(
    events_per_second: float, users: int, items: int, settings: Settings | None = None,
    taken: int = TAKEN_EACH,
) -> Plan:  # fmt: skip
    """What so many events, users and items need.

    Parameters
    ----------
    events_per_second
        Of all users together, at the busiest time.
    settings
        Whose `worker.delta_seconds`, `worker.checkpoint_seconds` and `worker.duplicate_window` it
        is planned for; the defaults without them.
    taken
        Items that a user took, on average.
    """
    worker = (settings or Settings()).worker
    load = _Load(items, worker.delta_seconds)
    # One worker's engine knows so many users at most, with one other worker gone.
    least = 1 if users <= MOST_KNOWN else ceil(users / MOST_KNOWN) + 1
    workers = load.workers(events_per_second, least)
    planned = workers or load.least_busy(events_per_second, least)
    moving = costs.MOVING.value / 1e6
    # Twice as many as workers, so that workers can be added; equal parts for each.
    each = max(2, ceil(users * moving / MOVING_SECONDS / planned))
    partitions = max(LEAST_PARTITIONS, each * planned)
    user = costs.USER.value + taken * costs.TAKEN.value
    item = costs.ITEM.at(items)
    items_bytes = items * (item.value + costs.SHARED_ITEM.value)
    windows = partitions / planned * worker.duplicate_window * costs.EVENT_ID.value
    users_each = users / planned
    users_one_gone = users / max(1, planned - 1)
    state = items_bytes + users_each * user
    bytes_an_event = costs.DELTA_BYTES.at(items)
    shared = planned > 1
    told = load.told(events_per_second, planned) if shared else 1.0
    deltas = told * events_per_second * bytes_an_event.value if shared else 0.0
    file = state * costs.FILE.value
    writing = state / 2**30 * costs.WRITING.value
    found = Plan(
        events_per_second=events_per_second,
        users=users,
        items=items,
        workers=workers,
        planned=planned,
        partitions=partitions,
        busy=load.busy(events_per_second, planned),
        busy_one_gone=load.busy(events_per_second, planned - 1) if shared else 0.0,
        following=load.following(events_per_second, planned),
        own_event_us=load.event_us,
        memory_bytes=costs.PROCESS.value + state + windows,
        memory_one_gone_bytes=costs.PROCESS.value + items_bytes + users_one_gone * user + windows,
        items_bytes=items_bytes,
        delta_seconds=load.deltas(events_per_second, planned).seconds if shared else 0.0,
        told=told,
        delta_bytes_a_second=deltas,
        delta_bytes_served_a_second=deltas * planned,
        checkpoint_bytes=file,
        checkpoint_seconds=writing,
        checkpoint_bytes_a_second=file / max(worker.checkpoint_seconds, writing),
        moving_seconds=users / partitions * moving,
        settings={
            "topics.partitions": partitions,
            "engine.max_users": min(_rounded(users_one_gone), MOST_KNOWN),
            "engine.max_items": min(_rounded(items), MOST_KNOWN),
        },
        costs=[
            load.own, costs.OUTSIDE_ENGINE, load.telling, load.rows, costs.DELTA, costs.ROW,
            bytes_an_event, costs.PROCESS, costs.USER, costs.TAKEN, item, costs.SHARED_ITEM,
            costs.EVENT_ID, costs.FILE, costs.WRITING, costs.MOVING,
        ],
    )  # fmt: skip
    found.notes.extend(_notes(found, load, worker.checkpoint_seconds))
    return found


def _notes(found: Plan, load: _Load, checkpoint_seconds: float) -> list[str]:
    """What does not fit, the worst first, and what to do."""
    notes = []
    if not found.workers:
        notes.append(
            f"No number of workers up to {MOST_WORKERS:,} manages "
            f"{found.events_per_second:,.0f} events/s; {load.most_events():,.0f} events/s are "
            f"managed. The figures are those of {found.planned:,} workers, who have the least to "
            "do each."
        )
    if found.items > MOST_KNOWN:
        notes.append(f"An engine knows {MOST_KNOWN:,} items at most (engine.max_items).")
    if found.items_bytes > _LARGE_ITEMS:
        notes.append(
            f"Items take {found.items_bytes / 2**30:,.0f} GiB of each worker's memory, and more "
            "workers do not make that less: the items must be divided next (docs/scaling.md)."
        )
    if found.checkpoint_seconds > checkpoint_seconds / 2:
        notes.append(
            f"A checkpoint takes {found.checkpoint_seconds:,.0f} s to write: set "
            f"worker.checkpoint_seconds to {2 * found.checkpoint_seconds:,.0f} or more."
        )
    if found.delta_bytes_served_a_second > _LARGE_TOPIC:
        served = found.delta_bytes_served_a_second / 1e6
        notes.append(
            f"One partition carries all deltas, and its broker serves {served:,.0f} MB/s: raise "
            "worker.delta_seconds, or have deltas added up on the way."
        )
    beyond = [cost.of for cost in found.costs if "beyond the" in cost.run]
    if beyond:
        notes.append(f"Beyond what was measured, and so a guess: {'; '.join(beyond)}.")
    return notes


def _rounded(count: float) -> int:
    """A little more, with two digits that count."""
    digits = max(0, len(str(ceil(count))) - 2)
    return max(1_000, ceil(count / 10**digits) * 10**digits)
