"""Audits, lists of the past and explanations, for people."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from streams.tools.printable import printable

_FEATURES = 4
"""Features of an item that are shown: those that add or take most."""


def print_report(console: Console, report: dict[str, Any]) -> None:
    """What was equal and what was not; the first difference, side by side."""
    table = Table(box=None, show_header=False)
    for name, value in _rows(report):
        table.add_row(name, value)
    console.print(table)
    if report["first_difference"]:
        _print_difference(console, report["first_difference"])


def _rows(report: dict[str, Any]) -> list[tuple[str, str]]:
    rows = [
        ("interactions", f"{report['messages']:,}, {_offsets(report['offsets'])}"),
        ("equal", f"{report['equal']:,}"),
        ("different", f"{report['different']:,}"),
        ("without an answer", f"{report['missing']:,}"),
        ("repeated events and dead letters", f"{report['unanswered']:,}"),
        ("workers that answered", f"{report['workers']:,}"),
        *_state(report),
    ]
    if report["different"]:
        told = f"{report['same_items']:,}, scores differ by {report['most_score_difference']:.2g}"
        rows.insert(3, ("  of these, with the same items", told))
    if report["repeated"]:
        rows.append(("answers that came again", f"{report['repeated']:,}"))
    if any(report["rebuilt"].values()):
        equal, different = report["rebuilt"]["equal"], report["rebuilt"]["different"]
        rows.append(("states without who was forgotten", f"{equal} equal, {different} different"))
    if report["unreadable"]:
        rows.append(("unreadable on the topic of answers", f"{report['unreadable']:,}"))
    speed = f"{report['seconds']:,.1f} s, {report['events_per_second']:,} events/s"
    return [*rows, ("took", speed)]


def _offsets(ranges: dict[int, list[int]]) -> str:
    told = [
        f"{first} to {end - 1} of partition {number}" if first < end else f"none of {number}"
        for number, (first, end) in ranges.items()
    ]
    return f"offsets {', '.join(told)}"


def _state(found: dict[str, Any]) -> list[tuple[str, str]]:
    model = found["model"]
    starts = ", ".join(start or "an empty engine" for start in found["starts"])
    return [
        ("model", escape(f"{printable(model['name'])} {model['version']} ({model['digest']})")),
        ("begun with", escape(printable(starts))),
        ("events applied", f"{found['applied']:,}"),
    ]


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
    """A user's list of the past."""
    told = "" if found["known"] else ", who was not known then"
    console.print(f"{escape(printable(found['user']))}{told}", style="bold", highlight=False)
    table = Table("", "item", "score", "reason")
    for place, item in enumerate(found["items"], 1):
        reason = escape(printable(item["reason"]))
        table.add_row(str(place), escape(printable(item["item"])), f"{item['score']:.4f}", reason)
    console.print(table)
    _print_state(console, found)


def print_explanation(console: Console, found: dict[str, Any]) -> None:
    """What made the scores of an answer, and the list without an event if that was asked for."""
    title = f"answer to event {found['event_id']} of user {found['user']}"
    console.print(escape(printable(title)), style="bold", highlight=False)
    table = Table("", "item", "score", "bias and the features that count most", "goes with")
    for place, item in enumerate(found["items"], 1):
        table.add_row(
            str(place), escape(printable(item["item"])), f"{item['score']:.4f}",
            _features(item["features"]), _origins(item["goes_with"]),
        )  # fmt: skip
    console.print(table)
    if "other" in found:
        without = Table("", "answer", f"without {escape(printable(found['without']))}")
        for place, (one, other) in enumerate(_paired(found["items"], found["other"]), 1):
            _add(without, str(place), _named(one), _named(other))
        console.print(without)
    if not found["equal"]:
        console.print("computed again, it is not the answer on the topic", style="bold red")
    _print_state(console, found)


def _origins(own: list[dict[str, Any]]) -> str:
    return "\n".join(
        f"{escape(printable(each['title']))} ({max(each['together'], each['text']):.2f})"
        for each in own[:2]
    )


def _features(features: dict[str, float]) -> str:
    most = sorted(features.items(), key=lambda pair: -abs(pair[1]))
    shown = [f"{name} {value:+.3f}" for name, value in most[:_FEATURES]]
    rest = most[_FEATURES:]
    if rest:
        shown.append(f"{len(rest)} others {sum(value for _, value in rest):+.3f}")
    return ", ".join(shown)


def _print_state(console: Console, found: dict[str, Any]) -> None:
    table = Table(box=None, show_header=False)
    for name, value in _state(found):
        table.add_row(name, value)
    console.print(table)


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
