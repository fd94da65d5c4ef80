"""Training of graph, fusion and head together, by batches of users with sampled neighbours.

A batch takes a share of its users' interactions as what is to be foretold and hides them from the
graph. The loss is the squared error of the rating, a pairwise one between two items of one user
(what a ranking is judged by), and the softmax of what is taken among all items.
"""

from __future__ import annotations

from collections.abc import Callable

import dgl
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - as everybody calls it
from dgl.dataloading import NeighborSampler
from numpy.typing import NDArray
from torch import Tensor

from engine.training.data import TrainingData
from engine.training.model import Hybrid, graph_of
from engine.training.recipe import Recipe

USERS = 128
"""Users of a batch."""
_FORETOLD = 0.3
_PAIRWISE = 2.0
_SLOPE = 2.0
_TAKING = 0.1
_SHRINK_LIKING, _SHRINK_TAKING = 0.06, 0.01
_DROPOUT = 0.3
_ALL_ITEMS = 4096
"""Items of the largest catalogue that competes whole; of a larger one as many are drawn."""
_TEACHER_ITEMS = 256


class Teacher:
    """What a trained model says of any user and item.

    Attributes
    ----------
    users, outputs : float32[users, W], float32[items, W]
    like : int
        Width of the part for liking.
    """

    def __init__(self, users: NDArray[np.float32], outputs: NDArray[np.float32], like: int) -> None:
        self.users, self.outputs = torch.from_numpy(users), torch.from_numpy(outputs)
        self.like = like

    def __call__(self, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """Scores of liking and of taking, without biases: float32[users, items] each."""
        u, i = self.users[users], self.outputs[items]
        return u[:, : self.like] @ i[:, : self.like].T, u[:, self.like :] @ i[:, self.like :].T


class JointTrainer:
    """Batches and their loss; the optimiser's step is the caller's."""

    def __init__(
        self, recipe: Recipe, data: TrainingData, model: Hybrid, seed: int,
        teacher: Teacher | None = None, rank: int = 0,
    ) -> None:  # fmt: skip
        self.model = model
        self.teacher = teacher
        self.graph: dgl.DGLHeteroGraph = graph_of(data)
        self._data = data
        self._sampler = NeighborSampler([recipe.fanout])
        self._user = torch.from_numpy(data.user)
        self._item = torch.from_numpy(data.item)
        expected = data.value - np.float32(data.mean)
        self._value = torch.from_numpy(np.nan_to_num(expected, nan=0.0))
        self._rated = torch.from_numpy(~np.isnan(data.value))
        order = np.argsort(data.user, kind="stable")
        self._by_user = torch.from_numpy(order)
        self._starts = np.searchsorted(data.user[order], np.arange(len(data.users) + 1))
        self._degrees = torch.bincount(self._item, minlength=len(data.items))
        # Ranks agree on the order of the users, and draw the rest each for itself.
        self._order = np.random.default_rng(seed)
        self._generator = np.random.default_rng([seed, rank])

    def epoch(self) -> list[NDArray[np.int64]]:
        """All users in a new order, in batches: int64[<= 128] each."""
        users = self._order.permutation(len(self._data.users))
        return [users[start : start + USERS] for start in range(0, len(users), USERS)]

    def loss(self, users: NDArray[np.int64]) -> tuple[Tensor, float]:
        """The loss of a batch, and what of it is told as the loss: without what shrinks."""
        edges = torch.cat(
            [self._by_user[self._starts[user] : self._starts[user + 1]] for user in users]
        )
        hidden = torch.from_numpy(self._generator.random(len(edges)) < _FORETOLD)
        hidden[0] = True
        foretold, kept = edges[hidden], edges[~hidden]
        batch = torch.from_numpy(users)
        catalogue = self._competing(self._item[edges])
        block = self._sampler.sample_blocks(
            self.graph,
            {"user": batch, "item": catalogue},
            # By whole types: DGL ignores the short names without a word.
            exclude_eids=dict.fromkeys(self.graph.canonical_etypes, foretold),
        )[2][0]
        model = self.model
        place = torch.empty(len(self._data.users), dtype=torch.int64)
        place[batch] = torch.arange(len(batch))
        row = place[self._user]
        column = torch.empty(len(self._data.items), dtype=torch.int64)
        column[catalogue] = torch.arange(len(catalogue))
        degrees = self._degrees - torch.bincount(self._item[foretold], minlength=len(column))
        e = model.users(block, batch, torch.bincount(row[kept], minlength=len(batch)))
        z = model.items(block, catalogue, degrees[catalogue])
        rows, columns = row[foretold], column[self._item[foretold]]
        like = model.shape.like
        sizes = (e[rows].square() + z[columns].square()).mean(0)
        # Means over the batch, sums over a member's dimensions: what weight decay is to factors.
        shrink = _SHRINK_LIKING * sizes[:like].mean() + _SHRINK_TAKING * sizes[like:].mean()
        rated = foretold[self._rated[foretold]]
        loss = torch.zeros(())
        if len(rated):
            loss = loss + self._liking(e, z, row[rated], column[self._item[rated]], rated)
        taken = F.dropout(e[:, like:], _DROPOUT) @ z[:, like:].T
        taken = taken + model.biases()[1][catalogue]
        # What the user has been seen with does not compete for what comes next.
        seen = torch.zeros_like(taken, dtype=torch.bool)
        seen[row[kept], column[self._item[kept]]] = True
        chances = F.log_softmax(taken.masked_fill(seen, -1e9), 1)
        loss = loss - _TAKING * chances[rows, columns].mean()
        if self.teacher is not None:
            loss = loss + self._distillation(e, z, batch, catalogue)
        told = loss.item()
        return loss + model.shape.member * shrink, told

    def _liking(self, e: Tensor, z: Tensor, row: Tensor, column: Tensor, rated: Tensor) -> Tensor:
        model = self.model
        bias = model.user_bias[self._user[rated]] + model.biases()[0][self._item[rated]]
        said = bias[:, None] + model.likes(F.dropout(e[row], _DROPOUT), z[column])
        value = self._value[rated]
        loss = (said - value[:, None]).square().mean()
        # Pairs of one user: neighbours after shuffling within users.
        draw = torch.from_numpy(self._generator.random(len(rated)))
        order = torch.argsort(row + draw)
        first, second = order[:-1], order[1:]
        better = value[first] - value[second]
        pair = (row[first] == row[second]) & (better != 0)
        if pair.any():
            difference = (said[first[pair]] - said[second[pair]]) * better[pair].sign()[:, None]
            loss = loss + _PAIRWISE * F.softplus(-_SLOPE * difference).mean()
        return loss

    def _distillation(self, e: Tensor, z: Tensor, batch: Tensor, catalogue: Tensor) -> Tensor:
        assert self.teacher is not None
        drawn = torch.from_numpy(
            self._generator.choice(len(catalogue), min(_TEACHER_ITEMS, len(catalogue)), False)
        )
        model = self.model
        like = model.shape.like
        own = e[:, :like] @ z[drawn, :like].T * (model.shape.member / like)
        taken = e[:, like:] @ z[drawn, like:].T
        liking, taking = self.teacher(batch, catalogue[drawn])
        return 4.0 * (own - liking).square().mean() + 0.1 * (taken - taking).square().mean()

    def _competing(self, items: Tensor) -> Tensor:
        """The items that a batch is scored on: int64[<= items]."""
        count = len(self._data.items)
        if count <= _ALL_ITEMS:
            return torch.arange(count)
        drawn = torch.from_numpy(self._generator.choice(count, _ALL_ITEMS, False))
        return torch.unique(torch.cat([items, drawn]))


def learning_rate(recipe: Recipe, done: float) -> float:
    """Constant for half of the training, then linear to zero."""
    return recipe.learning_rate * min(1.0, 2.0 * (1.0 - done))


def train_jointly(
    recipe: Recipe, trainer: JointTrainer, on_epoch: Callable[[int, float], None],
    on_step: Callable[[float], None],
) -> None:  # fmt: skip
    """All epochs, in this process."""
    parameters = [p for p in trainer.model.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(parameters, lr=recipe.learning_rate)
    for number in range(recipe.epochs):
        batches = trainer.epoch()
        total = 0.0
        for step, users in enumerate(batches):
            done = (number + step / len(batches)) / recipe.epochs
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(recipe, number / recipe.epochs)
            loss, told = trainer.loss(users)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            total += told
            on_step(done)
        on_epoch(number, total / len(batches))
