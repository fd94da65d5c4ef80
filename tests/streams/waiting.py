"""Waiting for what another process or thread brings about."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(condition: Callable[[], T], seconds: float = 30.0, what: str = "it") -> T:
    """What a condition gives once it holds; fails, naming it, when it does not in time."""
    began = time.monotonic()
    while not (found := condition()):
        waited = time.monotonic() - began
        assert waited < seconds, f"{what}: not within {seconds:g} s"
        time.sleep(0.02 if waited < 1 else 0.1)  # a look may cost the broker some work
    return found
