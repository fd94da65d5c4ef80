"""What it costs that users and items make room: at the limit, against the same engine below it.

    python -m benchmarks.eviction [--size N] [--json FILE]

An engine is filled as `benchmarks.scale` does it, up to its limits of N users and N items. CPU time
of the calling thread is taken of 2,000 events of those who are known, then of as many in which
every tenth names a new user, every tenth a new item, and every tenth is a new item of the
catalogue, with its vector: each of them makes somebody leave.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import structs
from rich.console import Console

from benchmarks.scale import cpu_us, filled
from engine import EngineSettings, Item
from engine.evaluation.measures import percentiles
from engine.evaluation.provenance import provenance
from engine.state.eviction import UseOrder
from engine.warm_up import warm_up

EVENTS = 2_000
TOUCHES = 200_000


def main() -> None:
    """Measure, print, and write JSON where it is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", type=int, default=100_000, help="users, and items, at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    console = Console()
    report = provenance("synthetic, of real-like degrees", arguments.seed)
    report |= measure(arguments.size, arguments.seed, console)
    console.print_json(json.dumps(report))
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")


def measure(size: int, seed: int, console: Console) -> dict[str, Any]:
    """The figures of one size."""
    settings = EngineSettings(seed=seed, max_users=size, max_items=size)
    warm_up(settings)
    engine, _, stream = filled(size, settings, console)
    known = [cpu_us(engine, event) for event in islice(stream, EVENTS)]
    if engine.evicted != (0, 0):
        raise RuntimeError(f"{engine.evicted} left before the limit was reached")
    rng = np.random.default_rng(seed + 1)
    spent: dict[str, list[float]] = {"new_user": [], "new_item": [], "upsert": [], "known": []}
    for at, event in enumerate(islice(stream, EVENTS)):
        if at % 10 == 0:
            changed = structs.replace(event, user=f"new {at}")
            spent["new_user"].append(cpu_us(engine, changed))
        elif at % 10 == 1:
            changed = structs.replace(event, item=f"new {at}")
            spent["new_item"].append(cpu_us(engine, changed))
        elif at % 10 == 2:
            vector = rng.normal(size=384).astype(np.float32)
            item = Item(item=f"new {at}", title="New", categories=["new"])
            spent["upsert"].append(cpu_us_of(lambda: engine.upsert_item(item, vector)))  # noqa: B023
        else:
            spent["known"].append(cpu_us(engine, event))
    return {
        "size": size,
        "evicted": engine.evicted._asdict(),
        "below_the_limit_us": percentiles(known),
        "at_the_limit_us": {name: percentiles(sample) for name, sample in spent.items()},
        "use_order_us": round(touch_us(size), 3),
    }


def cpu_us_of(call: Callable[[], object]) -> float:
    """CPU time of this thread for one call, in microseconds."""
    started = time.clock_gettime_ns(time.CLOCK_THREAD_CPUTIME_ID)
    call()
    return (time.clock_gettime_ns(time.CLOCK_THREAD_CPUTIME_ID) - started) / 1e3


def touch_us(size: int) -> float:
    """CPU time to note one use among `size` numbers; an event notes two."""
    order = UseOrder(size)
    numbers = np.random.default_rng(0).integers(0, size, TOUCHES).tolist()
    order.touch(0)

    def touch_all() -> None:
        for number in numbers:
            order.touch(number)

    return cpu_us_of(touch_all) / TOUCHES


if __name__ == "__main__":
    main()
