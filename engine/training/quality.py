"""NDCG@10 on the validation part: each user's own held-out items ranked, those liked relevant."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from engine.trained.folder import Tables
from engine.trained.model import shrinkage
from engine.training.data import TrainingData


def validation_ndcg(tables: Tables, held: TrainingData, like: int) -> float:
    """Mean NDCG@10 over the users of a validation part who like anything in it.

    Parameters
    ----------
    like
        Width of the embeddings' part for liking.
    """
    users = embeddings(tables)[:, :like]
    scores = (users[held.user] * tables.outputs[held.item, :like]).sum(1)
    scores += tables.like_bias[held.item]
    # Equal scores in the order of the items: a constant model gains nothing from the files' order.
    order = np.lexsort((held.item, -scores, held.user))
    starts = np.searchsorted(held.user[order], np.arange(len(tables.users) + 1))
    liked = held.liked[order]
    discounts = 1.0 / np.log2(np.arange(2, 12))
    ideal = np.concatenate([[0.0], np.cumsum(discounts)])
    found = []
    for begin, end in pairwise(starts):
        relevant = int(liked[begin:end].sum())
        if relevant:
            top = liked[begin : min(end, begin + 10)]
            found.append(float(top @ discounts[: len(top)] / ideal[min(relevant, 10)]))
    return float(np.mean(found)) if found else 0.0


def embeddings(tables: Tables) -> NDArray[np.float32]:
    """e of all users, summed exactly: float32[users, W]."""
    degrees = np.diff(tables.starts)
    sums = np.zeros_like(tables.users)
    np.add.at(sums, np.repeat(np.arange(len(degrees)), degrees), tables.rows[tables.edges])
    scale = shrinkage(degrees.astype(np.float32)) / np.maximum(degrees, 1)
    found: NDArray[np.float32] = tables.users + sums * scale[:, None].astype(np.float32)
    return found
