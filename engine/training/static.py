"""A student's encoder: the mean of learnt token embeddings, taught by a trained model's texts.

Starts from the encoder's own word embeddings on their principal directions, as model2vec does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import AutoModel, AutoTokenizer

from engine.trained.model import TrainedModel
from engine.training.recipe import TextPart
from engine.training.report import TrainingError
from engine.training.text import source_of, tokenise

_WIDTH = 64
"""Of a token's embedding at most."""
_BATCH = 256


class StaticTower(nn.Module):
    """Token embeddings and what projects their mean. Called with item numbers."""

    def __init__(self, part: TextPart, texts: Sequence[str]) -> None:
        super().__init__()
        self.part = part
        source = source_of(part.encoder)
        self.tokenizer: Any = AutoTokenizer.from_pretrained(source)
        words = AutoModel.from_pretrained(source, dtype=torch.float32).get_input_embeddings()
        with torch.no_grad():
            table = words.weight - words.weight.mean(0)
            directions = torch.linalg.eigh(table.T @ table)[1][:, -_WIDTH:]
            small = table @ directions
            small = small / small.norm(dim=1).mean()
        self.tokens = nn.Embedding.from_pretrained(small, freeze=False)
        self.projection = nn.Linear(small.shape[1], part.dimensions)
        self.ids, self.mask = tokenise(self.tokenizer, texts, part.item_tokens)

    def forward(self, items: Tensor) -> Tensor:
        """float32[n, t] of unit length."""
        mask = self.mask[items][:, :, None].float()
        mean = (self.tokens(self.ids[items]) * mask).sum(1) / mask.sum(1)
        # What serving does to every encoder's embedding: unit length, then the projection.
        return nn.functional.normalize(self.projection(nn.functional.normalize(mean, dim=1)), dim=1)

    @torch.no_grad()
    def projected(
        self,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Projections of all texts, and the mean and the basis that give them; as `project`."""
        basis = self.projection.weight
        mean = -torch.linalg.lstsq(basis, self.projection.bias[:, None]).solution[:, 0]
        return self(torch.arange(len(self.ids))).numpy(), mean.numpy(), basis.numpy().copy()


def learn_from(tower: StaticTower, teacher: TrainedModel, on_step: Callable[[float], None]) -> None:
    """Learn the teacher's projected embedding of each text it knows.

    Raises
    ------
    TrainingError
        If the teacher projects texts to another width.
    """
    wanted = torch.from_numpy(teacher.tables.texts)
    if wanted.shape != (len(tower.ids), tower.part.dimensions):
        raise TrainingError(
            f"text.dimensions = {tower.part.dimensions}: the teacher's are {wanted.shape[1]}"
        )
    optimiser = torch.optim.Adam(tower.parameters(), lr=tower.part.learning_rate)
    generator = torch.Generator().manual_seed(0)
    for epoch in range(tower.part.epochs):
        for items in torch.randperm(len(wanted), generator=generator).split(_BATCH):
            loss = (1.0 - (tower(items) * wanted[items]).sum(1)).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        on_step((epoch + 1) / tower.part.epochs)
