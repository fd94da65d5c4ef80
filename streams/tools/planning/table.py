"""A plan as a table for people."""

from __future__ import annotations

from collections.abc import Iterator

from rich import box
from rich.console import Console
from rich.table import Table

from streams.tools.planning.plan import Plan


def print_plan(console: Console, plan: Plan, with_costs: bool) -> None:
    """Print it: what is needed, settings, and what does not fit."""
    console.print(
        f"{plan.events_per_second:,.0f} events/s, {plan.users:,} users, {plan.items:,} items",
        highlight=False,
    )
    table = Table(box=box.SIMPLE, show_header=False, pad_edge=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_column()
    for row in _rows(plan):
        table.add_row(*row)
    console.print(table, highlight=False)
    for name, value in plan.settings.items():
        console.print(f"{name} = {value}", highlight=False)
    for note in plan.notes:
        console.print(f"\n! {note}", markup=False, highlight=False)
    if with_costs:
        console.print("\nMeasured:", highlight=False)
        for cost in plan.costs:
            console.print(f"- {cost}", markup=False, highlight=False)


def _rows(plan: Plan) -> Iterator[tuple[str, str, str]]:
    several = plan.planned > 1
    core = f"a core each, {plan.busy:.0%} busy"
    if several:
        core += f" ({plan.busy_one_gone:.0%} when one is gone)"
    yield "workers", f"{plan.workers:,}" if plan.workers else "none suffice", core
    if several:
        yield "", f"{plan.following:.1%}", "of a core for what others learn"
    moves = f"one moves within {_seconds(plan.moving_seconds)}"
    yield "partitions", f"{plan.partitions:,}", moves
    yield "memory a worker", _size(plan.memory_bytes), f"{_size(plan.items_bytes)} of it for items"
    if several:
        yield "", _size(plan.memory_one_gone_bytes), "when one is gone: reserve this"
        told = "" if plan.told > 0.995 else f", {plan.told:.0%} of what changed"
        yield "deltas", _seconds(plan.delta_seconds), f"from one of a worker to the next{told}"
        yield "", _rate(plan.delta_bytes_a_second), "written, by all workers"
        yield "", _rate(plan.delta_bytes_served_a_second), "read, by all workers"
    written = f"a file, written in {_seconds(plan.checkpoint_seconds)}"
    yield "checkpoints a worker", _size(plan.checkpoint_bytes), written
    yield "", _rate(plan.checkpoint_bytes_a_second), "to where they lie"


def _size(count: float) -> str:
    return f"{count / 2**30:,.1f} GiB" if count >= 2**30 else f"{count / 2**20:,.0f} MiB"


def _rate(count: float) -> str:
    return f"{count / 1e6:,.2f} MB/s"


def _seconds(seconds: float) -> str:
    return f"{seconds:,.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
