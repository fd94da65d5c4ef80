"""What `st run` loads: what the OpenAPI document cannot say."""

from __future__ import annotations

from typing import Any

import schemathesis

from engine.events import EARLIEST_MS, LATEST_MS
from tests.streams.conftest import FIRST_MS


@schemathesis.hook
def before_call(
    _context: schemathesis.HookContext, case: schemathesis.Case, _kwargs: dict[str, Any]
) -> None:
    """An event's timestamp is at most a day later than now, JSON Schema's integers are written as
    5.0, too, and a line of HTTP has at most 8,190 bytes."""
    for name, value in (case.query or {}).items():
        if isinstance(value, list):
            case.query[name] = [str(each)[:40] for each in value[:3]]
    for event in case.body if isinstance(case.body, list) else [case.body]:
        moment = event.get("timestamp") if isinstance(event, dict) else None
        number = isinstance(moment, int | float) and not isinstance(moment, bool)
        if number and EARLIEST_MS <= moment <= LATEST_MS and moment == int(moment):
            event["timestamp"] = FIRST_MS
        for name in ("event_id", "user", "item"):
            if isinstance(event, dict) and isinstance(event.get(name), float):
                event[name] = str(event[name])
