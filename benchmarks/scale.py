"""Cost of an event, and memory, from a thousand to a million items and users.

    python -m benchmarks.scale [--quick] [--json FILE] [--ml-100k PATH]

Each row is an engine that knows so many items (with the vectors of texts) and users, filled by a
synthetic history of real-like degrees: popularity and activity fall as powers of the rank, and
seven events of ten stay within a user's own of fifty communities. The history is counted (graph,
transitions, popularity, profiles) without being ranked or learnt from, which would take hours;
then 5,000 events are observed whole, and the CPU time of the calling thread is taken for each.
Where only named candidates are scored, `recall_at_10` says which share of the ten best of all items
the lists of the last 200 users have; up to 100,000 items. `--exact-items` moves the bound: so both
ways can be compared at one size.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import time
from collections.abc import Collection, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from engine import EngineSettings, Interaction, Item, Recommender
from engine.datasets import open_dataset
from engine.evaluation.measures import percentiles
from engine.evaluation.provenance import provenance
from engine.graph import WEIGHTS
from engine.step.calls import score_for, take_in_one, tell_best_for
from engine.step.events import EVENT, STAGES
from engine.warm_up import warm_up

SIZES = (1_000, 10_000, 100_000, 1_000_000)
QUICK_SIZES = (1_000, 10_000, 30_000)
EVENTS_PER_USER = 10
MOST_EVENTS = 3_000_000
MEASURED = 5_000
BATCH = 64
COMMUNITIES = 50
LISTS, MOST_COMPARED = 200, 100_000
"""Lists that are compared with all items scored, and the largest catalogue in which they are: of a
million items each takes seconds."""
MEMORY = ("bytes_per_item", "bytes_per_user", "resident_gib")
START_MS = 1_700_000_000_000
BESIDE = Path(__file__).parents[2] / "shared" / "data" / "ml-100k"


def main() -> None:
    """Measure, print a table, and write JSON where it is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="up to 30,000 items; some 3 minutes")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument(
        "--ml-100k",
        type=Path,
        default=BESIDE if BESIDE.is_dir() else None,
        help="folder of MovieLens 100K, measured as well; shared/data/ml-100k beside the checkout, "
        "if it is there",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--exact-items",
        type=int,
        default=EngineSettings().exact_items,
        help="largest catalogue of which every item is scored (%(default)s)",
    )
    parser.add_argument("--sizes", type=int, nargs="+", help="these numbers of items instead")
    arguments = parser.parse_args()
    console = Console()
    settings = EngineSettings(seed=arguments.seed, exact_items=arguments.exact_items)
    warm_up(settings)
    report: dict[str, Any] = provenance("synthetic, of real-like degrees", arguments.seed)
    report["ml_100k"] = None
    if arguments.ml_100k:
        report["ml_100k"] = measure_dataset(arguments.ml_100k, settings, console)
    sizes = arguments.sizes or (QUICK_SIZES if arguments.quick else SIZES)
    report["rows"] = [measured_alone(size, settings) for size in sizes]
    print_report(console, report)
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")


def measure_dataset(path: Path, settings: EngineSettings, console: Console) -> dict[str, Any]:
    """CPU time over the second half of a data set, event by event, and then again in batches.

    Returns
    -------
    dict
        `items`, `users`; `total_us`: percentiles of the CPU time of one event, in microseconds;
        `batch_events_per_second`: of this thread's CPU time, in batches of 64.
    """
    dataset = open_dataset(path)
    engine = Recommender(settings)
    for item in track(list(dataset.items()), "encoding", console=console, transient=True):
        engine.upsert_item(item)
    events = list(dataset.interactions())
    half = len(events) // 2
    batched = _batch_events_per_second(path, settings, events, half)
    spent = [
        cpu_us(engine, event)
        for event in track(events, dataset.name, console=console, transient=True)
    ]
    return {
        "items": len(engine.items),
        "users": len(engine.users),
        "total_us": percentiles(spent[half:]),
        "batch_events_per_second": round(batched),
    }


def _batch_events_per_second(
    path: Path, settings: EngineSettings, events: list[Interaction], half: int
) -> float:
    """Events of the second half in a second of this thread's CPU time, in batches of `BATCH`."""
    engine = Recommender(settings)
    for item in open_dataset(path).items():
        engine.upsert_item(item)
    engine.observe_many(events[:half], [False] * half)
    started = time.thread_time()
    for at in range(half, len(events), BATCH):
        engine.observe_many(events[at : at + BATCH])
    return (len(events) - half) / (time.thread_time() - started)


def measured_alone(size: int, settings: EngineSettings) -> dict[str, Any]:
    """`measure_size` in a process of its own: memory that another gave back would not be seen."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(_measured_there, size, settings).result()


def _measured_there(size: int, settings: EngineSettings) -> dict[str, Any]:
    warm_up(settings)
    return measure_size(size, settings, Console())


def measure_size(size: int, settings: EngineSettings, console: Console) -> dict[str, Any]:
    """Fill an engine of `size` items and users, and measure it."""
    before = resident_bytes()
    engine, history, stream = filled(size, settings, console)
    events = list(stream)
    spent = [cpu_us(engine, event) for event in events]
    resident = resident_bytes() - before
    compared = None
    if size <= MOST_COMPARED:
        compared = recall(engine, {event.user for event in events[-LISTS:]})
    per_user = bytes_per_user(settings)
    return {
        "items": size,
        "users": size,
        "events_before": history,
        "exact": engine.all_compete,
        "total_us": percentiles(spent),
        "recall_at_10": compared,
        "bytes_per_item": resident // size - per_user,
        "bytes_per_user": per_user,
        "resident_gib": round(resident / 2**30, 3),
    }


def recall(engine: Recommender, users: Collection[str]) -> float:
    """The mean share of the ten best of all items that the lists of these users have."""
    held, every = engine.settings.history, engine.retrieval.every[: len(engine.items)]
    shares = []
    for name in users:
        shown = {ranked.item for ranked in engine.recommend(name, 10).items}
        user = engine.number_user(name)
        engine.compete(None if engine.all_compete else every)
        now, told = engine.graph.users.latest_time(user), np.zeros((3, 10))
        n = score_for(engine.hold(), user, now, held, len(every), engine.all_compete)
        found = tell_best_for(engine.hold(), user, held, n, engine.all_compete, 10, told)
        best = {engine.items.names[int(item)] for item in told[0, :found]}
        shares.append(len(best & shown) / len(best))
    return round(float(np.mean(shares)), 4)


def filled(
    size: int, settings: EngineSettings, console: Console
) -> tuple[Recommender, int, Iterator[Interaction]]:
    """An engine of `size` items and users, the events it counted, and those to measure with."""
    rng = np.random.default_rng(settings.seed)
    engine = Recommender(settings)
    centres = rng.normal(size=(COMMUNITIES, 384))
    for item in track(range(size), f"{size:,} items", console=console, transient=True):
        embedding = centres[item % COMMUNITIES] + rng.normal(size=384)
        embedding /= np.linalg.norm(embedding)
        engine.upsert_item(
            Item(item=f"i{item}", title=f"Item {item}", categories=[f"c{item % 20}"]),
            embedding.astype(np.float32),
        )
    history = min(EVENTS_PER_USER * size, MOST_EVENTS)
    stream = interactions(rng, size, history + MEASURED)
    for user in range(size):
        engine.number_user(f"u{user}")
    for _ in track(range(history), f"{size:,} users", console=console, transient=True):
        count_only(engine, next(stream))
    return engine, history, stream


def interactions(rng: np.random.Generator, size: int, count: int) -> Iterator[Interaction]:
    """A stream in which popularity, activity and communities look like a shop's."""
    users = by_rank(rng, size, 0.7, count)
    items = by_rank(rng, size, 0.9, count)
    stays = rng.random(count) < 0.7
    # The same rank, moved to the user's own community.
    items = np.where(stays, items - items % COMMUNITIES + users % COMMUNITIES, items) % size
    for at, (user, item) in enumerate(zip(users.tolist(), items.tolist(), strict=True)):
        yield Interaction(
            event_id=str(at), user=f"u{user}", item=f"i{item}", timestamp=START_MS + at * 1000,
            kind="purchase",
        )  # fmt: skip


def by_rank(rng: np.random.Generator, size: int, exponent: float, count: int) -> NDArray[np.int64]:
    """Draws of 0 to size - 1 with probability falling as (rank + 10) ** -exponent."""
    weights = np.cumsum((np.arange(size) + 10.0) ** -exponent)
    return np.searchsorted(weights, rng.random(count) * weights[-1])


def count_only(engine: Recommender, event: Interaction) -> None:
    """What `observe` does, less learning and ranking."""
    numbers = engine._row(event, event.item or "", WEIGHTS, answer=False, teaches=True)
    row = np.array([numbers], EVENT)
    user, item = int(row["user"][0]), int(row["item"][0])
    if engine.taken.weight(user, item) is not None:
        return
    row["introduced"] = True  # nothing is learnt of an item that is new
    history, laps = engine.settings.history, np.zeros(len(STAGES), np.int64)
    while not take_in_one(engine.hold(), row, history, 0, engine.all_compete, laps):
        engine.make_room()
    engine.taste.record(user, engine.vectors.vectors[item])


def cpu_us(engine: Recommender, event: Interaction) -> float:
    """CPU time of this thread for one `observe`, in microseconds."""
    started = time.clock_gettime_ns(time.CLOCK_THREAD_CPUTIME_ID)
    engine.observe(event)
    return (time.clock_gettime_ns(time.CLOCK_THREAD_CPUTIME_ID) - started) / 1e3


def bytes_per_user(settings: EngineSettings) -> int:
    """Bytes of the arrays that one more user takes.

    A row's `bytes_per_item` is all the rest of what is resident: arrays, names, texts' index.
    """
    sizes = []
    for users in (1025, 4097):
        engine = Recommender(settings)
        for user in range(users):
            engine.number_user(str(user))
        sizes.append((array_bytes(engine), len(engine.contexts.lengths)))
    (small, few), (large, many) = sizes
    return (large - small) // (many - few)


def array_bytes(thing: object) -> int:
    """Bytes of all arrays that an object of ours holds."""
    if isinstance(thing, np.ndarray):
        return thing.nbytes if thing.base is None else 0
    if type(thing).__module__.startswith("engine.") and hasattr(thing, "__dict__"):
        return sum(array_bytes(value) for value in vars(thing).values())
    return 0


def resident_bytes() -> int:
    """Resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def print_report(console: Console, report: dict[str, Any]) -> None:
    """The figures as a table, with where they come from."""
    table = Table(title="CPU time of one event, all in (µs)", title_justify="left")
    for column in (
        "items", "users", "p50", "p99", "p99.9", "recall", "B/item", "B/user", "resident GiB",
    ):  # fmt: skip
        table.add_column(column, justify="right")
    rows = ([report["ml_100k"]] if report["ml_100k"] else []) + report["rows"]
    for row in rows:
        spent = row["total_us"]
        table.add_row(
            f"{row['items']:,}", f"{row['users']:,}",
            *(f"{spent[name]:,.0f}" for name in ("p50", "p99", "p99_9")),
            *(str(row.get(name) or "") for name in ("recall_at_10", *MEMORY)),
        )  # fmt: skip
    console.print(table)
    if report["ml_100k"]:
        batched = report["ml_100k"]["batch_events_per_second"]
        console.print(f"MovieLens 100K in batches of {BATCH}, one thread: {batched:,} events/s")
    console.print(
        f"[dim]seed {report['seed']} · millrace {report['version']} · {report['machine']}"
    )


if __name__ == "__main__":
    main()
