"""The interaction by which somebody asks that a user be forgotten."""

from __future__ import annotations

import time
import uuid

from engine.events import Interaction


def forget_request(user: str) -> Interaction:
    """One of now; its event's id is `forget:` and 32 random digits."""
    return Interaction(
        event_id=f"forget:{uuid.uuid4().hex}",
        user=user,
        timestamp=time.time_ns() // 1_000_000,
        kind="forget",
    )
