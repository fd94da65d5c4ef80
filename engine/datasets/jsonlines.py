"""JSON lines, and the Python literals that Amazon's 2014 files hold instead."""

from __future__ import annotations

import ast
from typing import Any, TypeVar

import msgspec

_Row = TypeVar("_Row")


def decode(content: bytes, row: type[_Row]) -> _Row:
    """One line as a ``row``. Raises ValueError saying what is wrong."""
    try:
        return msgspec.json.decode(content, type=row)
    except msgspec.ValidationError as error:
        raise ValueError(str(error).replace("Object missing", "missing")) from None


def decode_loose(content: bytes, row: type[_Row]) -> _Row:
    """Like :func:`decode`; what is no JSON may be a literal of a Python dict (never evaluated)."""
    try:
        return decode(content, row)
    except msgspec.DecodeError as error:
        if not content.lstrip().startswith((b"{'", b'{"')):
            raise
        literal = _literal(content)
        if literal is None:
            raise error from None
        return msgspec.convert(literal, row)


def objects(head: list[bytes]) -> list[dict[str, Any]]:
    """The lines that are JSON objects or Python dicts."""
    found = []
    for content in head:
        try:
            found.append(decode_loose(content, dict[str, Any]))
        except ValueError:
            continue
    return found


def _literal(content: bytes) -> dict[str, Any] | None:
    try:
        value = ast.literal_eval(content.decode("utf-8").strip())
    # What the parser raises on hostile nesting depends on where it gives up.
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None
    return value if isinstance(value, dict) else None
