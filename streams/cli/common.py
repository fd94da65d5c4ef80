"""What the commands share: flags, and one line for an error that ends them."""

from __future__ import annotations

import errno
import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, cast

import typer
from rich.console import Console
from rich.markup import escape

from streams.cli.logs import writes_json
from streams.settings import Settings, SettingsError
from streams.settings_io import load_settings
from streams.tools.printable import printable

if TYPE_CHECKING:
    from engine.datasets import Dataset
    from streams.kafka.rights import Needed

out = Console()
err = Console(stderr=True)

ConfigFlag = Annotated[
    Path | None,
    typer.Option("--config", help="Settings file; by default millrace.toml of this folder."),
]
SetFlag = Annotated[
    list[str] | None,
    typer.Option("--set", help="A setting, as section.name=value. May be repeated."),
]
BrokerFlag = Annotated[str | None, typer.Option("--broker", help="host:port of Kafka.")]
ModelFlag = Annotated[
    Path | None,
    typer.Option("--model", help="Folder of a trained model to start from (millrace train)."),
]
JsonFlag = Annotated[bool, typer.Option("--json", help="Write JSON lines, for pipes.")]


def can_be_written(file: Path | None) -> Path | None:
    """The file, once it is known before the work begins that it can be written."""
    if file is not None:
        if not file.parent.is_dir():
            raise typer.BadParameter(f"{file}: there is no folder {file.parent}")
        if file.is_dir() or not os.access(file if file.exists() else file.parent, os.W_OK):
            raise typer.BadParameter(f"{file} cannot be written")
    return file


JsonFile = Annotated[
    Path | None,
    typer.Option("--json", help="Also write the report to this file.", callback=can_be_written),
]
PageFile = Annotated[
    Path | None,
    typer.Option("--page", help="Write a page with charts to this file.", callback=can_be_written),
]
SeedFlag = Annotated[
    int, typer.Option(min=0, help="Seed of the order of ties, or of the synthetic stream.")
]
StrictFlag = Annotated[bool, typer.Option("--strict", help="Stop at the first malformed row.")]
Synthetic = Annotated[
    int | None,
    typer.Option(
        "--synthetic", min=1, metavar="N", help="Use N synthetic events in place of a data set."
    ),
]
DatasetPath = Annotated[
    list[Path] | None,
    typer.Argument(help="Events as CSV, JSON lines, Parquet, ...: a file, files or a folder."),
]
DataFlag = Annotated[
    list[Path] | None,
    typer.Option(
        "--data", help="A data set; by default a synthetic stream. May be repeated, for more files."
    ),
]
ColumnsFlag = Annotated[
    str,
    typer.Option(
        "--columns",
        help="Columns by role, as user=visitorid,item=itemid,timestamp=ts,kind=event; those with "
        "usual names are found.",
    ),
]
ItemsFlag = Annotated[
    Path | None, typer.Option("--items", help="File of the items, if it is not beside the events.")
]


def effective_settings(
    config: Path | None, set_: list[str] | None, broker: str | None = None,
    model: Path | None = None,
) -> Settings:  # fmt: skip
    overrides = list(set_ or [])
    if model is not None:
        overrides.append(f"engine.trained={json.dumps(str(model))}")
    if broker:
        overrides.append(f'broker.bootstrap="{broker}"')
    return load_settings(config, overrides)


def chosen_dataset(
    path: list[Path] | None, synthetic: int | None, seed: int, strict: bool = False,
    columns: str = "", items: Path | None = None, settings: Settings | None = None,
) -> Dataset:  # fmt: skip
    """The data set that the flags name; prints which file and column was taken for what."""
    from engine.datasets import Synthetic as SyntheticDataset  # noqa: PLC0415
    from engine.datasets import open_dataset, parse_columns  # noqa: PLC0415
    from engine.events import Kinds  # noqa: PLC0415

    if bool(path) == (synthetic is not None):
        raise typer.BadParameter("name a data set, or --synthetic N for a synthetic one")
    if not path:
        return SyntheticDataset(events=cast(int, synthetic), seed=seed)
    dataset = open_dataset(
        path, strict=strict, seed=seed, columns=parse_columns(columns), items=items,
        kinds=Kinds(settings.engine.kinds if settings else None),
    )  # fmt: skip
    for choice in dataset.choices:
        _print_text(choice)
    return dataset


def _print_text(text: str, style: str = "") -> None:
    """Print text that may quote an untrusted file: on one line, without markup."""
    err.print(printable(text), style=style, highlight=False, markup=False, soft_wrap=True)


def report_problems(dataset: Dataset) -> None:
    """Say what was wrong with the data set's files and rows."""
    problems = dataset.problems
    for note in problems.notes:
        _print_text(str(note), "yellow")
    if problems.count:
        err.print(f"[yellow]{problems.count:,} malformed rows were skipped, such as")
        for row in problems.malformed[:5]:
            _print_text(f"  {row}")


def require_rights(settings: Settings, needed: Needed) -> None:
    """Return once a broker answers and grants the rights; the error says what to do."""
    from streams.brokers import topic_partitions  # noqa: PLC0415
    from streams.kafka import rights  # noqa: PLC0415

    topic_partitions(settings.broker.bootstrap, security=settings.security)
    rights.require(settings, needed)


def write_json(file: Path | None, report: dict[str, Any]) -> None:
    if file is not None:
        file.write_text(json.dumps(report, indent=2) + "\n")


@contextmanager
def one_line_errors() -> Iterator[None]:
    """End the command with one line for an error that the user can fix; raise any other."""

    def fail(message: object, status: int) -> NoReturn:
        if writes_json():
            logging.getLogger("millrace").critical("%s", message)
        else:
            err.print(f"[red]millrace:[/] {escape(printable(str(message)))}", highlight=False)
        raise typer.Exit(status) from None

    try:
        yield
        sys.stdout.flush()  # what cannot be written is met here, and not at the exit
    except (typer.Exit, typer.BadParameter):
        raise
    except SettingsError as error:
        fail(error, 2)
    except BrokenPipeError:  # the reader of our output has closed it
        _write_no_more()
        raise typer.Exit(0) from None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            _write_no_more()
            fail(f"{error.filename or 'what was being written'} is cut short: {error.strerror}", 2)
        if error.filename is None:
            if error.errno != errno.ENOENT or "temporary directory" not in str(error):
                raise
            fail(f"{error.strerror}; set TMPDIR to a folder that can be written", 2)
        fail(f"{error.filename}: {error.strerror}; name another file or folder", 2)
    except Exception as error:
        if (ending := _message_and_status(error)) is None:
            raise
        fail(*ending)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _write_no_more() -> None:
    """Let the output that is still held go nowhere: it cannot be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _message_and_status(error: Exception) -> tuple[str, int] | None:
    """What ends a command of an error that the user can fix; None of any other."""
    # Imported once there is an error: numba and Kafka's client take longer than most commands.
    from confluent_kafka import KafkaException  # noqa: PLC0415

    from engine.datasets import DatasetError  # noqa: PLC0415
    from engine.propagation import BackendError  # noqa: PLC0415
    from engine.trained.folder import TrainedModelError  # noqa: PLC0415
    from engine.training import RecipeError, TrainingError  # noqa: PLC0415
    from streams.brokers import BrokerError  # noqa: PLC0415
    from streams.tools.demo import DemoError  # noqa: PLC0415
    from streams.tools.past.error import PastError  # noqa: PLC0415

    wrong = (
        DatasetError, BrokerError, BackendError, TrainedModelError, RecipeError, TrainingError,
        PastError,
    )  # fmt: skip
    if isinstance(error, wrong):
        return str(error), 2
    if isinstance(error, DemoError):
        return str(error), 1
    if isinstance(error, KafkaException):
        return f"Kafka: {error.args[0].str() or error.args[0].name()}", 1
    return None
