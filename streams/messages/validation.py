"""Why a message does not fit: its field, its value and what was expected.

msgspec names the field at fault but not its value. The value is looked up in what
`streams.messages.json_reader` made of the same bytes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec

from engine.events import EARLIEST_MS, LATEST_MS
from streams.messages.bad_message import BadMessage, Number, field_name, joined, shown, too_deep

UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""All that a msgspec decoder raises on bytes."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")
_MILLISECONDS = "timestamps are milliseconds since the epoch"

T = TypeVar("T")


def decoded(decoder: msgspec.json.Decoder[T], value: bytes, document: dict[str, Any]) -> T:
    """What `decoder` makes of `value`, whose `document` has been read.

    Raises
    ------
    BadMessage
        Naming the field and its value, if it does not fit.
    """
    try:
        return decoder.decode(value)
    except UNREADABLE as error:
        raise explained(error, document) from None


def converted(fields: dict[str, Any], type_: type[T], prefix: str = "") -> T:
    """`fields`, whose names in the message begin with `prefix`, as a `type_`.

    Raises
    ------
    BadMessage
        Naming the field and its value, if a constraint of `type_` is not met.
    """
    try:
        return msgspec.convert(fields, type_)
    except msgspec.ValidationError as error:
        raise explained(error, fields, prefix) from None


def explained(  # noqa: PLR0911
    error: Exception, document: dict[str, Any], prefix: str = ""
) -> BadMessage:
    """The error of a decoder in words of the message that it refused."""
    if isinstance(error, RecursionError):
        return too_deep()
    if not isinstance(error, msgspec.ValidationError):
        return BadMessage("NotJson", str(error))
    what, at, path = str(error).rpartition(" - at `")
    if not at:
        what, path = path, ""
    path = path.rstrip("`")
    got = re.search(r"got `(\w+)`$", what)
    label, value = _walk(document, path, got[1] if got else "")
    label = prefix + label
    if what.startswith("Object missing required field"):
        name = what.split("`")[1]
        state = "null" if name in value else "missing"
        field = joined(label, name) if path else prefix + name
        return BadMessage("MissingField", f"{field}: {state}; the message has {shown([*value])}")
    if "matching regex" in what and (control := _CONTROL.search(value)):
        return BadMessage(
            "OutOfRange",
            f"{label}: {shown(value)} holds the control character {control[0]!r}; ids have none",
        )
    if "matching regex" in what or "of length >= " in what:
        return BadMessage("EmptyId", f"{label}: {shown(value)} is blank; expected an id")
    if "of length <= " in what:
        most, unit = what.rpartition(" ")[2], "characters" if isinstance(value, str) else "entries"
        return BadMessage(
            "TooLong", f"{label}: {shown(value)} has {len(value)} {unit}; at most {most} are taken"
        )
    expected = what[0].lower() + what[1:]
    if got is None:  # a bound, or a number that no type holds
        if label.rpartition(".")[2] == "timestamp" and re.fullmatch(r"-?\d+", str(value)[:40]):
            # more digits than any unit has: Python refuses to parse thousands
            return timestamp_out_of_range(label, str(value)[:80], int(str(value)[:40]))
        return BadMessage("OutOfRange", f"{label}: {shown(value)}; {expected}")
    if label.rpartition(".")[2] == "timestamp":
        expected += f"; {_MILLISECONDS}, a whole number"
    return BadMessage("WrongType", f"{label or 'the value'}: {shown(value)}; {expected}")


def unknown_kind(label: str, value: object, known: tuple[str, ...]) -> BadMessage:
    """The error of a kind that is not in the table."""
    return BadMessage(
        "UnknownKind",
        f"{label}: {shown(value)} is unknown; known are {', '.join(known)}; [kinds] adds others",
    )


def timestamp_out_of_range(label: str, value: str, ms: int) -> BadMessage:
    """The error of a timestamp before 1990 or after 2100, with a guess at the unit it is in.

    Parameters
    ----------
    label, value
        The field, and what it says.
    ms
        The same in milliseconds since the epoch.
    """
    side = "before 1990" if ms < EARLIEST_MS else "after 2100"
    units = {"seconds": ms * 1_000, "microseconds": ms // 1_000, "nanoseconds": ms // 1_000_000}
    guesses = [unit for unit, in_ms in units.items() if EARLIEST_MS <= in_ms <= LATEST_MS]
    hint = f" (these look like {guesses[0]})" if guesses else ""
    return BadMessage(
        "OutOfRange", f"{label}: {shown(Number(value))} is {side}; {_MILLISECONDS}{hint}"
    )


def _walk(document: Any, path: str, got: str) -> tuple[str, Any]:
    """Where a path of msgspec leads, and what is there.

    A path names no key of `properties`: `$.properties[...]`, or `$.properties[...][0]` where the
    value of that key is a list. The first entry that can be meant is taken.
    """
    label, value = "", document
    steps = list(_STEP.finditer(path))
    for number, step in enumerate(steps):
        name, index = step.groups()
        if name is not None:
            label, value = joined(label, name), value.get(name)
        elif index != "...":
            label, value = f"{label}[{index}]", value[int(index)]
        else:
            inner = steps[number + 1 :]
            for key, entry in _entries(value, inner[0][2] if inner else None):
                if _unwanted(entry, got):
                    return joined(label, key), entry
            return label, value
    return label, value


def _entries(properties: dict[str, Any], index: str | None) -> Iterator[tuple[str, Any]]:
    for key, entry in properties.items():
        if index is None:
            yield field_name(key), entry
        elif isinstance(entry, list) and len(entry) > int(index):
            yield f"{field_name(key)}[{index}]", entry[int(index)]


def _unwanted(value: Any, got: str) -> bool:
    """Whether the value is what msgspec got; where it got nothing, whether no float holds it."""
    if got:
        return isinstance(value, {"object": dict, "array": list}.get(got, object))
    return isinstance(value, Number) and math.isinf(float(value))
