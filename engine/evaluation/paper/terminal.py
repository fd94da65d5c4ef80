"""`millrace paper` in the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from engine.evaluation.paper.tables import tables_of, warnings_of


class StepBars:
    """Two bars: the steps of the run, and how far the present one is."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._steps = bars.add_task("reading", total=None)
        self._stage = bars.add_task("", total=1.0, visible=False)

    def step(self, done: int, total: int, name: str) -> None:
        """Begin a step."""
        self._bars.update(
            self._steps, description=f"{done + 1} of {total}: {name}", completed=done, total=total
        )
        self._bars.update(self._stage, visible=False)

    def stage(self, name: str, share: float) -> None:
        """Tell how much of a step's stage is done, in [0, 1]."""
        self._bars.update(self._stage, description=f"  {name}", completed=share, visible=True)


@contextmanager
def step_bars(console: Console) -> Iterator[StepBars]:
    """Bars that vanish when all is done."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    ) as bars:
        yield StepBars(bars)


def print_report(console: Console, report: Mapping[str, Any]) -> None:
    """The tables, what is missing and why, and where all of it comes from."""
    for warning in warnings_of(report):
        console.print(warning, style="yellow", markup=False)
    for table in tables_of(report):
        shown = Table(
            box=box.SIMPLE, title=escape(table.title), title_justify="left",
            caption=escape(table.note), caption_justify="left",
        )  # fmt: skip
        for column in table.columns:
            shown.add_column(column, justify="right" if column else "left", no_wrap=not column)
        for row in table.rows:
            shown.add_row(*row)
        console.print(shown)
    for row in report["rows"]:
        for note in row["notes"]:
            console.print(f"[dim]{escape(row['recipe'])}:[/] {escape(note)}", highlight=False)
        if row["error"]:
            console.print(
                f"[red]{escape(row['recipe'])} was not measured:[/] {escape(row['error'])}"
            )
    seeds = ", ".join(str(seed) for seed in report["seeds"])
    packages = ", ".join(f"{name} {version}" for name, version in report["packages"].items())
    console.print(
        f"[dim]{escape(report['data'])} (sha256 {report['data_sha256'][:12]}) · seeds {seeds} · "
        f"millrace {report['version']} · {report['machine']} · {packages}"
    )
