"""The encoder tuned in a pipeline: its layers parted into stages, one a rank, by DeepSpeed.

For encoders of BERT's form. A batch of pairs goes through in two micro-batches, so that one stage
works while the other does; the softmax is over the pairs of a micro-batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import deepspeed
import torch
from deepspeed.pipe import PipelineModule
from deepspeed.utils import groups
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch import distributed as dist

from engine.training.data import TrainingData
from engine.training.report import TrainingError
from engine.training.text import BATCH, Tower, batches_of, in_batch_softmax, log_odds_of, pool

_MICRO = 2


class _Embed(nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.embeddings = model.embeddings

    def forward(self, inputs: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        ids, mask = inputs
        # The mask stays an integer: DeepSpeed asks every other output of a stage for a gradient.
        return self.embeddings(input_ids=ids), mask


class _Layer(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, inputs: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        hidden, mask = inputs
        extended = (1.0 - mask[:, None, None, :].to(hidden.dtype)) * torch.finfo(hidden.dtype).min
        return self.layer(hidden, attention_mask=extended)[0], mask


class _Pool(nn.Module):
    def __init__(self, pooling: str) -> None:
        super().__init__()
        self.pooling = pooling

    def forward(self, inputs: tuple[Tensor, Tensor]) -> Tensor:
        hidden, mask = inputs
        return pool(hidden, mask, self.pooling)


def tune_in_pipeline(
    tower: Tower, data: TrainingData, seed: int, stages: int, job: Path,
    on_step: Callable[[float], None],
) -> float:  # fmt: skip
    """Tune a tower's encoder; on return every rank has all of it. Gives this rank's parameters.

    Raises
    ------
    TrainingError
        If the encoder is not of BERT's form.
    """
    model = tower.model
    if model.config.model_type != "bert":
        raise TrainingError(
            f"pipeline_stages = {stages}: encoders of type {model.config.model_type} are not "
            "parted into stages, only bert; use pipeline_stages = 1"
        )
    log_odds = log_odds_of(data)

    def loss_of(embeddings: Tensor, second: Tensor) -> Tensor:
        half = len(embeddings) // 2
        return in_batch_softmax(embeddings[:half], embeddings[half:], second, log_odds[second])

    layers = [_Embed(model), *(_Layer(layer) for layer in model.encoder.layer)]
    pipeline = PipelineModule(
        [*layers, _Pool(tower.part.pooling)], num_stages=stages, loss_fn=loss_of,
        partition_method="parameters",
    )  # fmt: skip
    micro = BATCH // _MICRO
    engine, *_ = deepspeed.initialize(
        model=pipeline,
        model_parameters=[p for p in pipeline.parameters() if p.requires_grad],
        config={
            "train_micro_batch_size_per_gpu": micro,
            "gradient_accumulation_steps": _MICRO,
            "optimizer": {
                "type": "AdamW",
                "params": {"lr": tower.part.learning_rate, "torch_adam": True},
            },
            "steps_per_print": 10**9,
        },
    )
    batches = [
        batch
        for epoch in batches_of(data, seed, tower.part.epochs)
        for batch in epoch
        if len(batch) == BATCH
    ]
    if not batches and tower.part.epochs:
        raise TrainingError(
            f"pipeline_stages = {stages}: fewer than {BATCH} items are liked by users who like "
            "others, too few for a batch; use pipeline_stages = 1"
        )

    def micro_batches() -> Iterator[tuple[tuple[Tensor, Tensor], Tensor]]:
        for batch in batches:
            for pairs in batch.split(micro):
                items = pairs.T.reshape(-1)
                yield (tower.ids[items], tower.mask[items]), pairs[:, 1].contiguous()

    stream = micro_batches()
    for number in range(len(batches)):
        engine.train_batch(data_iter=stream)
        on_step((number + 1) / len(batches))
    own = float(sum(p.numel() for p in pipeline.parameters()))
    _share(model, pipeline, job)
    # DeepSpeed goes on taking the stages for parts of one model; what is trained next is whole.
    groups.mpu = None
    return own


def _share(model: Any, pipeline: Any, job: Path) -> None:
    """Let every rank have the layers that the others tuned, through the job's folder."""
    rank = dist.get_rank()
    mine = {id(p) for p in pipeline.parameters()}
    own = {n: p.detach().contiguous() for n, p in model.named_parameters() if id(p) in mine}
    save_file(own, str(job / f"stage-{rank}.safetensors"))
    dist.barrier()
    for other in range(dist.get_world_size()):
        if other != rank:
            model.load_state_dict(load_file(str(job / f"stage-{other}.safetensors")), strict=False)
    dist.barrier()
