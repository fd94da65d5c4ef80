"""A torture run in the terminal: how far it is, and one line of what came of it."""

from __future__ import annotations

from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from streams.tools.torture.report import passed
from streams.tools.torture.run import Torture


class View:
    """A bar of what is answered, and what has been done to whom."""

    def __init__(self, run: Torture, console: Console) -> None:
        self._run = run
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[done]}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._task = self._bars.add_task(run.phase, total=run.events, done="")
        run.on_tick = self._show

    def _show(self) -> None:
        run = self._run
        done = " · ".join(f"{count} {name}" for name, count in sorted(run.done.items()))
        self._bars.update(
            self._task,
            description=run.phase,
            completed=min(run.events_answered, run.events),
            done=done,
        )

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()


def print_report(console: Console, report: dict[str, Any]) -> None:
    """What was done, what it cost and whether it held; the last line is the verdict."""
    recovery = report["recovery_seconds"]
    console.print(
        f"{report['events']:,} events, {report['malformed']:,} malformed, {report['repeats']:,} "
        f"repeated; {report['kills']} kills, {report['freezes']} freezes, "
        f"{report['broker_kills']} of the broker, {report['joins']} joins and {report['leaves']} "
        f"leaves of {report['workers']} workers, {report['partitions']} partitions"
    )
    if recovery["samples"]:
        console.print(
            f"a killed worker knew all again {recovery['median']} s after its restart (median of "
            f"{recovery['samples']}; at most {recovery['max']} s); no partition was silent for "
            f"more than {report['longest_silence_seconds']} s"
        )
    if following := report.get("following"):
        console.print(
            f"NDCG@10 on the {following['events']:,} events that follow: {following['ndcg@10']:.4f}"
            f", undisturbed {following['ndcg@10_undisturbed']:.4f}"
        )
    console.print(
        f"[dim]{report['data']} · seed {report['seed']} · millrace {report['version']} · "
        f"{report['machine']} · {report['seconds']} s"
    )
    same = "state identical" if report["state_identical"] else "state differs"
    differing = report["answers_differing"]
    console.print(
        f"{'[green]✓' if passed(report) else '[red]✗'} {report['lost']} lost, "
        f"{report['duplicates']} duplicates, {report['out_of_order']} out of order, "
        f"{report['dead_letters']} dead letters, {same}"
        + (f", {differing} answers differ" if differing else "")
    )
