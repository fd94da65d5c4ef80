"""The command that asks a worker for its health."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Annotated

import typer
from rich.markup import escape

from streams.cli.common import ConfigFlag, SetFlag, effective_settings, err, one_line_errors, out
from streams.settings import SettingsError
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
        if not web.port:
            raise SettingsError("web.port = 0: the worker has no web server to ask")
        address = web.url(f"health/{'live' if live else 'ready'}")
        try:
            with urllib.request.urlopen(address, timeout=5.0) as answer:
                out.print(json.load(answer)["status"])
        except urllib.error.HTTPError as error:
            reason = escape(printable(str(json.load(error)["reason"])))
            err.print(f"[red]millrace:[/] {reason}", highlight=False)
            raise typer.Exit(1) from None
        except OSError as error:
            why = getattr(error, "reason", error)
            err.print(f"[red]millrace:[/] no worker answers at {address}: {why}")
            raise typer.Exit(1) from None
