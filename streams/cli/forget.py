"""The command that requests that users be forgotten, and asks a worker how far that is done."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any

import typer
from rich.markup import escape

from streams.cli.asking import ask_worker, refusal
from streams.cli.common import (
    BrokerFlag,
    ConfigFlag,
    JsonFile,
    SetFlag,
    effective_settings,
    one_line_errors,
    out,
    require_rights,
    write_json,
)
from streams.settings import Settings, SettingsError
from streams.tools.printable import printable


def forget(
    users: Annotated[
        list[str] | None, typer.Argument(metavar="[USER]...", help="Whom to forget.")
    ] = None,
    status: Annotated[
        bool, typer.Option("--status", help="Ask this machine's worker how far that is done.")
    ] = False,
    json_file: JsonFile = None,
    config: ConfigFlag = None,
    set_: SetFlag = None,
    broker: BrokerFlag = None,
) -> None:
    """Request that users be forgotten, or ask how far that is done.

    With engine.forget = exact, --status exits 1 as long as a request is not carried out exactly.

    Example: millrace forget ann bob && millrace forget --status
    """
    with one_line_errors():
        if bool(users) == status:
            raise typer.BadParameter("name users, or give --status")
        settings = effective_settings(config, set_, broker)
        if status:
            found = _status(settings)
            out.print(_told(found), highlight=False, soft_wrap=True)
            write_json(json_file, found)
            raise typer.Exit(1 if found["pending"] else 0)
        _ask(settings, users or [])
        out.print(
            f"{len(users or [])} requests written; `millrace forget --status` tells how far they "
            "are carried out",
            highlight=False, soft_wrap=True,
        )  # fmt: skip


def _ask(settings: Settings, users: list[str]) -> None:
    """Write a request for each user; returns once the broker has all."""
    import msgspec  # noqa: PLC0415

    from engine.events import Id  # noqa: PLC0415
    from streams.kafka import clients, rights  # noqa: PLC0415
    from streams.kafka.outbox import Outbox  # noqa: PLC0415
    from streams.kafka.partitioner import partition_of  # noqa: PLC0415
    from streams.messages.forget_request import forget_request  # noqa: PLC0415
    from streams.messages.schemas import encode  # noqa: PLC0415

    for user in users:
        try:
            msgspec.convert(user, Id)
        except msgspec.ValidationError as error:
            raise SettingsError(f"user {user!r}: {error}") from None
    require_rights(settings, rights.of_forget(settings))
    topic, outbox = settings.topics.interactions, Outbox(settings)
    partitions = len(clients.partitions(outbox.producer, topic))
    for user in users:
        event = encode(forget_request(user))
        outbox.send(topic, event, user, partition_of(user, partitions))
    outbox.flush()


def _status(settings: Settings) -> dict[str, Any]:
    status, found = ask_worker(settings.web, "forgetting")
    if status != HTTPStatus.OK:
        raise SettingsError(refusal(found))
    return found


def _told(found: dict[str, Any]) -> str:
    """The status in sentences."""
    if not found["asked"]:
        return "nobody has asked to be forgotten"
    lines = []
    if found["exact"]:
        lines.append(
            f"{found['users']} users who asked before offset {found['exact']} are forgotten "
            f"exactly; the state rebuilt without them has digest {found['digest']}"
        )
    if found["forget"] == "quick":
        lines.append(
            "all who asked are forgotten, but the learnt weights keep what they taught "
            "(engine.forget = quick)"
        )
    elif found["pending"]:
        lines.append(
            "the learnt weights still hold what users taught who asked since then: the state is "
            "being rebuilt without them"
        )
    if found["failure"]:
        lines.append(f"the last attempt failed: {printable(found['failure'])}")
    return escape("\n".join(lines))
