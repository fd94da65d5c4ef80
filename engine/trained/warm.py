"""A warm start: a new online engine begins with what a model learnt of users and items.

The model's part for taking (see `engine.training.model`) becomes the engine's graph embeddings,
which are of the same form: what a user's items contribute, what items are scored by, and each
user's own part. Learning goes on from there, event by event, as it does from random values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine.trained.folder import LEVELS, TrainedModelError
from engine.trained.model import TrainedModel, shrinkage

if TYPE_CHECKING:
    from engine.propagation.embeddings import GraphEmbeddings
    from engine.settings import EngineSettings

_TYPICAL = 30.0
"""Neighbours at which the engine's decayed sum is made as long as the model's mean."""
_LONG_GAIN = 10.0
"""Of the engine's long aggregate, a mean: 1 / (1 - .9)."""


class WarmStartError(TrainedModelError):
    """A model that an engine cannot begin with; one line that says why."""


def check_fit(settings: EngineSettings, users: int, model: TrainedModel) -> None:
    """Check that a model can be what an engine of these settings, which knows `users`, begins with.

    Raises
    ------
    WarmStartError
        If the engine has observed something, holds too few users or items, or its embeddings are
        not as wide as the model's.
    """
    name = model.recipe.name
    if users:
        raise WarmStartError("only an engine that has observed nothing can be warm-started")
    if model.recipe.take_dimensions != settings.dimensions:
        raise WarmStartError(
            f"engine.dimensions = {settings.dimensions}: the model {name} has take_dimensions = "
            f"{model.recipe.take_dimensions}"
        )
    for setting, known in (("max_users", model.users), ("max_items", model.items)):
        most = getattr(settings, setting)
        if most < len(known):
            raise WarmStartError(f"engine.{setting} = {most}: the model {name} has {len(known)}")


def warm_start(
    embeddings: GraphEmbeddings,
    model: TrainedModel,
    users: NDArray[np.int32],
    items: NDArray[np.int32],
) -> None:
    """Put a model's embeddings into a new engine's.

    Parameters
    ----------
    users, items : int32[n]
        The engine's numbers of the model's.
    """
    like = model.recipe.dimensions * model.recipe.members
    neutral = model.tables.rows[int(np.abs(LEVELS).argmin()) :: len(LEVELS), like:]
    embeddings.inputs[0, items] = neutral * np.float32(shrinkage(_TYPICAL) / _LONG_GAIN)
    embeddings.outputs[items] = model.tables.outputs[:, like:]
    embeddings.personal_outputs[items] = model.tables.outputs[:, like:]
    own = model.tables.users[:, like:]
    if own.any():
        embeddings.personal[users] = own
        embeddings.directions[users] = _unit(own)


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    unit: NDArray[np.float32] = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
    return unit
