"""What a field holds: nothing, something within, or something to show in an error."""

from __future__ import annotations

import math
from typing import Any

_SHOWN = 40


def shown(value: object) -> str:
    """``repr`` of a value, short enough for one line."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def is_blank(value: object) -> bool:
    """Whether nothing is given: null, not a number, or white space."""
    return (
        value is None
        or (isinstance(value, float) and math.isnan(value))
        or (isinstance(value, str) and not value.strip())
    )


def field_at(document: dict[str, Any], name: str, missing: Any = None) -> Any:
    """A field of a JSON object, or that of an object within (``data.user``); or ``missing``."""
    if name in document:
        return document[name]
    outer, dot, inner = name.partition(".")
    within = document.get(outer) if dot else None
    return within.get(inner, missing) if isinstance(within, dict) else missing
