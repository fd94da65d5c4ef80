"""What a recipe needs of the extra `train`."""

from __future__ import annotations

from importlib.util import find_spec

from engine.training.recipe import Recipe
from engine.training.report import TrainingError

_ALWAYS = ("torch", "dgl", "transformers", "optimum", "onnx")


def require(recipe: Recipe) -> None:
    """Check that the packages are there, without importing them.

    Raises
    ------
    TrainingError
        That names the first one missing and the extra that brings it.
    """
    needed = list(_ALWAYS)
    if recipe.text and recipe.text.tune == "lora":
        needed.append("peft")
    if recipe.deepspeed:
        needed.append("deepspeed")
    for package in needed:
        if find_spec(package) is None:
            raise TrainingError(
                f"recipe {recipe.name} needs the package {package}: pip install '.[train]'"
            )
