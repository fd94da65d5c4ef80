"""The measurement: every recipe trained on what it may see, and asked what was held out.

A step is one training and what is measured with it, or a measurement that trains nothing. Each is
kept when it is done (`store`), so that a run that was interrupted goes on where it stood.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from engine.evaluation.holdout import Split, ratings, split_by_time, split_by_user
from engine.evaluation.paper.online import second_half
from engine.evaluation.paper.plan import PARTS, Amounts, Part, Train, starts_of
from engine.evaluation.paper.serving import latencies, requests_of
from engine.evaluation.paper.store import ResultStore, code_hash, data_hash
from engine.evaluation.protocol import (
    Ask,
    answered,
    by_chance,
    by_lists,
    by_scores,
    catalogue_queries,
    full_ranking,
    mean_measures,
    own_items,
    own_queries,
    own_slices,
)
from engine.evaluation.provenance import machine, reset_peak_memory, versions
from engine.evaluation.references import ItemMeanScorer, OracleScorer, PopularityScorer
from engine.events import Interaction, Item
from engine.propagation import BackendError
from engine.settings import EngineSettings
from engine.trained import TrainedModel, TrainedModelError
from engine.training import Recipe, TrainingError, TrainingReport

TIMED: tuple[Part, int] = ("random", 0)
"""Part and seed of the models whose latency is measured."""
REFERENCES = ("random order", "popularity", "item mean", "oracle")


class PaperRun:
    """All steps over one data set, and their results.

    Parameters
    ----------
    interactions, items, source
        The data set, in order of time, and its name.
    recipes
        In the order of the table.
    folder
        Where results and models are kept between runs.
    train, load
        How a recipe becomes a model folder, and that a model.

    Attributes
    ----------
    total
        Number of steps.
    failures
        Why a row is missing, by recipe.
    online
        Measures of the engine without a warm start, by the width of its embeddings.
    complete
        Whether all steps are done.
    """

    def __init__(
        self,
        interactions: Sequence[Interaction],
        items: Sequence[Item],
        source: str,
        recipes: Sequence[Recipe],
        amounts: Amounts,
        folder: Path,
        settings: EngineSettings,
        train: Train,
        load: Callable[[Path], TrainedModel],
        on_progress: Callable[[str, float], None] = lambda stage, share: None,
    ) -> None:
        self.amounts = amounts
        self.recipes = [recipe.quick() if amounts.quick else recipe for recipe in recipes]
        self._starts = starts_of(self.recipes, amounts.quick)
        self.data_hash = data_hash(interactions, items)
        self._items, self._catalogue = items, [item.item for item in items]
        self._rated = ratings(interactions, source)
        self._halves = split_by_time(interactions)
        self._settings = settings
        self._store = ResultStore(folder)
        self._models = folder / "models"
        self._models.mkdir(exist_ok=True)
        self._train, self._load, self._on_progress = train, load, on_progress
        # Timings are among the results, so the machine decides them as well.
        self._common = {
            "data": self.data_hash, "code": code_hash(), "packages": versions(),
            "machine": machine(), "settings": settings.model_dump(mode="json"),
            "quick": amounts.quick,
        }  # fmt: skip
        self.trained: dict[tuple[str, Part, int], dict[str, Any]] = {}
        self.references: dict[tuple[str, int], dict[str, Any]] = {}
        self.online: dict[int, dict[str, Any]] = {}
        self.latencies: dict[str, dict[str, Any]] = {}
        self.failures: dict[str, str] = {}
        self.complete = False
        self._seeds = range(amounts.seeds)
        trainings = sum(len(amounts.parts(recipe)) for recipe in self.recipes)
        # The engine takes embeddings over as wide as they are: each width has its own comparison.
        self._widths = sorted({one.take_dimensions for one in self.recipes if not amounts.quick})
        self.total = (trainings + 2) * amounts.seeds + len(self._widths) + 1

    def run(self) -> Iterator[str]:
        """Do every step, or read what it gave; yields the name of each before it is done."""
        for how in ("random", "temporal"):
            for seed in self._seeds:
                yield f"references, {how} split, seed {seed}"
                key = self._key("references", how=how, seed=seed)
                self.references[how, seed] = self._once(key, partial(self._refer, how, seed))
        # All seeds of the random split first: the paper's tables and claims are compared with it.
        for part in PARTS:
            if part == "first_half":
                yield from self._without_warm_start()
            for seed in self._seeds:
                for recipe in self.recipes:
                    if part not in self.amounts.parts(recipe):
                        continue
                    yield f"{recipe.name}, {part.replace('_', ' ')}, seed {seed}"
                    self._try(recipe, part, seed)
                if (part, seed) == TIMED:
                    yield "latency, all rows in turns"
                    self._measure_latency()
                self._discard(part, seed)
        self.complete = True

    def _without_warm_start(self) -> Iterator[str]:
        for width in self._widths:
            yield f"online engine without a warm start, {width} dimensions"
            key = self._key("online", dimensions=width)
            self.online[width] = self._once(key, partial(self._second_half, width, None))

    # ------------------------------------------------------------------ keys and folders

    def _key(self, step: str, **decides: Any) -> str:
        return ResultStore.key(step=step, **decides, **self._common)

    def _once(self, key: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        known = self._store.get(key)
        if known is None:
            known = measure()
            self._store.put(key, known)
        return known

    def _trained_key(self, recipe: Recipe, part: Part, seed: int) -> str:
        return self._key("train", recipe=recipe.model_dump_json(), part=part, seed=seed)

    def _folder(self, recipe: Recipe, part: Part, seed: int) -> Path:
        return self._models / self._trained_key(recipe, part, seed)

    def _discard(self, part: Part, seed: int) -> None:
        """Models that no later step needs; those that are timed stay, for other choices of rows."""
        if (part, seed) != TIMED:
            for recipe in (*self.recipes, *self._starts.values()):
                shutil.rmtree(self._folder(recipe, part, seed), ignore_errors=True)

    # ------------------------------------------------------------------ steps

    def _try(self, recipe: Recipe, part: Part, seed: int) -> None:
        """A step of a row; a row that cannot be on this machine says why and holds up no other."""
        if recipe.name in self.failures:
            return
        try:
            self.trained[recipe.name, part, seed] = self._step(recipe, part, seed)
        except (TrainingError, TrainedModelError, BackendError) as error:
            self.failures[recipe.name] = f"{part.replace('_', ' ')}, seed {seed}: {error}"
            if len(self.failures) == len(self.recipes):
                raise

    def _step(self, recipe: Recipe, part: Part, seed: int) -> dict[str, Any]:
        folder = self._folder(recipe, part, seed)
        key = self._trained_key(recipe, part, seed)
        known = self._store.get(key)
        # A model that is to be timed may have been tidied away.
        if known is None or ((part, seed) == TIMED and not folder.is_dir()):
            known = self._measured(recipe, part, seed, folder)
            self._store.put(key, known)
        return known

    def _measured(self, recipe: Recipe, part: Part, seed: int, folder: Path) -> dict[str, Any]:
        split = self._split(part, seed)
        report = self._train_into(folder, recipe, part, seed)
        result: dict[str, Any] = {"training": report.model_dump(mode="json")}
        if part in ("random", "temporal"):
            self._on_progress("ranking", 0.0)
            model = self._load(folder)
            own = answered(own_queries(split.test), by_scores(model, seed))
            whole = answered(catalogue_queries(split, self._catalogue), by_lists(model))
            result["accuracy"] = own_slices(own)
            result["full_ranking"] = mean_measures(whole)
            # Both ask the same users, in the same order.
            result["by_user"] = {
                "users": [one.user for one in own],
                "ten_or_more": [one.many for one in own],
                "own": [one.measures.tolist() for one in own],
                "catalogue": [one.measures.tolist() for one in whole],
            }
        elif part == "first_half":
            width = recipe.take_dimensions
            result["prequential"] = self._second_half(width, self._load(folder))
        return result

    def _train_into(self, folder: Path, recipe: Recipe, part: Part, seed: int) -> TrainingReport:
        start = self._start(recipe, part, seed)
        shutil.rmtree(folder, ignore_errors=True)
        reset_peak_memory()
        return self._train(
            recipe, self._split(part, seed).train, self._items, folder, seed=seed,
            on_progress=self._on_progress, start=start, validate=part == "validated",
        )  # fmt: skip

    def _split(self, part: Part, seed: int) -> Split:
        if part == "first_half":
            return self._halves
        return split_by_user(self._rated, "temporal" if part == "temporal" else "random", seed)

    def _start(self, recipe: Recipe, part: Part, seed: int) -> Path | None:
        """The model that a recipe builds on, trained on the same part if its folder is not there.

        Left to the training it could be one that has seen the validation tenth.
        """
        if recipe.start is None:
            return None
        start = self._starts[recipe.start]
        folder = self._folder(start, part, seed)
        if not folder.is_dir():
            self._train_into(folder, start, part, seed)
        return folder

    def _refer(self, how: str, seed: int) -> dict[str, Any]:
        split = self._split("temporal" if how == "temporal" else "random", seed)
        asks: list[Ask] = [
            by_chance,
            by_scores(PopularityScorer(split.train), seed),
            by_scores(ItemMeanScorer(split.train), seed),
            by_scores(OracleScorer(split.test), seed),
        ]
        return {
            name: {
                "accuracy": own_items(split, ask),
                "full_ranking": full_ranking(split, self._catalogue, ask),
            }
            for name, ask in zip(REFERENCES, asks, strict=True)
        }

    def _second_half(self, dimensions: int, model: TrainedModel | None) -> dict[str, Any]:
        settings = self._settings.model_copy(update={"dimensions": dimensions})
        return second_half(settings, model, self._items, self._halves, self._on_progress)

    def _measure_latency(self) -> None:
        timed = [recipe for recipe in self.recipes if recipe.name not in self.failures]
        key = self._key("latency", recipes=[recipe.model_dump_json() for recipe in timed])
        self.latencies = self._once(key, partial(self._time, timed))

    def _time(self, recipes: Sequence[Recipe]) -> dict[str, Any]:
        models = {one.name: self._load(self._folder(one, "random", 0)) for one in recipes}
        train = self._split("random", 0).train
        requests = requests_of(train, self._items, self.amounts.requests + self.amounts.warm_up)
        return latencies(models, requests, self.amounts.warm_up)
