"""Commands that evaluate, download data sets, and print settings and schemas."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from streams.cli.common import (
    BrokerFlag,
    ColumnsFlag,
    ConfigFlag,
    DatasetPath,
    ItemsFlag,
    JsonFile,
    ModelFlag,
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
from streams.settings_io import as_toml


def evaluate(
    path: DatasetPath = None,
    columns: ColumnsFlag = "",
    items: ItemsFlag = None,
    synthetic: Synthetic = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Read at most this many events.")] = None,
    json_file: JsonFile = None,
    page: PageFile = None,
    strict: StrictFlag = False,
    seed: SeedFlag = 0,
    model: ModelFlag = None,
    config: ConfigFlag = None,
    set_: SetFlag = None,
) -> None:
    """Measure the engine alone, without Kafka: rank each event first, then learn it.

    Example: millrace evaluate ml-100k --json report.json
    """
    with one_line_errors():
        from engine.datasets import DatasetError  # noqa: PLC0415
        from engine.evaluation.evaluate import (  # noqa: PLC0415
            evaluate_dataset,
            print_evaluation,
            unmeasured,
        )
        from streams.tools.evaluation_page import page_of  # noqa: PLC0415

        settings = effective_settings(config, set_, model=model)
        dataset = chosen_dataset(path, synthetic, seed, strict, columns, items, settings)
        report = evaluate_dataset(settings.engine, dataset, limit, seed, err)
        report_problems(dataset)
        write_json(json_file, report)
        if (why := unmeasured(report, dataset)) is not None:
            raise DatasetError(why)
        print_evaluation(out, report)
        if page is not None:
            page.write_text(page_of(report))


def config_command(
    config: ConfigFlag = None, set_: SetFlag = None, broker: BrokerFlag = None
) -> None:
    """Print the effective settings as a commented TOML file.

    Example: millrace config > millrace.toml
    """
    with one_line_errors():
        print(as_toml(effective_settings(config, set_, broker)), end="")


def schemas(folder: Annotated[Path, typer.Argument(help="Folder to write them to.")]) -> None:
    """Write the JSON Schema of every message.

    Example: millrace schemas schemas/
    """
    with one_line_errors():
        from streams.messages.json_schemas import json_schemas  # noqa: PLC0415

        folder.mkdir(parents=True, exist_ok=True)
        for name, schema in json_schemas().items():
            file = folder / f"{name}.schema.json"
            file.write_text(json.dumps(schema, indent=2) + "\n")
            out.print(str(file))


def download(
    name: Annotated[
        str,
        typer.Argument(
            help="ml-100k, ml-1m, ml-latest-small, ml-20m, ml-25m or ml-32m; "
            "amazon and yelp tell what to fetch by hand."
        ),
    ],
    folder: Annotated[Path, typer.Option(help="Folder to unpack it into.")] = Path("data"),
) -> None:
    """Download a MovieLens release, check it and unpack it.

    Example: millrace download ml-1m
    """
    with one_line_errors():
        from engine.datasets import download as fetch  # noqa: PLC0415

        out.print(str(fetch(name, folder)))
