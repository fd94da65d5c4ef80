"""The command that kills and freezes workers and brokers, and checks that no answer is lost."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from streams.cli.common import (
    ConfigFlag,
    DataFlag,
    JsonFile,
    SeedFlag,
    SetFlag,
    chosen_dataset,
    effective_settings,
    err,
    one_line_errors,
    out,
    write_json,
)
from streams.tools.printable import printable


class Delivery(StrEnum):
    """The values of `worker.delivery`."""

    leased = "leased"
    transactional = "transactional"


def torture(
    events: Annotated[int, typer.Option(min=100, help="Events to send.")] = 50_000,
    kills: Annotated[int, typer.Option(min=0, help="Workers to kill (SIGKILL).")] = 100,
    freezes: Annotated[
        int, typer.Option(min=0, help="Workers to freeze (SIGSTOP) for one to two sessions.")
    ] = 20,
    broker_kills: Annotated[int, typer.Option(min=0, help="Times to kill the broker.")] = 5,
    workers: Annotated[
        int, typer.Option(min=1, help="Most workers at a time; they join and leave.")
    ] = 3,
    partitions: Annotated[int, typer.Option(min=1, help="Partitions of the topics.")] = 1,
    rubbish: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Malformed messages, and as many repeated events, for each event."
        ),
    ] = 0.02,
    following: Annotated[
        int,
        typer.Option(min=0, help="Events that are sent afterwards, to compare the final state."),
    ] = 10_000,
    session: Annotated[
        float, typer.Option(min=1, help="Seconds after which a silent worker leaves the group.")
    ] = 6.0,
    delivery: Annotated[
        Delivery, typer.Option(help="How the workers write answers.")
    ] = Delivery.leased,
    data: DataFlag = None,
    logs: Annotated[Path | None, typer.Option(help="Folder for the workers' logs.")] = None,
    json_file: JsonFile = None,
    seed: SeedFlag = 0,
    config: ConfigFlag = None,
    set_: SetFlag = None,
) -> None:
    """Kill and freeze workers and a real Kafka while events are answered, then count the answers.

    Exits 1 if an event is lost, answered twice, or answered differently than without faults.

    Example: millrace torture --data ml-100k --events 50000 --json report.json
    """
    from streams.tools.torture.report import passed  # noqa: PLC0415
    from streams.tools.torture.run import Torture, TortureError  # noqa: PLC0415
    from streams.tools.torture.view import View, print_report  # noqa: PLC0415

    with one_line_errors():
        settings = effective_settings(config, set_)
        dataset = chosen_dataset(data, None if data else events + following, seed, strict=False)
        run = Torture(
            settings.model_copy(
                update={
                    "topics": settings.topics.model_copy(update={"partitions": partitions}),
                    "worker": settings.worker.model_copy(
                        update={"session_seconds": session, "delivery": delivery.value}
                    ),
                }
            ),
            dataset, events, kills, freezes, broker_kills, workers, seed, rubbish, following, logs,
        )  # fmt: skip
        try:
            with View(run, err):
                report = run.run()
        except TortureError as error:
            err.print(f"[red]millrace:[/] {escape(printable(str(error)))}", highlight=False)
            raise typer.Exit(1) from None
        print_report(out, report)
        write_json(json_file, report)
        if not passed(report):
            raise typer.Exit(1)
