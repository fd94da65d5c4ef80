"""A replay's progress: bars for people, JSON lines for programs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import (
    Progress as Bars,
)

from streams.tools.replay import OnProgress, Progress

_LINE_SECONDS = 0.2


@contextmanager
def replay_progress(json_lines: bool, console: Console) -> Iterator[OnProgress]:
    """What a replay reports to, while the context lasts."""
    if json_lines:
        yield _json_lines()
        return
    with Bars(
        TextColumn("{task.description:>16}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=console,
    ) as bars:
        tasks: dict[str, TaskID] = {}

        def on_progress(progress: Progress) -> None:
            if progress.phase not in tasks:
                tasks[progress.phase] = bars.add_task(progress.phase, total=None, rate="")
            task = tasks[progress.phase]
            speed = bars.tasks[task].speed
            bars.update(
                task,
                completed=progress.done,
                total=progress.total,
                rate=f"{speed:,.0f}/s" if speed else "",
            )

        yield on_progress


def _json_lines() -> OnProgress:
    last: dict[str, float] = {}

    def on_progress(progress: Progress) -> None:
        now = time.monotonic()
        if now - last.get(progress.phase, 0.0) > _LINE_SECONDS:
            last[progress.phase] = now
            print(json.dumps(asdict(progress)), flush=True)

    return on_progress
