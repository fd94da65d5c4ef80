"""What `st run` loads: the two things that the OpenAPI document cannot say."""

from __future__ import annotations

from typing import Any

import schemathesis

from engine.events import EARLIEST_MS, LATEST_MS
from tests.streams.conftest import FIRST_MS


@schemathesis.hook
def before_call(
    _context: schemathesis.HookContext, case: schemathesis.Case, _kwargs: dict[str, Any]
) -> None:
    """An event's timestamp is at most a day later than now, and JSON Schema's integers are written
    as 5.0, too."""
    moment = case.body.get("timestamp") if isinstance(case.body, dict) else None
    number = isinstance(moment, int | float) and not isinstance(moment, bool)
    if number and EARLIEST_MS <= moment <= LATEST_MS and moment == int(moment):
        case.body["timestamp"] = FIRST_MS
