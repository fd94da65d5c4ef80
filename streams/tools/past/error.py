"""Why the past cannot be computed."""

from __future__ import annotations


class PastError(ValueError):
    """Why the past cannot be computed, in one line for whoever asked."""
