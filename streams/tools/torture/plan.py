"""What is done to the workers and the broker, and when: drawn from a seed before it begins."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

Kind = Literal["kill", "freeze", "broker kill", "scale"]

PATIENCE_SECONDS = (1.0, 15.0)
"""How long a disturbance waits for its place in the stream: short of a recovery, or well past."""
BACK_SECONDS = (0.0, 3.0)
"""How long a killed worker, or the broker, stays away before it is started again."""


@dataclass(frozen=True, slots=True)
class Disturbance:
    """One thing that goes wrong, or changes, while events are answered.

    Attributes
    ----------
    after
        Events that are answered when it comes: workers are busy then, whatever their speed.
    patience
        Seconds after the one before it at which it comes even so: in the midst of a recovery.
    seconds
        How long a killed worker or broker stays away, or a worker stays frozen.
    which
        In [0, 1): which of the workers it hits, or how many there shall be.
    """

    kind: Kind
    after: int
    patience: float
    seconds: float
    which: float


def make_plan(
    *, seed: int, events: int, kills: int, freezes: int, broker_kills: int, scalings: int,
    session_seconds: float,
) -> list[Disturbance]:  # fmt: skip
    """Disturbances in a random order at random places, equal for equal arguments.

    A freeze lasts one to two sessions: the worker has lost its partitions when it wakes.
    """
    choose = random.Random(seed)
    counts: dict[Kind, int] = {
        "kill": kills, "freeze": freezes, "broker kill": broker_kills, "scale": scalings,
    }  # fmt: skip
    kinds = [kind for kind, count in counts.items() for _ in range(count)]
    choose.shuffle(kinds)
    places = sorted(choose.randint(events // 50, events * 9 // 10) for _ in kinds)
    return [
        Disturbance(
            kind,
            place,
            choose.uniform(*PATIENCE_SECONDS),
            choose.uniform(session_seconds, 2 * session_seconds)
            if kind == "freeze"
            else choose.uniform(*BACK_SECONDS),
            choose.random(),
        )
        for kind, place in zip(kinds, places, strict=True)
    ]
