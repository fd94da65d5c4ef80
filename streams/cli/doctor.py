"""The command that checks all that a worker needs."""

from __future__ import annotations

import json

import msgspec
import typer

from streams.cli.common import (
    BrokerFlag,
    ConfigFlag,
    JsonFlag,
    SetFlag,
    effective_settings,
    one_line_errors,
    out,
)
from streams.tools.printable import printable

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


def doctor(
    json_lines: JsonFlag = False,
    config: ConfigFlag = None,
    set_: SetFlag = None,
    broker: BrokerFlag = None,
) -> None:
    """Check all that a worker needs, and say what to do; exits 1 if something would stop it.

    Example: millrace doctor --broker kafka:9092
    """
    with one_line_errors():
        from streams.tools.doctor.examine import examine  # noqa: PLC0415

        failed = False
        for finding in examine(effective_settings(config, set_, broker)):
            failed = failed or finding.state == "fail"
            if json_lines:
                print(json.dumps(msgspec.to_builtins(finding)), flush=True)
                continue
            out.print(f"{finding.state:<5}", style=_COLOURS[finding.state], end="")
            told = printable(f"{finding.subject}: {finding.text}")
            out.print(told, markup=False, highlight=False, soft_wrap=True)
        if failed:
            raise typer.Exit(1)
