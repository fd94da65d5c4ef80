"""The command that says how many partitions and workers a load needs."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from streams.cli.common import (
    ConfigFlag,
    JsonFlag,
    SetFlag,
    effective_settings,
    one_line_errors,
    out,
)


def plan(
    events_per_second: Annotated[
        float, typer.Option(min=0.001, help="Events of all users a second, at the busiest time.")
    ],
    users: Annotated[int, typer.Option(min=1, help="Users to be known at a time.")],
    items: Annotated[int, typer.Option(min=1, help="Items of the catalogue.")],
    taken: Annotated[
        int, typer.Option(min=0, help="Items that a user has taken, on average.")
    ] = 50,
    costs: Annotated[
        bool,
        typer.Option(
            "--costs", help="Also show each measured cost, and the command that measured it."
        ),
    ] = False,
    json_lines: JsonFlag = False,
    config: ConfigFlag = None,
    set_: SetFlag = None,
) -> None:
    """Say how many partitions and workers a load needs, with how much memory and network.

    The costs were measured on one machine: try a part of the load on yours before you buy.

    Example: millrace plan --events-per-second 2000 --users 1000000 --items 100000
    """
    with one_line_errors():
        from streams.tools.planning.plan import plan as planned  # noqa: PLC0415
        from streams.tools.planning.table import print_plan  # noqa: PLC0415

        settings = effective_settings(config, set_)
        found = planned(events_per_second, users, items, settings, taken)
        if json_lines:
            print(json.dumps(found.as_json()))
        else:
            print_plan(out, found, costs)
