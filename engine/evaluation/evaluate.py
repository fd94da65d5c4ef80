"""`millrace evaluate`: the engine alone over a data set, with progress and a readable report."""

from __future__ import annotations

from itertools import islice
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from engine.datasets import Dataset
from engine.evaluation.prequential import PrequentialEvaluator
from engine.evaluation.provenance import provenance
from engine.settings import EngineSettings

FEW_QUERIES = 1_000
"""With fewer queries than this the report says that it means little."""


def evaluate_dataset(
    settings: EngineSettings, dataset: Dataset, limit: int | None, seed: int, console: Console
) -> dict[str, Any]:
    """Evaluate prequentially; returns the report as `--json` writes it."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[quality]}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    ) as bars:
        task = bars.add_task("reading", total=None, quality="")

        def on_read(done: int, total: int) -> None:
            bars.update(task, completed=done, total=total or None)

        items = list(dataset.items())
        bars.update(task, description="encoding", completed=0, total=len(items))
        evaluator = PrequentialEvaluator(
            settings, bars.track(items, task_id=task, description="encoding")
        )
        bars.update(task, description="reading", completed=0)
        stream = islice(dataset.interactions(on_read), limit)
        for done in evaluator.run(stream):
            if done == 1 or done % 250 == 0:
                counts = [n for n in (dataset.count, limit) if n is not None]
                quality = f"NDCG@10 {evaluator.whole.ndcg:.4f}"
                bars.update(
                    task,
                    description="events",
                    completed=done,
                    total=min(counts, default=None),
                    quality=quality,
                )
    report = evaluator.report() | {"malformed": dataset.problems.count}
    return report | provenance(f"{dataset.name} ({dataset.format})", seed)


def unmeasured(report: dict[str, Any], dataset: Dataset) -> str | None:
    """Why nothing could be measured, and what to do about it; None if something was."""
    how = "; ".join(dataset.choices)
    if not report["events"]:
        problems = dataset.problems.malformed
        what = (
            f"all {dataset.problems.count:,} rows are malformed, the first is {problems[0]}"
            if problems
            else "it holds no row"
        )
        return f"no event could be read of {dataset.name} ({how}): {what}"
    if not report["queries"] and not report["repeats"]:
        return (
            f"no user of {dataset.name} has a second event, so nothing can be measured: "
            f"{report['events']:,} events ({how}); was the right column taken for the user? Name "
            "it with --columns user=NAME"
        )
    return None


def _few(report: dict[str, Any]) -> str | None:
    """A remark for people if there are too few queries to mean much; None otherwise."""
    if report["queries"] >= FEW_QUERIES:
        return None
    return (
        f"{report['queries']:,} queries are too few to mean much: the standard error of NDCG@10 "
        f"is {report['standard_error']:.4f}"
    )


def print_evaluation(console: Console, report: dict[str, Any]) -> None:
    """The report as two tables, and lines on what was read and where it comes from."""
    quality = Table(box=box.SIMPLE, title=escape(report["data"]), title_justify="left")
    for column in ("", "NDCG@10", "HR@10", "MRR@10", "queries"):
        quality.add_column(column, justify="right" if column else "left")
    rows = {"whole stream": report} | {
        name.replace("_", " "): report[name]
        for name in ("second_half", "batch_strict", "cold_items", "cold_users", "first_events")
    }
    rows |= {name.replace("_", " "): row for name, row in report["baselines"].items()}
    if report["repeats"]:
        rows |= {
            f"with repeats: {name.replace('_', ' ')}": row
            for name, row in report["with_repeats"].items()
        }
    for name, row in rows.items():
        quality.add_row(
            name, f"{row['ndcg@10']:.4f}", f"{row['hr@10']:.4f}", f"{row['mrr@10']:.4f}",
            f"{row['queries']:,}",
        )  # fmt: skip
    console.print(quality)
    latency = Table(box=box.SIMPLE)
    latency.add_column("µs")
    for percentile in ("p50", "p99", "p99.9"):
        latency.add_column(percentile, justify="right")
    for stage, values in report["latency_us"].items():
        if values:
            latency.add_row(stage, *(f"{values[key]:,.0f}" for key in ("p50", "p99", "p99_9")))
    console.print(latency)
    console.print(_read(report), highlight=False, markup=False, soft_wrap=True)
    if (few := _few(report)) is not None:
        console.print(few, style="yellow", highlight=False, soft_wrap=True)
    console.print(
        f"[dim]coverage@10 {report['coverage@10']:.3f} · seed {report['seed']} · "
        f"millrace {report['version']} · {report['machine']}"
    )


def _read(report: dict[str, Any]) -> str:
    span = report["span"]
    days = f", {span['first'][:10]} to {span['last'][:10]}" if span else ""
    return (
        f"{report['events']:,} events of {report['users']:,} users with {report['items']:,} items"
        f"{days}; {report['repeats']:,} repeats are left out of all rows but those with repeats, "
        f"{report['dislikes']:,} dislikes are no queries, {report['malformed']:,} rows were "
        "malformed"
    )
