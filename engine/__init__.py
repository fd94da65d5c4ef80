"""Millrace's engine: a recommender that learns from every interaction. Knows nothing of Kafka."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.events import Interaction, Item
    from engine.recommender import Answer, Recommender
    from engine.rules import Rules
    from engine.settings import EngineSettings
    from engine.state.container import SavedStateError
    from engine.step.ranking import Ranked

__all__ = [
    "Answer",
    "EngineSettings",
    "Interaction",
    "Item",
    "Ranked",
    "Recommender",
    "Rules",
    "SavedStateError",
]

_HOME = {
    "Interaction": "engine.events",
    "Item": "engine.events",
    "EngineSettings": "engine.settings",
    "Answer": "engine.recommender",
    "Ranked": "engine.step.ranking",
    "Recommender": "engine.recommender",
    "Rules": "engine.rules",
    "SavedStateError": "engine.state.container",
}


def __getattr__(name: str) -> Any:
    # Loaded when asked for: a command that only reads messages does not wait for numba.
    if name not in _HOME:
        raise AttributeError(f"module 'engine' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
