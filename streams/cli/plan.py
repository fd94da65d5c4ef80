"""The command that says what a load needs."""

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
        float, typer.Option(min=0.001, help="Of all users, at the busiest time.")
    ],
    users: Annotated[int, typer.Option(min=1, help="Users that are to be known.")],
    items: Annotated[int, typer.Option(min=1, help="Items of the catalogue.")],
    taken: Annotated[int, typer.Option(min=0, help="Items that a user took, on average.")] = 50,
    costs: Annotated[
        bool, typer.Option("--costs", help="With each measured cost, and what measured it.")
    ] = False,
    json_lines: JsonFlag = False,
    config: ConfigFlag = None,
    set_: SetFlag = None,
) -> None:
    """Say how many partitions and workers a load needs, with how much memory and network.

    From measured costs, which are of one machine: try with a part of the load before you buy.

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
