"""A training from beginning to end: text, then graph and head, then the model folder."""

from __future__ import annotations

import json
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import dgl
import numpy as np
import torch
from numpy.typing import NDArray

from engine.events import Interaction, Item
from engine.trained.folder import ENCODER, TOKENIZER, read_folder, seal, write_tables
from engine.trained.model import TrainedModel
from engine.training.data import TrainingData, read
from engine.training.export import export_onnx, export_static, quantise_onnx
from engine.training.joint import JointTrainer, Teacher, train_jointly
from engine.training.model import Hybrid
from engine.training.quality import validation_ndcg
from engine.training.recipe import Recipe, load_recipe
from engine.training.report import TrainingError, TrainingReport
from engine.training.static import StaticTower, learn_from
from engine.training.text import Tower, project, tune

OnProgress = Callable[[str, float], None]
_Value = TypeVar("_Value")


class Clock:
    """Seconds of training, and what became of each epoch; validation does not count."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.seconds: list[float] = []
        self.quality: list[float] = []
        self._spent = 0.0
        self._since = time.perf_counter()

    def resume(self) -> None:
        """Count from now on."""
        self._since = time.perf_counter()

    def pause(self) -> None:
        """Count up to here."""
        self._spent += time.perf_counter() - self._since
        self._since = time.perf_counter()

    @property
    def total(self) -> float:
        """Seconds counted until the last pause."""
        return self._spent

    def first(self, target: float | None) -> float | None:
        """When quality first reached a target."""
        if target is None:
            return None
        reached = (s for s, q in zip(self.seconds, self.quality, strict=True) if q >= target)
        return next(reached, None)


def run(
    recipe: Recipe, interactions: Sequence[Interaction], items: Sequence[Item], folder: Path,
    seed: int, on_progress: OnProgress, start: Path | None, validate: bool, target: float | None,
) -> TrainingReport:  # fmt: skip
    """See `engine.training.train`."""
    torch.manual_seed(seed)
    dgl.seed(seed)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        start_seconds = 0.0
        if recipe.start is not None:
            start, start_seconds = _start(
                recipe, interactions, items, folder, seed, on_progress, start, validate
            )
        data = read(interactions, items)
        held = None
        if validate:
            data, held = data.halves(seed)
        work = Path(tempfile.mkdtemp(prefix="millrace-train-", dir=_parent(folder)))
        try:
            if recipe.start is not None and not recipe.distils:
                report = _convert(recipe, _required(start), work)
            else:
                report = _train(recipe, data, held, work, seed, on_progress, start, target)
            report = report.model_copy(update={"start_seconds": start_seconds})
            (work / "report.json").write_text(report.model_dump_json(indent=2) + "\n")
            seal(work, recipe)
            _replace(folder, work)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        return report
    finally:
        torch.set_num_threads(threads)


def _start(
    recipe: Recipe, interactions: Sequence[Interaction], items: Sequence[Item], folder: Path,
    seed: int, on_progress: OnProgress, start: Path | None, validate: bool,
) -> tuple[Path, float]:  # fmt: skip
    """The folder of the model that a recipe builds on, and how long its training took."""
    if start is not None and validate:
        raise TrainingError(
            f"{start}: may have seen what is to be held out; without start a model is trained that "
            "has not"
        )
    wanted = _required(recipe.start)
    if start is None:
        start = folder.with_name(f"{folder.name}.{wanted}")
        first = load_recipe(wanted)
        if recipe.short:
            first = first.quick()
        run(first, interactions, items, start, seed, on_progress, None, validate, None)
    found = read_folder(start)
    if found.recipe.name != wanted:
        raise TrainingError(f"{start}: holds {found.recipe.name}; {recipe.name} builds on {wanted}")
    report = json.loads((start / "report.json").read_text())
    return start, float(report["seconds"])


def _train(
    recipe: Recipe, data: TrainingData, held: TrainingData | None, work: Path, seed: int,
    on_progress: OnProgress, start: Path | None, target: float | None,
) -> TrainingReport:  # fmt: skip
    if recipe.deepspeed is not None:
        from engine.training.ranks import train_on_ranks  # noqa: PLC0415 - others need it not

        return train_on_ranks(recipe, data, held, work, seed, on_progress, target)
    clock = Clock()
    tower = _text_side(recipe, data, seed, clock, on_progress, start)
    features, projection = features_of(recipe, data, tower)
    model = Hybrid(recipe, data, features)
    trainer = JointTrainer(recipe, data, model, seed, _teacher(recipe, start, data))

    def on_epoch(number: int, loss: float) -> None:
        clock.pause()
        clock.losses.append(loss)
        clock.seconds.append(clock.total)
        if held is not None:
            tables = model.tables(data, trainer.graph)
            clock.quality.append(validation_ndcg(tables, held, model.shape.like))
        clock.resume()

    clock.resume()
    train_jointly(recipe, trainer, on_epoch, lambda share: on_progress("graph and head", share))
    clock.pause()
    on_progress("writing", 0.0)
    write_model(recipe, data, model, trainer, tower, projection, work)
    on_progress("writing", 1.0)
    parts = [model] if tower is None else [model, tower]
    parameters = [p for part in parts for p in part.parameters()]
    return TrainingReport(
        seconds=clock.total,
        epochs=recipe.epochs,
        epoch_losses=clock.losses,
        epoch_seconds=clock.seconds,
        epoch_quality=clock.quality,
        seconds_to_quality=clock.first(target),
        parameters=sum(p.numel() for p in parameters),
        trainable_parameters=sum(p.numel() for p in parameters if p.requires_grad),
        memory_mb_per_rank=[peak_memory_mb()],
    )


def _text_side(
    recipe: Recipe, data: TrainingData, seed: int, clock: Clock, on_progress: OnProgress,
    start: Path | None,
) -> Tower | StaticTower | None:  # fmt: skip
    """The encoder, tuned."""
    if recipe.text is None:
        clock.pause()
        return None
    if recipe.text.tune == "static":
        teacher = TrainedModel.load(_required(start)) if recipe.distils else None
        static = StaticTower(recipe.text, data.texts)
        clock.resume()
        if teacher is not None:
            learn_from(static, teacher, lambda share: on_progress("text", share))
        else:
            tune(static, data, seed, lambda *_: None, lambda share: on_progress("text", share))
        clock.pause()
        return static
    tower = Tower(recipe.text, data.texts)
    # What is loaded is not training; what a frozen part computes once is, a little of it.
    clock.resume()
    if recipe.text.tune != "none":
        tower.prepare()
        tune(tower, data, seed, lambda *_: None, lambda share: on_progress("text", share))
    clock.pause()
    return tower


Projection = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]


def features_of(
    recipe: Recipe, data: TrainingData, tower: Tower | StaticTower | None
) -> tuple[torch.Tensor | None, Projection | None]:
    """What the model reads of each item (float32[items, f]).

    With it: the projected texts, and the mean and the basis of the projection.
    """
    if recipe.text is None or tower is None:
        return None, None
    if isinstance(tower, StaticTower):
        unit, mean, basis = tower.projected()
    else:
        unit, mean, basis = project(tower.everything(), recipe.text.dimensions)
    features = np.concatenate([unit, data.side], 1) if recipe.text.side else unit
    return torch.from_numpy(features), (unit, mean, basis)


def _teacher(recipe: Recipe, start: Path | None, data: TrainingData) -> Teacher | None:
    if not recipe.distils:
        return None
    model = TrainedModel.load(_required(start))
    if model.users != data.users or model.items != data.items:
        raise TrainingError(f"{start}: was trained on other users or items")
    like = model.recipe.dimensions * model.recipe.members
    return Teacher(model.user_embeddings(), model.tables.outputs, like)


def write_model(
    recipe: Recipe, data: TrainingData, model: Hybrid, trainer: JointTrainer,
    tower: Tower | StaticTower | None, projection: Projection | None, work: Path,
) -> None:  # fmt: skip
    """Write all that serving reads, but for the manifest."""
    tables = model.tables(data, trainer.graph)
    if projection is not None and recipe.text is not None:
        text = recipe.text.dimensions
        with torch.no_grad():
            rows = torch.stack([model.text_x[:text], model.text_y[:text]]).numpy().copy()
        unit, mean, basis = projection
        tables = replace(tables, texts=unit, text_mean=mean, text_basis=basis, text_rows=rows)
    write_tables(work, data.users, data.items, tables, recipe.serving.int8)
    if isinstance(tower, StaticTower):
        export_static(tower, work, recipe.serving.int8)
    elif tower is not None:
        tower.save(work)
        export_onnx(work)
        if recipe.serving.int8:
            quantise_onnx(work, work)


def _convert(recipe: Recipe, start: Path, work: Path) -> TrainingReport:
    """A model that is another one, served otherwise: in 8 bits, or on other hardware."""
    source = read_folder(start)
    write_tables(work, source.users, source.items, source.tables, recipe.serving.int8)
    if recipe.text is not None:
        shutil.copy(start / TOKENIZER, work / TOKENIZER)
        if recipe.serving.int8:
            quantise_onnx(start, work)
        else:
            shutil.copy(start / ENCODER, work / ENCODER)
        if recipe.serving.init_inference:
            shutil.copytree(start / "encoder", work / "encoder")
    return TrainingReport(
        seconds=0.0, epochs=0, epoch_losses=[], epoch_seconds=[],
        notes=[f"no training of its own: {recipe.start}, served otherwise"],
    )  # fmt: skip


def peak_memory_mb() -> float:
    """The most memory that this process held, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _parent(folder: Path) -> Path:
    folder.parent.mkdir(parents=True, exist_ok=True)
    if folder.exists() and any(folder.iterdir()) and not (folder / "model.json").is_file():
        raise TrainingError(f"{folder}: is there already, and holds no model")
    return folder.parent


def _replace(folder: Path, work: Path) -> None:
    """Put a finished folder in place; a model that was there goes."""
    if folder.exists():
        shutil.rmtree(folder)
    work.chmod(0o755)
    work.rename(folder)


def _required(value: _Value | None) -> _Value:
    assert value is not None
    return value
