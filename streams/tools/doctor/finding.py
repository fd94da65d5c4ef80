"""What was found of one subject."""

from __future__ import annotations

from typing import Literal

import msgspec

State = Literal["ok", "warn", "fail"]
"""Well; something to look at; what keeps a worker from running."""


class Finding(msgspec.Struct, frozen=True):
    """One line of the report; `text` says what to do unless all is well."""

    subject: str
    state: State
    text: str
