"""The command that asks a worker for its health."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

import typer
from rich.markup import escape

from streams.cli.asking import NoAnswerError, ask_worker, refusal
from streams.cli.common import ConfigFlag, SetFlag, effective_settings, err, one_line_errors, out
from streams.tools.printable import printable


def health(
    live: Annotated[
        bool, typer.Option("--live", help="Ask only whether it answers, ready or not.")
    ] = False,
    config: ConfigFlag = None,
    set_: SetFlag = None,
) -> None:
    """Ask this machine's worker whether it is ready; exits 1, with the reason, if it is not.

    Example: millrace health
    """
    with one_line_errors():
        web = effective_settings(config, set_).web
        try:
            status, answer = ask_worker(web, f"health/{'live' if live else 'ready'}")
            told = str(answer.get("status")) if status == HTTPStatus.OK else refusal(answer)
        except NoAnswerError as error:
            status, told = 0, str(error)
        if status == HTTPStatus.OK:
            out.print(escape(printable(told)))
            return
        err.print(f"[red]millrace:[/] {escape(printable(told))}", highlight=False)
        raise typer.Exit(1)
