"""A model folder and its serving: numpy, numba and ONNX alone, no torch.

See `engine/training` for how one is made, docs/training.md for what is in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.training.recipe import Recipe


class TrainedModelError(ValueError):
    """A folder that no model can be loaded from; its message is one line that says why."""


class TrainedModel:
    """A trained model, as its folder holds it.

    Attributes
    ----------
    recipe
        What it was trained by.
    users, items
        Ids that it knows, in the order of its tables.
    """

    recipe: Recipe
    users: list[str]
    items: list[str]

    @classmethod
    def load(cls, folder: str | Path) -> TrainedModel:
        """The model of a folder, every file of it verified.

        Raises
        ------
        TrainedModelError
            If it is no model folder, is of another version, or a file of it is damaged.
        """
        raise NotImplementedError

    def scores(self, user: str, items: Sequence[str]) -> NDArray[np.float32]:
        """How much a user would like items if they took them: float32[len(items)], higher first.

        For ranking what the user is known to have taken (the paper's accuracy protocol); whole
        catalogues are ranked by `recommend`, which also weighs how likely each item is taken.
        An unknown user gets the items' own part, an unknown item the mean one.
        """
        raise NotImplementedError

    def recommend(self, user: str, k: int = 10) -> list[tuple[str, float]]:
        """Warm: the k best items of the whole catalogue that the user has not taken, best first.

        The item side is precomputed; the user's embedding is aggregated anew (Eq. 1) by the
        recipe's `Aggregator`, and every item is scored (Eq. 3-4).
        """
        raise NotImplementedError

    def request(self, user: str, text: str, k: int = 10) -> list[tuple[str, float]]:
        """Cold, as the paper means it: `text` is tokenised and encoded, then as `recommend`.

        The text counts as one more that the user liked. A model without text ignores it.
        """
        raise NotImplementedError
