"""What things cost, with the command that measured each. The one place where `millrace plan` has
its figures from; a new measurement is written here and nowhere else.

All with the default settings (32 dimensions, `engine.exact_items` 20,000). CPU time is of one core
of the machine that is named; another machine's are in proportion at best.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from streams.worker.item_deltas import DELTA_SECONDS, ROW_SECONDS


@dataclass(frozen=True)
class Cost:
    """One figure.

    Attributes
    ----------
    of
        What it is a cost of.
    value
        In `unit`.
    command
        What measured it.
    run
        Which run, where something of it is to be known: its machine, its age.
    """

    of: str
    value: float
    unit: str
    command: str
    run: str = ""

    def __str__(self) -> str:
        return f"{self.of}: {self.value:,g} {self.unit} ({self.source})"

    @property
    def source(self) -> str:
        """The command, and the run."""
        return f"{self.command}{'; ' if self.run else ''}{self.run}"


@dataclass(frozen=True)
class Curve:
    """Figures by the number of items, and straight lines between them on two logarithmic scales.

    Attributes
    ----------
    points
        Items and value, ascending.
    goes_on
        Whether the last line goes on beyond the last point. Before the first point, and after the
        last one otherwise, the value stays.
    """

    of: str
    points: Sequence[tuple[float, float]]
    unit: str
    command: str
    run: str = ""
    goes_on: bool = False

    def at(self, items: int) -> Cost:
        """The figure for so many items; `run` says so where it is beyond what was measured."""
        inside = max(items, self.points[0][0])
        if not self.goes_on:
            inside = min(inside, self.points[-1][0])
        upper = next((n for n, (x, _) in enumerate(self.points) if x >= inside), -1)
        (x0, y0), (x1, y1) = (
            self.points[max(upper - 1, 0) if upper >= 0 else -2],
            self.points[upper],
        )
        share = math.log(inside / x0) / math.log(x1 / x0) if x1 != x0 else 0.0
        beyond = items > self.points[-1][0]
        note = f"beyond the {self.points[-1][0]:,.0f} items that were measured" if beyond else ""
        run = "; ".join(filter(None, (self.run, note)))
        return Cost(self.of, y0 * (y1 / y0) ** share, self.unit, self.command, run)


_SHARED_ITEMS = "python -m benchmarks.shared_items --data ml-100k"
_SCALE = "python -m benchmarks.scale"

OWN_EVENT = Curve(
    "an own event: learnt and answered",
    ((1_682, 157.0), (10_000, 1_055.0), (100_000, 1_293.0), (1_000_000, 1_597.0)),
    "µs of CPU",
    _SCALE,
    "p50, an old run that scored the catalogue twice for each event; 1,682 items: "
    f"{_SHARED_ITEMS}, one engine",
    goes_on=True,
)
OUTSIDE_ENGINE = Cost(
    "an own event outside the engine: Kafka, decoding, encoding", 34.0, "µs of CPU",
    "python -m benchmarks.end_to_end --delivery leased", "a backlog, AMD EPYC",
)  # fmt: skip
TELLING = Curve(
    "to collect and pack what an own event taught the items",
    ((1_682, 14.0), (100_000, 9.4)),
    "µs of CPU",
    _SHARED_ITEMS,
    "16 rows an event, .9 µs a row; with 100,000 items what following takes",
)
ROWS = Curve(
    "rows of items that an event changes",
    ((1_682, 17.1), (100_000, 7.9)),
    "rows",
    _SHARED_ITEMS,
    "rows_per_event: four engines; with 100,000 items two; 28 November 2026",
)
DELTA = Cost(
    "a delta of another, whatever it holds", DELTA_SECONDS * 1e6, "µs of CPU", _SHARED_ITEMS,
    "flush_us, 28 November 2026; the rule of `streams/worker/item_deltas.py` has it, too",
)  # fmt: skip
ROW = Cost("a row of another's delta", ROW_SECONDS * 1e6, "µs of CPU", _SHARED_ITEMS, DELTA.run)
DELTA_BYTES = Curve(
    "of deltas, by event",
    ((1_682, 437.3), (100_000, 155.1)),
    "bytes",
    _SHARED_ITEMS,
    "delta_bytes_per_event: four engines; with 100,000 items two; 28 November 2026",
)
PROCESS = Cost(
    "a worker that knows nothing, kernels loaded", 381 * 2**20, "bytes",
    "millrace worker", "resident after its warm-up, by psutil, 28 November 2026",
)  # fmt: skip
USER = Cost("a user", 1_744, "bytes", _SCALE, "bytes_per_user of this version")
TAKEN = Cost("an item that a user took", 8, "bytes", _SCALE, "docs/results.md, an old run")
ITEM = Curve(
    "an item, with its text and what was learnt",
    ((1_000, 11_955.0), (10_000, 10_368.0), (100_000, 6_546.0), (1_000_000, 3_723.0)),
    "bytes",
    _SCALE,
    "an old run; ten events a user, and up to 12,000 bytes an item where each is taken often",
)
SHARED_ITEM = Cost(
    "an item as others know it", 650, "bytes", _SHARED_ITEMS, "counted from the arrays"
)
EVENT_ID = Cost(
    "an event id that duplicates are known by", 128, "bytes",
    "Progress.count, 250,000 times", "30.6 MiB resident, by psutil, 28 November 2026",
)  # fmt: skip
FILE = Cost(
    "a checkpoint, of the state's bytes", 0.67, "of them", "python -m benchmarks.checkpoints",
    "100,000 users and items",
)  # fmt: skip
WRITING = Cost(
    "to write a checkpoint, by GiB of the state", 2.9, "s", "python -m benchmarks.checkpoints",
    "2.3 s for 814 MiB, on a local disk",
)  # fmt: skip
MOVING = Cost(
    "to take a user of another worker's over", 92.0, "µs of CPU",
    "users_apart, save, load and take_in of 5,000 users with 12 events each",
    ".45 s, docs/scaling.md",
)  # fmt: skip
