"""The model that is trained: propagation in DGL (Eq. 1), texts (Eq. 2), fusion and head (Eq. 3-4).

    x_j = node_j + X f_j,   y_j = other_j + Y f_j                 what an item contributes
    e_u = p_u + s(n) mean over u's items j at level c of  c x_j + y_j
    z_i = q_i + Z f_i + s(n) mean over i's users v at level c of  c x_v + y_v
    like(u, i) = b_u + b_i + mean over members m of  e_u[m] . z_i[m]
    take(u, i) = a_i + e_u[take] . z_i[take]

with f the item's projected text, its categories and its year, and s(n) = n / (3 sqrt(n + 5)).
Without a graph all node embeddings are left out; without text, f is.

Eq. 4 of the paper read literally, one linear layer on the concatenation [z_u, z_i], cannot
personalise: the user's part shifts the score of every item alike. So the fused embeddings meet in
a product here. The levels are GC-MC's edge types (van den Berg et al., 2017), the sum of what was
taken beside it SVD++'s (Koren, 2008). Members are small models side by side, each with a loss of
its own and averaged: an ensemble at the price of one dot product.
"""

from __future__ import annotations

from dataclasses import dataclass

import dgl
import numpy as np
import torch
from dgl import function as fn
from torch import Tensor, nn

from engine.trained.folder import LEVELS, Tables
from engine.trained.model import shrinkage
from engine.training.data import TrainingData
from engine.training.recipe import Recipe

_DEVIATION = 0.1


@dataclass(frozen=True)
class Shape:
    """Widths: of all embeddings, of the part for liking, of one member of it."""

    width: int
    like: int
    member: int


def shape_of(recipe: Recipe) -> Shape:
    """The widths that a recipe asks for."""
    like = recipe.dimensions * recipe.members
    return Shape(like + recipe.take_dimensions, like, recipe.dimensions)


def graph_of(data: TrainingData) -> dgl.DGLHeteroGraph:
    """The graph in both directions; edge k of each is interaction k, with its level as `c`."""
    user, item = torch.from_numpy(data.user), torch.from_numpy(data.item)
    graph = dgl.heterograph(
        {("item", "taken by", "user"): (item, user), ("user", "took", "item"): (user, item)},
        {"user": len(data.users), "item": len(data.items)},
    )
    level = torch.from_numpy(LEVELS[data.level])
    for edges in ("taken by", "took"):
        graph.edges[edges].data["c"] = level
    return graph


class Hybrid(nn.Module):
    """The parameters, and the embeddings of a batch of users and of items."""

    def __init__(self, recipe: Recipe, data: TrainingData, features: Tensor | None) -> None:
        super().__init__()
        self.shape = shape_of(recipe)
        width = self.shape.width
        users, items = len(data.users), len(data.items)
        self.graph = recipe.graph is not None
        self.features = features
        counts = np.bincount(data.item, minlength=items)
        popularity = np.log((counts + 1.0) / (counts.sum() + items))

        def drawn(rows: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(rows, width) * _DEVIATION)

        self.user_bias = nn.Parameter(torch.from_numpy(data.user_bias.copy()))
        self.item_bias = nn.Parameter(torch.from_numpy(data.item_bias.copy()))
        self.take_bias = nn.Parameter(torch.from_numpy(popularity.astype(np.float32)))
        if self.graph:
            self.own, self.user_x, self.user_y = drawn(users), drawn(users), drawn(users)
            self.out, self.item_x, self.item_y = drawn(items), drawn(items), drawn(items)
        if features is not None:
            count = features.shape[1]
            self.text_out, self.text_x, self.text_y = drawn(count), drawn(count), drawn(count)
            self.text_bias = nn.Parameter(torch.zeros(count, 2))
        if not self.graph:  # e_i from text alone: no number of its own for any item
            self.item_bias = nn.Parameter(torch.zeros(items), requires_grad=False)
            self.take_bias = nn.Parameter(torch.zeros(items), requires_grad=False)

    def contributions(self) -> tuple[Tensor, Tensor]:
        """x and y of all items: float32[items, W] each."""
        if self.features is None:
            return self.item_x, self.item_y
        x, y = self.features @ self.text_x, self.features @ self.text_y
        return (self.item_x + x, self.item_y + y) if self.graph else (x, y)

    def biases(self) -> tuple[Tensor, Tensor]:
        """b and a of all items: float32[items] each."""
        if self.features is None:
            return self.item_bias, self.take_bias
        of_text = self.features @ self.text_bias
        return self.item_bias + of_text[:, 0], self.take_bias + of_text[:, 1]

    def users(self, block: dgl.DGLBlock, nodes: Tensor, degrees: Tensor) -> Tensor:
        """e of the users of a block's other side: float32[n, W].

        `degrees` (int64[n]) are those in the graph, of which the block holds a sample.
        """
        x, y = self.contributions()
        ids = block.srcnodes["item"].data[dgl.NID]
        aggregate = _propagate(block["taken by"], x[ids], y[ids], degrees)
        return self.own[nodes] + aggregate if self.graph else aggregate

    def items(self, block: dgl.DGLBlock, nodes: Tensor, degrees: Tensor) -> Tensor:
        """z of the items of a block's other side, as `users`: float32[n, W]."""
        z: Tensor = 0.0 if self.features is None else self.features[nodes] @ self.text_out
        if self.graph:
            ids = block.srcnodes["user"].data[dgl.NID]
            x, y = self.user_x[ids], self.user_y[ids]
            z = z + self.out[nodes] + _propagate(block["took"], x, y, degrees)
        return z

    def likes(self, users: Tensor, items: Tensor) -> Tensor:
        """What each member says of pairs, without the biases: float32[n, members]."""
        product = (users * items)[:, : self.shape.like]
        return product.view(len(product), -1, self.shape.member).sum(2)

    @torch.no_grad()
    def tables(self, data: TrainingData, graph: dgl.DGLHeteroGraph) -> Tables:
        """What is served; the texts' part is added by who knows the projection."""
        everyone = {
            "user": torch.arange(len(data.users)), "item": torch.arange(len(data.items)),
        }  # fmt: skip
        whole = dgl.to_block(graph, everyone)
        degrees = torch.from_numpy(np.bincount(data.item, minlength=len(data.items)))
        outputs = self.items(whole, everyone["item"], degrees)
        outputs[:, : self.shape.like] *= self.shape.member / self.shape.like
        x, y = self.contributions()
        levels = torch.from_numpy(LEVELS)
        rows = levels[None, :, None] * x[:, None] + y[:, None]
        like, take = self.biases()
        width = self.shape.width
        order = np.argsort(data.user, kind="stable")
        return Tables(
            rows=rows.reshape(-1, width).numpy(),
            users=self.own.numpy().copy()
            if self.graph
            else np.zeros((len(data.users), width), np.float32),
            outputs=outputs.numpy(),
            like_bias=(like + data.mean).numpy().astype(np.float32),
            take_bias=take.numpy().copy(),
            user_bias=self.user_bias.numpy().copy(),
            texts=np.zeros((len(data.items), 0), np.float32),
            text_mean=np.zeros(0, np.float32),
            text_basis=np.zeros((0, 0), np.float32),
            text_rows=np.zeros((2, 0, width), np.float32),
            edges=(data.item * len(LEVELS) + data.level)[order].astype(np.int32),
            starts=np.searchsorted(data.user[order], np.arange(len(data.users) + 1)),
        )


def _propagate(edges: dgl.DGLGraph, x: Tensor, y: Tensor, degrees: Tensor) -> Tensor:
    """s(n) times the mean of c x + y over a block's edges (Eq. 1)."""
    with edges.local_scope():
        edges.srcdata["x"], edges.srcdata["y"] = x, y
        edges.update_all(fn.u_mul_e("x", "c", "m"), fn.sum("m", "x"))
        edges.update_all(fn.copy_u("y", "m"), fn.sum("m", "y"))
        total = edges.dstdata["x"] + edges.dstdata["y"]
        sampled = edges.in_degrees().clamp(min=1)
    return total * (shrinkage(degrees.float()) / sampled)[:, None]
