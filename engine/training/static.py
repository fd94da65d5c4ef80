"""An encoder without a network: the mean of learnt token embeddings.

A student's start from the word embeddings of the recipe's encoder on their principal directions,
as model2vec does, and learn a trained model's text embeddings. Those of `wordllama`, which were
taken from large language models of the Llama family, start as they are packaged and are tuned on
what users took together, as a network is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import AutoModel, AutoTokenizer, PreTrainedTokenizerFast

from engine.text.tokens import token_table, tokenizer_json
from engine.trained.model import TrainedModel
from engine.training.recipe import WORDLLAMA, TextPart
from engine.training.report import TrainingError
from engine.training.text import project, source_of, tokenise

_WIDTH = 64
"""Of a student's token embedding at most."""
_BATCH = 256


class StaticTower(nn.Module):
    """Token embeddings and what projects their mean. Called with item numbers."""

    def __init__(self, part: TextPart, texts: Sequence[str]) -> None:
        super().__init__()
        self.part = part
        self.tokenizer: Any
        self.tokenizer, table = _packaged() if part.encoder == WORDLLAMA else _of_encoder(part)
        self.ids, self.mask = tokenise(self.tokenizer, texts, part.item_tokens)
        self.tokens = nn.Embedding.from_pretrained(table, freeze=False)
        self.projection = nn.Linear(table.shape[1], part.dimensions)
        with torch.no_grad():
            _, mean, basis = project(
                self._means(torch.arange(len(self.ids))).numpy(), part.dimensions
            )
            self.projection.weight.copy_(torch.from_numpy(basis))
            self.projection.bias.copy_(torch.from_numpy(-basis @ mean))

    def _means(self, items: Tensor) -> Tensor:
        """Unit means of the texts' tokens: float32[n, e]."""
        mask = self.mask[items][:, :, None].float()
        mean = (self.tokens(self.ids[items]) * mask).sum(1) / mask.sum(1)
        return nn.functional.normalize(mean, dim=1)

    def forward(self, items: Tensor) -> Tensor:
        """float32[n, t] of unit length."""
        # What serving does to every encoder's embedding: unit length, then the projection.
        return nn.functional.normalize(self.projection(self._means(items)), dim=1)

    @torch.no_grad()
    def projected(
        self,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Projections of all texts, and the mean and the basis that give them; as `project`."""
        basis = self.projection.weight
        mean = -torch.linalg.lstsq(basis, self.projection.bias[:, None]).solution[:, 0]
        return self(torch.arange(len(self.ids))).numpy(), mean.numpy(), basis.numpy().copy()


def _packaged() -> tuple[Any, Tensor]:
    """The tokenizer of the packaged token embeddings, and those."""
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(tokenizer_json()), bos_token="<s>", eos_token="</s>"
    )
    return tokenizer, torch.from_numpy(token_table())


def _of_encoder(part: TextPart) -> tuple[Any, Tensor]:
    """An encoder's tokenizer, and its word embeddings on their principal directions."""
    source = source_of(part.encoder)
    words = AutoModel.from_pretrained(source, dtype=torch.float32).get_input_embeddings()
    with torch.no_grad():
        table = words.weight - words.weight.mean(0)
        directions = torch.linalg.eigh(table.T @ table)[1][:, -_WIDTH:]
        small = table @ directions
        return AutoTokenizer.from_pretrained(source), small / small.norm(dim=1).mean()


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
