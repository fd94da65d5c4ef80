"""Why a message cannot be read: its field, its value and what was expected.

msgspec names the field at fault but not its value. A message that it refuses is therefore read
once more by the standard library, which is lenient enough to show what was sent.
"""

from __future__ import annotations

import json
import math
import re
import reprlib
from collections.abc import Iterator
from typing import Any, Literal, TypeVar, get_args

import msgspec

from engine.events import EARLIEST_MS, KINDS, LATEST_MS

ErrorClass = Literal[
    "NullValue",
    "NotUtf8",
    "NotJson",
    "NotAnObject",
    "MissingField",
    "WrongType",
    "OutOfRange",
    "UnknownKind",
    "EmptyId",
    "TooLong",
    "TooDeep",
    "FutureTimestamp",
]
ERROR_CLASSES: tuple[ErrorClass, ...] = get_args(ErrorClass)

UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""All that a msgspec decoder raises on bytes."""

_CONSTANTS = ("NaN", "Infinity", "-Infinity")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")
_MILLISECONDS = "timestamps are milliseconds since the epoch"

T = TypeVar("T")


class BadMessage(ValueError):  # noqa: N818
    """A message that cannot be read.

    Attributes
    ----------
    error_class
        One of a small, stable vocabulary: the dead letter's `error.class` and a metric's label.
    message
        The field, its value (shortened) and what was expected; at most 500 characters.
    """

    def __init__(self, error_class: ErrorClass, message: str) -> None:
        super().__init__(f"{error_class}: {message}")
        self.error_class: ErrorClass = error_class
        self.message = message if len(message) <= 500 else message[:497] + "..."


class Number(str):
    """A number as the message writes it: 1e999 and 5,000 digits can be shown too."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def read(value: bytes | None) -> dict[str, Any]:
    """The message's JSON object, to recognise it by and to show values of; numbers are `Number`.

    Raises
    ------
    BadMessage
        If the bytes are no JSON object in UTF-8.
    """
    if value is None:
        raise BadMessage("NullValue", "the value is null, a tombstone; expected a JSON object")
    encoding = json.detect_encoding(value)
    if not encoding.startswith("utf-8"):
        raise BadMessage("NotUtf8", f"{shown(value[:40])} looks like {encoding}; send UTF-8")
    try:
        text = value.decode()
        document = json.loads(text, parse_int=Number, parse_float=Number, parse_constant=Number)
    except UnicodeDecodeError as error:
        near = shown(value[max(0, error.start - 20) : error.start + 20])
        raise BadMessage("NotUtf8", f"byte {error.start}, in {near}, is not UTF-8") from None
    except json.JSONDecodeError as error:
        near = shown(error.doc[max(0, error.pos - 20) : error.pos + 20])
        raise BadMessage(
            "NotJson", f"not JSON at character {error.pos}, in {near}: {error.msg}"
        ) from None
    except RecursionError:
        raise _too_deep() from None
    if not isinstance(document, dict):
        raise BadMessage("NotAnObject", f"the value is {shown(document)}; expected a JSON object")
    for label, leaf in _leaves(document):
        if isinstance(leaf, Number) and leaf in _CONSTANTS:
            raise BadMessage("NotJson", f"{label}: {leaf} is not a number in JSON; leave it out")
        if _SURROGATE.search(leaf):
            raise BadMessage(
                "NotUtf8", f"{label}: {shown(leaf)} holds half a surrogate pair, which is no text"
            )
    return document


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
        return _too_deep()
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
        field = _joined(label, name) if path else prefix + name
        return BadMessage("MissingField", f"{field}: {state}; the message has {shown([*value])}")
    if what.startswith("Invalid enum value"):
        return unknown_kind(label, value, KINDS)
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
        if label.rpartition(".")[2] == "timestamp" and re.fullmatch(r"-?\d+", str(value)):
            # more digits than any unit has: Python refuses to parse thousands
            return timestamp_out_of_range(label, str(value), int(str(value)[:40]))
        return BadMessage("OutOfRange", f"{label}: {shown(value)}; {expected}")
    if label.rpartition(".")[2] == "timestamp":
        expected += f"; {_MILLISECONDS}, a whole number"
    return BadMessage("WrongType", f"{label or 'the value'}: {shown(value)}; {expected}")


def unknown_kind(label: str, value: object, known: tuple[str, ...]) -> BadMessage:
    """The error of a kind that is not in the table."""
    return BadMessage(
        "UnknownKind", f"{label}: {shown(value)} is unknown; known are {', '.join(known)}"
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


def shown(value: object) -> str:
    """The value in at most 80 characters, all of them printable."""
    text = _SHORT.repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


class _Short(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 2
        self.maxstring = self.maxother = 60

    def repr_NoneType(self, _value: None, _level: int) -> str:  # noqa: N802
        return "null"

    def repr_bool(self, value: bool, _level: int) -> str:
        return "true" if value else "false"


_SHORT = _Short()


def _too_deep() -> BadMessage:
    return BadMessage("TooDeep", "nested too deeply; properties hold values and lists of values")


def _joined(label: str, name: str) -> str:
    return f"{label}.{name}" if label else name


def _name(key: str) -> str:
    return key if key.isidentifier() and len(key) <= 40 else shown(key)


def _leaves(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Every string and number of the document, keys among them, with where it is."""
    stack: list[tuple[str, Any]] = [("", document)]
    while stack:  # recursion would meet its limit on what json just managed to read
        label, value = stack.pop()
        if isinstance(value, dict):
            for key, entry in value.items():
                place = _joined(label[:200], _name(key))
                yield place, key
                stack.append((place, entry))
        elif isinstance(value, list):
            stack.extend((f"{label[:200]}[{i}]", entry) for i, entry in enumerate(value))
        elif isinstance(value, str):
            yield label, value


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
            label, value = _joined(label, name), value.get(name)
        elif index != "...":
            label, value = f"{label}[{index}]", value[int(index)]
        else:
            inner = steps[number + 1 :]
            for key, entry in _entries(value, inner[0][2] if inner else None):
                if _unwanted(entry, got):
                    return _joined(label, key), entry
            return label, value
    return label, value


def _entries(properties: dict[str, Any], index: str | None) -> Iterator[tuple[str, Any]]:
    for key, entry in properties.items():
        if index is None:
            yield _name(key), entry
        elif isinstance(entry, list) and len(entry) > int(index):
            yield f"{_name(key)}[{index}]", entry[int(index)]


def _unwanted(value: Any, got: str) -> bool:
    """Whether the value is what msgspec got; where it got nothing, whether no float holds it."""
    if got:
        return isinstance(value, {"object": dict, "array": list}.get(got, object))
    return isinstance(value, Number) and math.isinf(float(value))
