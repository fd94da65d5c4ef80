"""What a run does of each recipe, and how much of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from engine.events import Interaction, Item
from engine.training import Recipe, TrainingReport, load_recipe

Part = Literal["random", "temporal", "validated", "first_half"]
"""What a model is trained on: a split's training part, the random one's but for a tenth of each
user's, or the first half of the stream."""


PARTS: tuple[Part, ...] = ("random", "temporal", "validated", "first_half")


class Train(Protocol):
    """`engine.training.train`, or what stands in for it."""

    def __call__(
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
    ) -> TrainingReport: ...


class Amounts(NamedTuple):
    """How much is measured. Figures of a quick run are no figures: they show that all runs."""

    seeds: int
    quick: bool

    @property
    def requests(self) -> int:
        """Requests whose latency counts."""
        return 100 if self.quick else 400

    @property
    def warm_up(self) -> int:
        """Requests before those."""
        return 10 if self.quick else 40

    def parts(self, recipe: Recipe) -> tuple[Part, ...]:
        """The trainings of a recipe; one that only takes a model over has no epochs to validate."""
        if self.quick:
            return ("random",)
        return tuple(part for part in PARTS if part != "validated" or recipe.epochs > 0)


def starts_of(recipes: Sequence[Recipe], quick: bool) -> dict[str, Recipe]:
    """What recipes build on, by name: some of them, or others that are no row of their own."""
    known = {recipe.name: recipe for recipe in recipes}
    starts: dict[str, Recipe] = {}
    wanted = [recipe.start for recipe in recipes]
    while wanted:
        name = wanted.pop()
        if name is not None and name not in starts:
            if name not in known:
                known[name] = load_recipe(name).quick() if quick else load_recipe(name)
            starts[name] = known[name]
            wanted.append(known[name].start)
    return starts
