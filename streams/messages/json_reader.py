"""A message's JSON object, whatever its fields are: to recognise it, and to show values of it."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from streams.messages.bad_message import BadMessage, Number, field_name, joined, shown, too_deep

_CONSTANTS = ("NaN", "Infinity", "-Infinity")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_SUSPECT = ("NaN", "Infinity", "\\ud", "\\uD")
"""Only a message with one of these can be refused; a regular expression takes 20 times as long."""


def read(value: bytes | None) -> dict[str, Any]:
    """The message's JSON object, to recognise it by and to show values of; numbers are `Number`.

    Raises
    ------
    BadMessage
        If the bytes are no JSON object in UTF-8, or one with a repeated field: a decoder's error
        would not say which of the two values it is about.
    """
    if value is None:
        raise BadMessage("NullValue", "the value is null, a tombstone; expected a JSON object")
    if _is_of_schema_registry(value):
        raise BadMessage(
            "NotJson",
            f"the value begins with 0x00 and schema id {int.from_bytes(value[1:5])}, as the "
            "serializers of a schema registry write it (Avro, Protobuf, JSON Schema); send plain "
            "JSON, by a serializer of strings or bytes",
        )
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
    if any(part in text for part in _SUSPECT):
        _refuse_non_json(document)
    return document


def _is_of_schema_registry(value: bytes) -> bool:
    """Whether it begins with the registry's magic byte and a schema's id, four bytes.

    JSON in UTF-16 or UTF-32, its bytes in big-endian order, begins with 0x00 too.

    References
    ----------
    https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/index.html
    """
    wide = value.startswith(b"\0\0\0{") or (value[:2] == b"\0{" and value[2:3] == b"\0")
    return len(value) >= 5 and value[0] == 0 and not wide


def _refuse_non_json(document: dict[str, Any]) -> None:
    """Refuse what Python's `json` takes, but not JSON or UTF-8: NaN, infinity, half surrogates."""
    found = _first(document, _is_non_json)
    if found is None:
        return
    label, leaf = found
    if isinstance(leaf, Number):
        raise BadMessage("NotJson", f"{label}: {leaf} is not a number in JSON; leave it out")
    raise BadMessage(
        "NotUtf8", f"{label}: {shown(leaf)} holds half a surrogate pair, which is no text"
    )


def _is_non_json(leaf: str) -> bool:
    return leaf in _CONSTANTS if isinstance(leaf, Number) else bool(_SURROGATE.search(leaf))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        [(twice, _)] = Counter(name for name, _ in pairs).most_common(1)
        raise BadMessage("NotJson", f"{field_name(twice)}: comes twice in one object; send it once")
    return fields


def _first(document: dict[str, Any], wanted: Callable[[str], bool]) -> tuple[str, str] | None:
    """The path and text of the first wanted string, number or key of the document."""
    steps: list[str | int] = []
    levels: list[Iterator[tuple[str | int, Any]]] = [iter(document.items())]
    while levels:  # no recursion: its limit is below the depth that json reads
        for step, entry in levels[-1]:
            for leaf in (step, entry):
                if isinstance(leaf, str) and wanted(leaf):
                    return _label([*steps, step]), leaf
            if isinstance(entry, dict | list):
                steps.append(step)
                inner = entry.items() if isinstance(entry, dict) else enumerate(entry)
                levels.append(iter(inner))
                break
        else:
            levels.pop()
            del steps[-1:]
    return None


def _label(steps: list[str | int]) -> str:
    label = ""
    for step in steps:
        label = joined(label, field_name(step)) if isinstance(step, str) else f"{label}[{step}]"
    return label if len(label) <= 200 else f"{label[:197]}..."
