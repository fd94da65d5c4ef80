"""A message's JSON object, whatever its fields are: to recognise it, and to show values of it."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from streams.bad_message import BadMessage, Number, field_name, joined, shown, too_deep

_CONSTANTS = ("NaN", "Infinity", "-Infinity")
_SURROGATE = re.compile(r"[\ud800-\udfff]")


def read(value: bytes | None) -> dict[str, Any]:
    """The message's JSON object, to recognise it by and to show values of; numbers are `Number`.

    Raises
    ------
    BadMessage
        If the bytes are no JSON object in UTF-8, or one with a field that comes twice: which of
        the two a decoder's error is about could not be told.
    """
    if value is None:
        raise BadMessage("NullValue", "the value is null, a tombstone; expected a JSON object")
    encoding = json.detect_encoding(value)
    if not encoding.startswith("utf-8"):
        raise BadMessage("NotUtf8", f"{shown(value[:40])} looks like {encoding}; send UTF-8")
    try:
        text = value.decode()
        document = json.loads(
            text,
            parse_int=Number,
            parse_float=Number,
            parse_constant=Number,
            object_pairs_hook=_unique,
        )
    except UnicodeDecodeError as error:
        near = shown(value[max(0, error.start - 20) : error.start + 20])
        raise BadMessage("NotUtf8", f"byte {error.start}, in {near}, is not UTF-8") from None
    except json.JSONDecodeError as error:
        near = shown(error.doc[max(0, error.pos - 20) : error.pos + 20])
        raise BadMessage(
            "NotJson", f"not JSON at character {error.pos}, in {near}: {error.msg}"
        ) from None
    except RecursionError:
        raise too_deep() from None
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


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        [(twice, _)] = Counter(name for name, _ in pairs).most_common(1)
        raise BadMessage("NotJson", f"{field_name(twice)}: comes twice in one object; send it once")
    return fields


def _leaves(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Every string and number of the document, keys among them, with where it is."""
    stack: list[tuple[str, Any]] = [("", document)]
    while stack:  # recursion would meet its limit on what json just managed to read
        label, value = stack.pop()
        if isinstance(value, dict):
            for key, entry in value.items():
                place = joined(label[:200], field_name(key))
                yield place, key
                stack.append((place, entry))
        elif isinstance(value, list):
            stack.extend((f"{label[:200]}[{i}]", entry) for i, entry in enumerate(value))
        elif isinstance(value, str):
            yield label, value
