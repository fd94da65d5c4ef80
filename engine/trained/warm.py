"""A warm start: a new online engine begins with what a model learnt of users and items.

The model's part for taking (see `engine.training.model`) becomes the engine's graph embeddings,
which are of the same form: what a user's items contribute, what items are scored by, and each
user's own part. Learning goes on from there, event by event, as it does from random values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine.propagation import BackendError
from engine.trained.folder import LEVELS
from engine.trained.model import TrainedModel, shrinkage

if TYPE_CHECKING:
    from engine.recommender import Recommender

_TYPICAL = 30.0
"""Neighbours at which the engine's decayed sum is made as long as the model's mean."""
_LONG_GAIN = 10.0
"""Of the engine's long aggregate, a mean: 1 / (1 - .9)."""


def warm_start(engine: Recommender, model: TrainedModel) -> None:
    """Put a model's embeddings into an engine that has observed nothing yet.

    Raises
    ------
    ValueError
        If it has observed something.
    BackendError
        If the model's embeddings are not as wide as the engine's.
    """
    if engine.popularity.events:
        raise ValueError("only an engine that has observed nothing can be warm-started")
    like = model.recipe.dimensions * model.recipe.members
    take = model.recipe.take_dimensions
    e = engine.embeddings
    if take != e.inputs.shape[2]:
        raise BackendError(
            f"engine.dimensions = {e.inputs.shape[2]}: a start from {model.recipe.name} needs "
            f"{take}, the model's take_dimensions"
        )
    items = np.array([engine.intern_item(name) for name in model.items], np.int32)
    users = np.array([engine.intern_user(name) for name in model.users], np.int32)
    neutral = model.tables.rows[int(np.abs(LEVELS).argmin()) :: len(LEVELS), like:]
    e.inputs[0, items] = neutral * np.float32(shrinkage(_TYPICAL) / _LONG_GAIN)
    e.outputs[items] = e.personal_outputs[items] = model.tables.outputs[:, like:]
    own = model.tables.users[:, like:]
    if own.any():
        e.personal[users] = own
        e.directions[users] = _unit(own)


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    unit: NDArray[np.float32] = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
    return unit
