"""Offline training of the paper's configurations: DGL, transformers, peft, optimum, DeepSpeed.

Imports without any of them: each is loaded when `train` needs it. What is trained is served by
`engine.trained`, which needs none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from engine.events import Interaction, Item
from engine.training.recipe import Recipe, RecipeError, load_recipe, recipes
from engine.training.report import TrainingError, TrainingReport

__all__ = [
    "Recipe",
    "RecipeError",
    "TrainingError",
    "TrainingReport",
    "load_recipe",
    "recipes",
    "train",
]


def _silent(stage: str, share: float) -> None:
    """Tell nobody."""


def train(
    recipe: Recipe,
    interactions: Sequence[Interaction],
    items: Sequence[Item],
    folder: Path,
    *,
    seed: int = 0,
    on_progress: Callable[[str, float], None] = _silent,
    start: Path | None = None,
    validate: bool = False,
    target: float | None = None,
) -> TrainingReport:
    """Train a recipe and write the model folder that `TrainedModel.load` serves.

    Parameters
    ----------
    interactions
        The training part, and nothing else: of the test part nothing may be in here.
    items
        The catalogue, whose texts are read.
    folder
        Where to write; made if it is missing, and complete or not there at all.
    on_progress
        Called with what is being done and the share of it that is done, in [0, 1].
    start
        Folder of a trained model that the recipe builds on: the teacher of hybrid-distilled, what
        hybrid-int8 quantises. Without it that model is trained first, beside the folder.
    validate
        Hold a tenth of each user's interactions out of training and report NDCG@10 on it after
        every epoch. For choices and timing; a model that is to be tested trains on everything.
    target
        With `validate`: the NDCG@10 whose first reaching is reported as `seconds_to_quality`.

    Raises
    ------
    TrainingError
        If a package is missing (it names the extra), or there is nothing to learn from.
    """
    from engine.training.missing import require  # noqa: PLC0415

    require(recipe)
    from engine.training.run import run  # noqa: PLC0415

    return run(recipe, interactions, items, folder, seed, on_progress, start, validate, target)
