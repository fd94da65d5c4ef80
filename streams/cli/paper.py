"""The command that measures the paper's tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streams.cli.common import (
    ColumnsFlag,
    ConfigFlag,
    DatasetPath,
    ItemsFlag,
    JsonFile,
    PageFile,
    SeedFlag,
    SetFlag,
    StrictFlag,
    Synthetic,
    chosen_dataset,
    effective_settings,
    err,
    one_line_errors,
    out,
    report_problems,
    write_json,
)


def paper(
    path: DatasetPath = None,
    columns: ColumnsFlag = "",
    items: ItemsFlag = None,
    synthetic: Synthetic = None,
    recipe: Annotated[
        list[str] | None,
        typer.Option("--recipe", help="Only this row of the table. May be repeated."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds of splits and trainings.")] = 3,
    quick: Annotated[
        bool, typer.Option("--quick", help="Few epochs, one seed: shows that all rows run.")
    ] = False,
    json_file: JsonFile = None,
    page: PageFile = None,
    work: Annotated[
        Path,
        typer.Option(
            "--work", help="Folder of finished results, from which an interrupted run continues."
        ),
    ] = Path(".cache/paper"),
    strict: StrictFlag = False,
    seed: SeedFlag = 0,
    config: ConfigFlag = None,
    set_: SetFlag = None,
) -> None:
    """Measure Tables 2 to 4 of arXiv 2507.01035: every recipe beside the paper's figures.

    Ctrl-C stops it, with a report of what is done; the same command continues from there.

    Example: millrace paper ml-100k --quick --page paper.html
    """
    with one_line_errors():
        from engine.evaluation.paper.page import page_of  # noqa: PLC0415
        from engine.evaluation.paper.terminal import print_report  # noqa: PLC0415
        from streams.tools.paper.command import measure_paper  # noqa: PLC0415

        settings = effective_settings(config, set_)
        dataset = chosen_dataset(path, synthetic, seed, strict, columns, items, settings)
        report = measure_paper(
            dataset, recipe, 1 if quick else seeds, quick, work, settings.engine, err
        )
        report_problems(dataset)
        print_report(out, report)
        write_json(json_file, report)
        if page is not None:
            page.write_text(page_of(report))
        if not report["complete"]:
            err.print(f"Interrupted. Finished results are in {work}; the same command continues.")
            raise typer.Exit(130)
        if any(row["error"] for row in report["rows"]):
            raise typer.Exit(1)
