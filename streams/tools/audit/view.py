"""An audit's report, and a list of the past, for people."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from streams.tools.printable import printable


def print_report(console: Console, report: dict[str, Any]) -> None:
    """What was equal and what was not; the first difference, side by side."""
    table = Table(box=None, show_header=False)
    for name, value in _rows(report):
        table.add_row(name, value)
    console.print(table)
    if report["first_difference"]:
        _print_difference(console, report["first_difference"])


def _rows(report: dict[str, Any]) -> list[tuple[str, str]]:
    model = report["model"]
    rows = [
        ("model", f"{model['name']} {model['version']} ({model['digest']})"),
        ("begins at", report["start"]),
        ("interactions", f"{report['messages']:,} ({report['applied_before']:,} before them)"),
        ("equal", f"{report['equal']:,}"),
        ("different", f"{report['different']:,}"),
        ("without an answer", f"{report['missing']:,}"),
        ("repeated events and dead letters", f"{report['unanswered']:,}"),
    ]
    if report["different"]:
        told = f"{report['same_items']:,}, scores differ by {report['most_score_difference']:.2g}"
        rows.insert(5, ("  of these, with the same items", told))
    if report["expired"]:
        rows.append(("answers that the topic has dropped", f"{report['expired']:,}"))
    if report["repeated"]:
        rows.append(("answers that came again", f"{report['repeated']:,}"))
    if report["unreadable"]:
        rows.append(("unreadable on the topic of answers", f"{report['unreadable']:,}"))
    speed = f"{report['seconds']:,.1f} s, {report['events_per_second']:,} events/s"
    return [*rows, ("took", speed)]


def _print_difference(console: Console, difference: dict[str, Any]) -> None:
    given, computed = difference["given"], difference["computed"]
    place = f"partition {difference['partition']}, offset {difference['offset']}"
    console.print(f"\nthe first difference, at {place}", style="bold", highlight=False)
    table = Table("", "on the topic", "computed again")
    sides = [side if isinstance(side, dict) else {} for side in (given, computed)]
    for name in ("event_id", "user", "item", "kind", "timestamp"):
        _add(table, name, *(str(side.get(name, "")) for side in sides))
    lists = [side.get("items", []) for side in sides]
    for place_, (one, other) in enumerate(_paired(*lists), 1):
        _add(table, str(place_), _item(one), _item(other))
    for side, name in ((given, "on the topic"), (computed, "computed again")):
        if isinstance(side, str):
            table.caption = f"{name}: {escape(printable(side))}"
    console.print(table)


def print_list(console: Console, found: dict[str, Any]) -> None:
    """A user's list of the past; beside the one without certain events, if that was asked for."""
    told = "" if found["known"] else ", who was not known then"
    console.print(f"{escape(printable(found['user']))}{told}", style="bold", highlight=False)
    other = found.get("other")
    if other is None:
        table = Table("", "item", "score", "reason")
        for place, item in enumerate(found["items"], 1):
            reason = escape(printable(item["reason"]))
            table.add_row(
                str(place), escape(printable(item["item"])), f"{item['score']:.4f}", reason
            )
    else:
        table = Table("", "then", f"without {escape(printable(', '.join(other['without'])))}")
        for place, (one, without) in enumerate(_paired(found["items"], other["items"]), 1):
            _add(table, str(place), _named(one), _named(without))
    console.print(table)
    model = found["model"]
    console.print(
        f"{found['applied']:,} interactions applied, beginning at {found['start']}; "
        f"model {model['digest']}",
        highlight=False,
    )


def _add(table: Table, name: str, one: str, other: str) -> None:
    style = "" if one == other else "bold red"
    table.add_row(name, escape(printable(one)), escape(printable(other)), style=style)


def _paired(one: list[Any], other: list[Any]) -> list[tuple[Any, Any]]:
    length = max(len(one), len(other))
    pad = [None] * length
    return list(zip((one + pad)[:length], (other + pad)[:length], strict=True))


def _item(item: dict[str, Any] | None) -> str:
    return f"{item['item']}  {item['score']!r}  {item['reason']}" if item else ""


def _named(item: dict[str, Any] | None) -> str:
    return f"{item['item']}  {item['reason']}" if item else ""
