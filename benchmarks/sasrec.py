"""SASRec, trained offline: a transformer over what a user took, refreshed now and then.

Written here because the libraries that ship it (RecBole, RePlay) train from data set files in runs
of their own, not from a stream that grows. Loss: softmax cross-entropy over all items, with which
SASRec is at its best (Klenitskiy and Vasilev). Importing this module needs the extra `sasrec`.

References
----------
Kang and McAuley, Self-attentive sequential recommendation, ICDM 2018.
Klenitskiy and Vasilev, Turning dross into gold loss, RecSys 2023 (arXiv 2309.07602).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.library_peer import RefittedPeer
from engine.evaluation.measures import K

BATCH = 128


class _Network(nn.Module):
    """Causal self-attention over item and position embeddings; item 0 pads at the left."""

    def __init__(self, items: int, length: int, width: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.items = nn.Embedding(items + 1, width, padding_idx=0)
        self.positions = nn.Embedding(length, width)
        self.dropout = nn.Dropout(dropout)
        layer = nn.TransformerEncoderLayer(
            width, nhead=1, dim_feedforward=width, dropout=dropout, batch_first=True,
            norm_first=True,
        )  # fmt: skip
        self.layers = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)
        nn.init.normal_(self.items.weight, std=width**-0.5)
        nn.init.normal_(self.positions.weight, std=width**-0.5)

    def forward(self, sequences: Tensor) -> Tensor:
        """Hidden states, float32[batch, length, width], of int64[batch, length]."""
        length = sequences.shape[1]
        places = torch.arange(self.positions.num_embeddings - length, self.positions.num_embeddings)
        hidden = self.dropout(self.items(sequences) + self.positions(places))
        # Padding is seen by nobody but itself: a row of nothing would be NaN.
        later = torch.ones(length, length, dtype=torch.bool).triu(1)
        padded = (sequences == 0)[:, None, :] & ~torch.eye(length, dtype=torch.bool)
        return self.norm(self.layers(hidden, mask=later | padded))

    def grow(self, items: int) -> None:
        """Room for items that came since, at random places; the others keep what they learnt."""
        old = self.items.weight.data
        if items + 1 > len(old):
            new = torch.randn(items + 1 - len(old), old.shape[1]) * old.shape[1] ** -0.5
            self.items = nn.Embedding.from_pretrained(
                torch.cat([old, new]), freeze=False, padding_idx=0
            )


class SasRec(RefittedPeer):
    """SASRec in PyTorch on one thread. A refresh goes on from the weights of the last one."""

    name = "SASRec"

    def __init__(
        self,
        seed: int = 0,
        refit_every: int = 5000,
        length: int = 50,
        width: int = 64,
        layers: int = 2,
        dropout: float = 0.2,
        epochs: int = 10,
        rate: float = 1e-3,
    ) -> None:
        super().__init__(refit_every)
        torch.set_num_threads(1)
        self._length, self._epochs, self._rate = length, epochs, rate
        torch.manual_seed(seed)
        self._network = _Network(0, length, width, layers, dropout)
        self.settings = (
            f"refreshed every {refit_every:,} events by {epochs} epochs over the events so far; "
            f"last {length} items, width {width}, {layers} layers, dropout {dropout:g}"
        )

    def fit(self) -> None:
        """Some epochs over everybody's sequence, cut into windows."""
        inputs, targets = windows(self.taken, self._length)
        network = self._network
        network.grow(self._fitted_items)
        network.train()
        optimizer = torch.optim.Adam(network.parameters(), self._rate, betas=(0.9, 0.98))
        for _ in range(self._epochs):
            for rows in torch.randperm(len(inputs)).split(BATCH):
                asked = targets[rows] > 0
                hidden = network(inputs[rows])[asked]
                logits = hidden @ network.items.weight[1:].T
                loss = nn.functional.cross_entropy(logits, targets[rows][asked] - 1)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        network.eval()

    def rank(self, user: int) -> list[int]:
        """The ten most likely next items, of those that the user has not taken."""
        known = self.known(user)[-self._length :]
        if not known:
            return []
        with torch.inference_mode():
            hidden = self._network(torch.tensor([known]) + 1)[0, -1]
            scores = (self._network.items.weight[1:] @ hidden).numpy()
        scores[self.known(user)] = -np.inf
        best = np.argsort(-scores, kind="stable")[:K]
        ranked: list[int] = best[np.isfinite(scores[best])].tolist()
        return ranked


def windows(taken: list[list[int]], length: int) -> tuple[Tensor, Tensor]:
    """Training examples: int64[windows, length] of inputs, and of what came next after each.

    Items count from 1; 0 pads at the left. Windows of a user do not overlap in what they ask for,
    and the first one is the short one.
    """
    inputs, targets = [], []
    for sequence in taken:
        row = np.array(sequence, np.int64) + 1
        for end in range(len(row), 1, -length):
            begin = max(0, end - 1 - length)
            pad = (length - (end - 1 - begin), 0)
            inputs.append(np.pad(row[begin : end - 1], pad))
            targets.append(np.pad(row[begin + 1 : end], pad))
    return torch.from_numpy(np.array(inputs)), torch.from_numpy(np.array(targets))
