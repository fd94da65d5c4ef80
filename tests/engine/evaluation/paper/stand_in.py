"""A training that takes no time, and tells what it was given and asked."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from zlib import crc32

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from engine import EngineSettings, Interaction, Item
from engine.datasets import Synthetic
from engine.evaluation.paper.plan import Amounts
from engine.evaluation.paper.run import PaperRun
from engine.evaluation.references import ItemMeanScorer
from engine.trained import TrainedModel
from engine.training import Recipe, TrainingError, TrainingReport

Pairs = set[tuple[str, str]]


def recipe(name: str, start: str | None = None) -> Recipe:
    return Recipe(name=name, description=f"What {name} does", start=start)


RECIPES = [recipe("gnn"), recipe("hybrid"), recipe("hybrid-distilled", start="hybrid")]


@dataclass
class Training:
    """One call of `train`: what it was given, and what its model was asked."""

    recipe: str
    folder: Path
    interactions: list[Interaction]
    seed: int
    start: Path | None
    validate: bool
    asked: Pairs = field(default_factory=set)

    @property
    def given(self) -> Pairs:
        return {(one.user, str(one.item)) for one in self.interactions}


class ItemMeans(TrainedModel):
    """Ranks by the mean rating in what it was trained on, which its folder holds."""

    def __init__(self, training: Training) -> None:
        self.training = training
        self.means: dict[str, float] = json.loads((training.folder / "means.json").read_text())

    def scores(self, user: str, items: Sequence[str]) -> NDArray[np.float32]:
        self.training.asked |= {(user, item) for item in items}
        return np.array([self.means[item] for item in items], np.float32)

    def recommend(self, user: str, k: int = 10) -> list[tuple[str, float]]:
        return sorted(self.means.items(), key=lambda one: -one[1])[:k]

    def request(self, user: str, text: str, k: int = 10) -> list[tuple[str, float]]:
        return self.recommend(user, k)


class Trainer:
    """Stands in for `engine.training.train` and `TrainedModel.load`.

    Attributes
    ----------
    interrupt_at
        The call that Ctrl-C ends, counted from 0.
    impossible
        A recipe that cannot be trained here.
    """

    def __init__(self) -> None:
        self.interrupt_at: int | None = None
        self.impossible: str | None = None
        self.calls: list[Training] = []
        self.warm_started: list[TrainedModel] = []

    def reset(self) -> None:
        """Forget all calls."""
        self.__init__()  # type: ignore[misc]

    def record(self) -> Trainer:
        """What is on record now, apart from what comes."""
        return copy(self)

    def train(
        self,
        recipe: Recipe,
        interactions: Sequence[Interaction],
        items: Sequence[Item],
        folder: Path,
        *,
        seed: int,
        on_progress: Callable[[str, float], None],
        start: Path | None,
        validate: bool,
    ) -> TrainingReport:
        if len(self.calls) == self.interrupt_at:
            raise KeyboardInterrupt
        if recipe.name == self.impossible:
            raise TrainingError("it needs a board")
        assert start is None or (start / "means.json").exists()
        call = Training(recipe.name, folder, list(interactions), seed, start, validate)
        self.calls.append(call)
        ids = [item.item for item in items]
        means = ItemMeanScorer(interactions).scores("", ids).tolist()
        folder.mkdir()
        (folder / "means.json").write_text(json.dumps(dict(zip(ids, means, strict=True))))
        on_progress("training", 1.0)
        slow = 1.0 if recipe.name == "hybrid" else 0.5
        return TrainingReport(
            seconds=slow * (2 + seed),
            epochs=2,
            epoch_losses=[1.0, 0.5],
            epoch_seconds=[slow, slow * (2 + seed)],
            epoch_quality=[0.7, 0.8] if validate else [],
            notes=[f"trained on {len(interactions)}"],
        )

    def load(self, folder: Path) -> TrainedModel:
        # A model that an earlier run left was trained by another trainer.
        known = [call for call in self.calls if call.folder == folder]
        return ItemMeans(known[-1] if known else Training("", folder, [], 0, None, False))


DATA = Synthetic(events=1200, users=16, items=90, seed=3)
RATED = [
    structs.replace(one, kind="rating", value=1.0 + crc32(f"{one.user} {one.item}".encode()) % 5)
    for one in DATA.interactions()
]
"""An invented stream in which everybody rates all that they take, from 1 to 5."""


def run_of(
    trainer: Trainer,
    folder: Path,
    seeds: int = 2,
    quick: bool = False,
    recipes: Sequence[Recipe] = RECIPES,
    interactions: Sequence[Interaction] = RATED,
) -> PaperRun:
    """A run over a small invented stream."""
    return PaperRun(
        interactions, list(DATA.items()), "synthetic", recipes, Amounts(seeds, quick), folder,
        EngineSettings(model="gnn"), trainer.train, trainer.load,
    )  # fmt: skip
