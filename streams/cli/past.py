"""Commands that recompute past answers; they only read."""

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
    require_rights,
    write_json,
)
from streams.settings import Settings

_MOMENT = "as 2026-03-01T18:30:00 (UTC, unless it says otherwise) or seconds since the epoch."


def audit(
    from_: Annotated[
        str | None, typer.Option("--from", help=f"Only interactions from this moment on, {_MOMENT}")
    ] = None,
    to: Annotated[
        str | None, typer.Option("--to", help="Only interactions up to this moment.")
    ] = None,
    last: Annotated[
        int | None, typer.Option(min=1, help="Only the last N of each partition.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Also compare answers of other models.")
    ] = False,
    json_file: JsonFile = None,
    model: ModelFlag = None,
    config: ConfigFlag = None,
    set_: SetFlag = None,
    broker: BrokerFlag = None,
) -> None:
    """Recompute past answers from a checkpoint and the log, and compare them; read-only.

    Exits 0 if all are equal, 1 if some differ or are missing, 2 if they cannot be compared.

    Example: millrace audit --last 10000 --broker localhost:9092
    """
    with one_line_errors():
        from streams.tools.past.audit import Range  # noqa: PLC0415
        from streams.tools.past.audit import audit as compare  # noqa: PLC0415
        from streams.tools.past.view import print_report  # noqa: PLC0415

        if last is not None and from_ is not None:
            raise typer.BadParameter("give --from or --last")
        asked = Range(_moment("--from", from_), _moment("--to", to), last)
        settings = _readable(effective_settings(config, set_, broker, model))
        with _progress() as on_progress:
            report = compare(settings, asked, force, on_progress)
        print_report(out, report)
        write_json(json_file, report)
        if not report["all_equal"]:
            raise typer.Exit(1)


def at(
    moment: Annotated[str, typer.Argument(metavar="TIME", help=f"When, {_MOMENT}")],
    user: Annotated[str, typer.Option(help="Whose list.")],
    k: Annotated[int | None, typer.Option(min=1, help="Length of the list.  [engine.k]")] = None,
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
        from streams.tools.past.questions import list_at  # noqa: PLC0415
        from streams.tools.past.view import print_list  # noqa: PLC0415

        moment_ms = _moment("TIME", moment) or 0
        settings = _readable(effective_settings(config, set_, broker, model))
        with _progress() as on_progress:
            found = list_at(settings, moment_ms, user, k, on_progress)
        print_list(out, found)
        write_json(json_file, found)


def explain(
    event_id: Annotated[str, typer.Argument(metavar="EVENT_ID", help="Whose answer.")],
    without: Annotated[
        str | None,
        typer.Option(
            metavar="EVENT_ID", help="Also compute the list without this event of the user."
        ),
    ] = None,
    json_file: JsonFile = None,
    model: ModelFlag = None,
    config: ConfigFlag = None,
    set_: SetFlag = None,
    broker: BrokerFlag = None,
) -> None:
    """Recompute an answer, and show what each feature added to its scores; read-only.

    Exits 1 if the recomputed answer is not the one on the topic.

    Example: millrace explain 17 --without 3
    """
    with one_line_errors():
        from streams.tools.past.questions import explain as explained  # noqa: PLC0415
        from streams.tools.past.view import print_explanation  # noqa: PLC0415

        settings = _readable(effective_settings(config, set_, broker, model))
        with _progress() as on_progress:
            found = explained(settings, event_id, without, on_progress)
        print_explanation(out, found)
        write_json(json_file, found)
        if not found["equal"]:
            raise typer.Exit(1)


def _readable(settings: Settings) -> Settings:
    """The settings, once their broker has answered and granted Read on the topics."""
    from streams.kafka import rights  # noqa: PLC0415

    require_rights(settings, rights.of_audit(settings))
    return settings


def _moment(name: str, given: str | None) -> int | None:
    from engine.fields.times import Clock  # noqa: PLC0415

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
