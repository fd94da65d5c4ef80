"""The error of a message that cannot be read, and how its fields and values are shown."""

from __future__ import annotations

import reprlib
from typing import Literal, get_args

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
    "Late",
]
ERROR_CLASSES: tuple[ErrorClass, ...] = get_args(ErrorClass)


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


def joined(label: str, name: str) -> str:
    """The label of a field of the object at `label`."""
    return f"{label}.{name}" if label else name


def field_name(key: str) -> str:
    """A sender's key as it may stand in a message: anything but a short identifier is quoted."""
    return key if key.isidentifier() and len(key) <= 40 else shown(key)


def too_deep() -> BadMessage:
    """The error of a message that is nested beyond what a decoder's recursion reaches."""
    return BadMessage("TooDeep", "nested too deeply; properties hold values and lists of values")
