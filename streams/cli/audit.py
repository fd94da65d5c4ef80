"""Commands that compute the past again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from streams.cli.common import (
    BrokerFlag,
    ConfigFlag,
    JsonFile,
    ModelFlag,
    SetFlag,
    effective_settings,
    err,
    one_line_errors,
    out,
    write_json,
)

_MOMENT = "as 2026-03-01T18:30:00 (UTC, unless it says otherwise) or seconds since the epoch."


def audit(
    from_: Annotated[
        str | None, typer.Option("--from", help=f"Interactions since then, {_MOMENT}")
    ] = None,
    to: Annotated[str | None, typer.Option("--to", help="Interactions up to then.")] = None,
    last: Annotated[
        int | None, typer.Option(min=1, help="The last so many, an equal share of each partition.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Compare answers of another model, too.")
    ] = False,
    json_file: JsonFile = None,
    model: ModelFlag = None,
    config: ConfigFlag = None,
    set_: SetFlag = None,
    broker: BrokerFlag = None,
) -> None:
    """Compute past answers again, from a checkpoint and the log, and compare them; read-only.

    Exits 0 if all are equal, 1 if some differ or are missing, 2 if they cannot be compared.

    Example: millrace audit --last 10000 --broker localhost:9092
    """
    with one_line_errors():
        from streams.brokers import topic_partitions  # noqa: PLC0415
        from streams.kafka import rights  # noqa: PLC0415
        from streams.tools.audit.run import Range  # noqa: PLC0415
        from streams.tools.audit.run import audit as compare  # noqa: PLC0415
        from streams.tools.audit.view import print_report  # noqa: PLC0415

        if last is not None and from_ is not None:
            raise typer.BadParameter("give --from or --last")
        asked = Range(_moment("--from", from_), _moment("--to", to), last)
        settings = effective_settings(config, set_, broker, model)
        # says what to do when no broker answers
        topic_partitions(settings.broker.bootstrap, security=settings.security)
        rights.require(settings, rights.of_audit(settings))
        with _progress() as on_progress:
            report = compare(settings, asked, force, on_progress)
        print_report(out, report)
        write_json(json_file, report)
        if not report["all_equal"]:
            raise typer.Exit(1)


def at(
    moment: Annotated[str, typer.Argument(metavar="TIME", help=f"When, {_MOMENT}")],
    user: Annotated[str, typer.Option(help="Whose list.")],
    k: Annotated[int | None, typer.Option(min=1, help="Items in it.  [engine.k]")] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(
            metavar="EVENT_ID", help="As if this event of theirs had never been; may be repeated."
        ),
    ] = None,
    json_file: JsonFile = None,
    model: ModelFlag = None,
    config: ConfigFlag = None,
    set_: SetFlag = None,
    broker: BrokerFlag = None,
) -> None:
    """Show a user's list as it would have been at a moment of the past; read-only.

    Example: millrace at 2026-03-01T18:30:00 --user ann
    """
    with one_line_errors():
        from streams.brokers import topic_partitions  # noqa: PLC0415
        from streams.kafka import rights  # noqa: PLC0415
        from streams.tools.audit.run import list_at  # noqa: PLC0415
        from streams.tools.audit.view import print_list  # noqa: PLC0415

        moment_ms = _moment("TIME", moment) or 0
        settings = effective_settings(config, set_, broker, model)
        # says what to do when no broker answers
        topic_partitions(settings.broker.bootstrap, security=settings.security)
        rights.require(settings, rights.of_audit(settings))
        with _progress() as on_progress:
            found = list_at(settings, moment_ms, user, k, (), on_progress)
            if without:
                found["other"] = list_at(settings, moment_ms, user, k, without, on_progress)
        print_list(out, found)
        write_json(json_file, found)


def _moment(name: str, given: str | None) -> int | None:
    from engine.datasets.times import Clock  # noqa: PLC0415

    if given is None:
        return None
    try:
        return Clock()(name, given)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn  # noqa: PLC0415

    columns = MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bars:
        task = bars.add_task("")
        yield lambda done, total: bars.update(task, completed=done, total=total)
