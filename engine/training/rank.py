"""One rank of a training by DeepSpeed: `python -m engine.training.rank JOB`, see `ranks`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import deepspeed
import dgl
import torch
from torch import Tensor, nn
from torch import distributed as dist

from engine.training.data import TrainingData
from engine.training.joint import JointTrainer, learning_rate
from engine.training.model import Hybrid
from engine.training.pipeline import tune_in_pipeline
from engine.training.quality import validation_ndcg
from engine.training.ranks import ARRAYS, JOB, PROGRESS, RESULT, read_data
from engine.training.recipe import Recipe
from engine.training.report import TrainingReport
from engine.training.run import Clock, features_of, peak_memory_mb, write_model
from engine.training.text import Tower, tune

_MEGABYTE = 1024 * 1024


class _Loss(nn.Module):
    """A batch's loss as a forward pass, which is what DeepSpeed's engine calls."""

    def __init__(self, trainer: JointTrainer) -> None:
        super().__init__()
        self.model = trainer.model
        self._trainer = trainer
        self.told = 0.0

    def forward(self, users: Any) -> Tensor:
        loss, self.told = self._trainer.loss(users)
        return loss


def train_with_zero(
    recipe: Recipe, trainer: JointTrainer, data: TrainingData, held: TrainingData | None,
    clock: Clock, job: Path,
) -> list[float]:  # fmt: skip
    """Graph and head; gives this rank's optimiser state in MB, and what it would be unparted."""
    assert recipe.deepspeed is not None
    rank, world = dist.get_rank(), dist.get_world_size()
    loss = _Loss(trainer)
    engine, optimiser, _, _ = deepspeed.initialize(
        model=loss,
        model_parameters=[p for p in loss.parameters() if p.requires_grad],
        config={
            "train_micro_batch_size_per_gpu": 1,
            "optimizer": {
                "type": "Adam",
                "params": {"lr": recipe.learning_rate, "torch_adam": True, "adam_w_mode": False},
            },
            "zero_optimization": {"stage": recipe.deepspeed.zero_stage},
            "zero_allow_untested_optimizer": True,
            "steps_per_print": 10**9,
        },
    )
    for number in range(recipe.epochs):
        batches = trainer.epoch()
        total = 0.0
        for step, users in enumerate(batches):
            for group in engine.optimizer.param_groups:
                group["lr"] = learning_rate(recipe, number / recipe.epochs)
            said = engine(users[rank::world])
            engine.backward(said)
            engine.step()
            total += loss.told
            tell(job, "graph and head", (number + step / len(batches)) / recipe.epochs)
        clock.pause()
        clock.losses.append(total / len(batches))
        clock.seconds.append(clock.total)
        if held is not None and rank == 0:
            tables = trainer.model.tables(data, trainer.graph)
            clock.quality.append(validation_ndcg(tables, held, trainer.model.shape.like))
        dist.barrier()
        clock.resume()
    clock.pause()
    inner = getattr(optimiser, "optimizer", optimiser)
    state = [t for s in inner.state.values() for t in s.values() if torch.is_tensor(t)]
    own = sum(t.numel() * t.element_size() for t in state) / _MEGABYTE
    whole = sum(2 * p.numel() * p.element_size() for p in trainer.model.parameters()) / _MEGABYTE
    return [own, whole]


def main(job: Path) -> None:
    """Train; rank 0 writes the model and the report."""
    torch.set_num_threads(1)
    deepspeed.init_distributed("gloo" if os.environ.get("DS_ACCELERATOR") == "cpu" else None)
    rank, world = dist.get_rank(), dist.get_world_size()
    told = json.loads((job / JOB).read_text())
    recipe, seed, work = (
        Recipe.model_validate(told["recipe"]),
        int(told["seed"]),
        Path(told["work"]),
    )
    assert recipe.deepspeed is not None
    data = read_data(job / ARRAYS, told)
    held_file = job / f"held-{ARRAYS}"
    held = read_data(held_file, told) if held_file.is_file() else None
    # The same start on every rank; what each draws from then on is its own.
    torch.manual_seed(seed)
    dgl.seed(seed)
    clock = Clock()
    clock.pause()
    notes = []
    tower = None
    if recipe.text is not None:
        tower = Tower(recipe.text, data.texts)
        whole = sum(p.numel() for p in tower.parameters())
        clock.resume()
        if recipe.text.tune == "none" or recipe.text.epochs == 0:
            pass
        elif recipe.deepspeed.pipeline_stages > 1:
            part = tune_in_pipeline(
                tower, data, seed, world, job, lambda share: tell(job, "text", share)
            )
            parts = gathered(part, world)
            notes.append(
                f"pipeline of {world} stages: {_millions(parts)} of the encoder's "
                f"{whole / 1e6:.1f} M parameters by rank"
            )
        else:  # every rank the whole encoder on the same pairs: no ZeRO in this part
            tune(tower, data, seed, lambda *_: None, lambda share: tell(job, "text", share))
        clock.pause()
    features, projection = features_of(recipe, data, tower)
    torch.manual_seed(seed)
    model = Hybrid(recipe, data, features)
    trainer = JointTrainer(recipe, data, model, seed, rank=rank)
    clock.resume()
    own, whole_state = train_with_zero(recipe, trainer, data, held, clock, job)
    states = gathered(own, world)
    notes.append(
        f"ZeRO stage {recipe.deepspeed.zero_stage}: optimiser state "
        f"{' and '.join(f'{mb:.1f}' for mb in states)} MB by rank, "
        f"{whole_state:.1f} MB on each without"
    )
    memory = gathered(peak_memory_mb(), world)
    if rank == 0:
        tell(job, "writing", 0.0)
        write_model(recipe, data, model, trainer, tower, projection, work)
        everything = [p for module in (model, tower) if module for p in module.parameters()]
        report = TrainingReport(
            seconds=clock.total, epochs=recipe.epochs, epoch_losses=clock.losses,
            epoch_seconds=clock.seconds, epoch_quality=clock.quality,
            parameters=sum(p.numel() for p in everything),
            trainable_parameters=sum(p.numel() for p in everything if p.requires_grad),
            memory_mb_per_rank=memory, notes=notes,
        )  # fmt: skip
        (job / RESULT).write_text(report.model_dump_json())
    dist.barrier()


def gathered(value: float, world: int) -> list[float]:
    """A number of every rank."""
    out = [torch.zeros(1, dtype=torch.float64) for _ in range(world)]
    dist.all_gather(out, torch.tensor([value], dtype=torch.float64))
    return [float(one) for one in out]


def tell(job: Path, stage: str, share: float) -> None:
    """Say how far rank 0 is."""
    if dist.get_rank() == 0:
        (job / PROGRESS).write_text(json.dumps([stage, share]))


def _millions(parts: list[float]) -> str:
    return " and ".join(f"{part / 1e6:.1f}" for part in parts)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
