"""What the demo shows in the terminal: a live view, and the report at its end."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from engine.evaluation.measures import percentiles
from streams.tools.answer_stats import STAGES, Tally
from streams.tools.demo import Demo
from streams.tools.printable import printable

_WINDOW = 5_000
"""Latest samples that the live percentiles are of."""


class LiveView:
    """Renders the state of a demo; rich asks for it a few times a second."""

    def __init__(self, demo: Demo, titles: dict[str, str]) -> None:
        self._demo = demo
        self._titles = titles
        self._rates: deque[tuple[float, int]] = deque(maxlen=40)

    def __rich__(self) -> RenderableType:
        tally = self._demo.tally
        self._rates.append((time.monotonic(), tally.recommendations))
        head = Text.assemble(("Millrace ", "bold"), f"· {self._demo.data} · {self._status()}")
        parts: list[RenderableType] = [head, self._progress()]
        if self._demo.notice:
            parts.append(Text(self._demo.notice, "dim"))
        if tally.recommendations:
            side_by_side = Table.grid(padding=(0, 2))
            side_by_side.add_row(_stage_table(tally, _WINDOW), self._newest(tally))
            parts += [side_by_side, _quality(tally)]
        return Group(*parts)

    def _status(self) -> str:
        if not self._demo.tally.recommendations:
            replay = self._demo.replay
            if replay.get("phase") in {"items", "text embeddings", "reading"}:
                return f"{replay['phase']} {_of(replay['done'], replay['total'])}"
            return f"{self._demo.phase} ..."
        (then, before), (now, count) = self._rates[0], self._rates[-1]
        rate = (count - before) / (now - then) if now > then else 0.0
        return f"{rate:,.0f} events/s"

    def _progress(self) -> RenderableType:
        tally, replay = self._demo.tally, self._demo.replay
        done = tally.recommendations + sum(tally.dead_letters.values())
        total = self._demo.limit or (
            replay.get("total") if replay.get("phase") in {"interactions", "done"} else None
        )
        row = Table.grid(padding=(0, 1))
        row.add_row(
            ProgressBar(total=total or 100, completed=done if total else 0, width=40),
            f"{_of(done, total)} answered",
        )
        return row

    def _newest(self, tally: Tally) -> RenderableType:
        newest = tally.newest or {}
        table = Table(box=None, padding=(0, 1), show_header=False)
        table.add_column(no_wrap=True, min_width=2, justify="right")
        table.add_column(no_wrap=True, overflow="ellipsis", max_width=32)
        table.add_column(no_wrap=True, min_width=5, justify="right")
        table.add_column(no_wrap=True, overflow="ellipsis", max_width=36)
        for place, entry in enumerate(newest.get("items", []), 1):
            table.add_row(
                Text(str(place), "dim"),
                Text(self._title(entry["item"])),
                Text(f"{entry['score']:.2f}", "cyan"),
                Text(printable(entry["reason"]), "dim"),
            )
        taken = self._title(newest.get("item") or "")
        # As text, not as markup: an id may hold brackets.
        who = Text(printable(f"user {newest.get('user')} took {taken}"))
        return Panel(table, title=who, title_align="left")

    def _title(self, item: str) -> str:
        return printable(self._titles.get(item) or item)


def print_report(console: Console, report: dict[str, Any], tally: Tally, accounted: bool) -> None:
    """The report at the end."""
    console.print()
    console.rule(f"[bold]{escape(report['data'])}")
    console.print(_stage_table(tally, None))
    console.print(_quality(tally))
    balance = (
        f"{report['events_in']:,} events in = {report['recommendations']:,} recommendations "
        f"+ {report['dead_letters']:,} dead letters + {report['duplicates']:,} duplicates"
    )
    mark = "[green]✓[/]" if accounted else "[red]✗ DOES NOT ADD UP:[/]"
    console.print(f"{mark} {balance}")
    if report.get("overlay"):
        console.print(_overlay(report["overlay"]))
    console.print(
        f"[dim]seed {report['seed']} · millrace {report['version']} · {report['machine']}"
    )


def _overlay(figures: dict[str, Any]) -> str:
    """The board's own time, and apart from it what this machine waited."""
    targets = max(figures["targets"], 1)
    board, waited = "board", "waited for it"
    if figures["simulated"]:
        board, waited = "simulated board", "waited for the simulation"
    return (
        f"{board}: {figures['targets']:,.0f} nodes aggregated, "
        f"{figures['device_seconds'] / targets * 1e6:.2f} µs each by its own clock · "
        f"this machine {waited} {figures['host_seconds'] / targets * 1e6:,.0f} µs each · "
        f"{figures['faults']:.0f} faults"
    )


def _stage_table(tally: Tally, window: int | None) -> Table:
    """Percentiles of every stage, over the last `window` answers or over all."""
    table = Table(box=box.SIMPLE, pad_edge=False)
    table.add_column("stage, µs")
    for label in ("p50", "p99", "p99.9"):
        table.add_column(label, justify="right")
    for stage in STAGES:
        sample = tally.stages_us[stage]
        values = percentiles(sample[-window:] if window else sample)
        table.add_row(stage, *(f"{value:,.0f}" for value in values.values()))
    sample = tally.end_to_end_ms
    values = percentiles(sample[-window:] if window else sample)
    table.add_row("end to end", *(f"{value:,.1f} ms" for value in values.values()), style="bold")
    return table


def _quality(tally: Tally) -> Text:
    model, popularity = tally.quality.model, tally.quality.popularity
    return Text.assemble(
        "prequential  ",
        (f"NDCG@10 {model.ndcg:.4f}  HR@10 {model.hit_rate:.4f}", "bold"),
        f"   popularity  {popularity.ndcg:.4f}  {popularity.hit_rate:.4f}"
        f"   over {model.queries:,} queries",
    )


def _of(done: int, total: int | None) -> str:
    return f"{done:,} of {total:,}" if total else f"{done:,}"
