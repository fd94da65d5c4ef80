"""The command that trains a model offline."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from streams.cli.common import (
    ColumnsFlag,
    DatasetPath,
    ItemsFlag,
    SeedFlag,
    StrictFlag,
    Synthetic,
    chosen_dataset,
    err,
    one_line_errors,
    out,
    report_problems,
)
from streams.settings_io import load_settings
from streams.tools.printable import printable


def train(
    path: DatasetPath = None,
    columns: ColumnsFlag = "",
    items: ItemsFlag = None,
    recipe: Annotated[
        str, typer.Option(help="gnn, llm, hybrid, hybrid-int8, ..., or a recipe's file (.toml).")
    ] = "hybrid",
    output: Annotated[Path, typer.Option(help="Folder of the model.")] = Path("model"),
    start: Annotated[
        Path | None, typer.Option(help="Folder of the trained model that the recipe builds on.")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Epochs of the graph and the head.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Train few epochs, as a trial.")] = False,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Read at most this many interactions.")
    ] = None,
    synthetic: Synthetic = None,
    strict: StrictFlag = False,
    seed: SeedFlag = 0,
) -> None:
    """Train a recipe on a data set, in order of time, and write a model folder (extra train).

    Example: millrace train --recipe hybrid ml-100k --output models/hybrid
    """
    with one_line_errors():
        from engine.training import load_recipe  # noqa: PLC0415
        from engine.training import train as train_recipe  # noqa: PLC0415

        chosen = load_recipe(recipe)
        chosen = chosen.quick() if quick else chosen
        if epochs is not None:
            chosen = chosen.model_copy(update={"epochs": epochs})
        dataset = chosen_dataset(path, synthetic, seed, strict, columns, items, load_settings())
        interactions = list(islice(dataset.interactions(), limit))
        with _progress() as on_progress:
            report = train_recipe(
                chosen, interactions, list(dataset.items()), output,
                seed=seed, on_progress=on_progress, start=start,
            )  # fmt: skip
        report_problems(dataset)
        loss = f", loss {report.epoch_losses[-1]:.4f}" if report.epoch_losses else ""
        out.print(
            f"{output}: {chosen.name}, trained in {report.seconds:.1f} s on "
            f"{len(interactions):,} interactions of {dataset.name}, seed {seed}{loss}",
            highlight=False, markup=False,
        )  # fmt: skip
        for note in report.notes:
            out.print(f"  {printable(note)}", highlight=False, markup=False)


@contextmanager
def _progress() -> Iterator[Callable[[str, float], None]]:
    columns = (
        TextColumn("{task.description:16}"), BarColumn(), TimeElapsedColumn(),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=err, transient=True) as bars:
        task = bars.add_task("reading", total=1.0)

        def on_progress(stage: str, share: float) -> None:
            bars.update(task, description=stage, completed=share)

        yield on_progress
