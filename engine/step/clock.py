"""A clock that kernels can read."""

from __future__ import annotations

import time
from typing import Any

from numba.core import types

from engine.compiled import kernel

_types: Any = types  # numba has no types for mypy
_clock_gettime = _types.ExternalFunction(
    "clock_gettime", _types.int32(_types.int32, _types.CPointer(_types.int64))
)
_MONOTONIC = time.CLOCK_MONOTONIC


@kernel
def lap(clock, laps, stage):  # type: ignore[no-untyped-def]
    """Write the nanoseconds since the last call to laps[stage] (int64[n]), or nowhere if it is -1.

    clock : int64[3], what the system writes and when the last call was.
    """
    _clock_gettime(_MONOTONIC, clock.ctypes)
    now = clock[0] * 1_000_000_000 + clock[1]
    if stage >= 0:
        laps[stage] = now - clock[2]
    clock[2] = now
