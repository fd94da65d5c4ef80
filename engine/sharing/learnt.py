"""Changes of the learnt rows of items since others were last told, in eight bits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.features.head import Head
from engine.propagation.embeddings import GraphEmbeddings
from engine.sharing.delta import LEARNT, Biased, Learnt

_STEPS = 127
_SMALLEST = 0.01
"""Changes of a row, or of a bias, that are told: initial rows have a deviation of a tenth."""


class SharedTables:
    """What others know of this engine's learnt rows.

    Holds the rows as others know them. What is too small to tell stays a difference, and is told
    when it has added up; so does what eight bits leave out.
    """

    def __init__(self, embeddings: GraphEmbeddings, head: Head) -> None:
        self._embeddings, self._head = embeddings, head
        self._rows = {name: table.copy() for name, table in self._tables().items()}
        self._accumulated = self._embeddings.arrays.accumulated.copy()
        self._bias = self._head.bias.copy()
        self._bias_accumulated = self._head.bias_accumulated.copy()

    def _tables(self) -> dict[str, NDArray[np.float32]]:
        e = self._embeddings.arrays
        tables = (e.inputs[0], e.inputs[1], e.outputs, e.personal_outputs)
        return dict(zip(LEARNT, tables, strict=True))

    def reserve(self) -> None:
        """Follow the engine's arrays, which were made longer; nobody learnt of the new rows yet."""
        have = len(self._rows["outputs"])
        for name, table in self._tables().items():
            self._rows[name] = np.concatenate([self._rows[name], table[have:]])
        e, h = self._embeddings.arrays, self._head
        self._accumulated = np.concatenate([self._accumulated, e.accumulated[:, have:]], axis=1)
        more = slice(len(self._bias), None)
        self._bias = np.concatenate([self._bias, h.bias[more]])
        self._bias_accumulated = np.concatenate([self._bias_accumulated, h.bias_accumulated[more]])

    def renew(self, item: int) -> None:
        """A number is another item's, whose rows are new."""
        for name, table in self._tables().items():
            self._rows[name][item] = table[item]
        self._accumulated[:, item] = self._embeddings.arrays.accumulated[:, item]
        self._bias[item] = self._head.bias[item]
        self._bias_accumulated[item] = self._head.bias_accumulated[item]

    def collect(self, items: int, limit: int) -> dict[str, Learnt]:
        """What was learnt since of the first n items; of more than `limit` rows of a table, the
        most changed."""
        accumulated = self._embeddings.arrays.accumulated
        found = {}
        for n, (name, table) in enumerate(self._tables().items()):
            held = self._rows[name]
            rows = np.flatnonzero(accumulated[n, :items] != self._accumulated[n, :items])
            changes = table[rows] - held[rows]
            largest = np.abs(changes).max(axis=1, initial=0.0)
            told = np.flatnonzero(largest > _SMALLEST)
            if len(told) > limit:
                told = np.sort(told[np.argpartition(-largest[told], limit)[:limit]])
            rows, changes = rows[told].astype(np.int32), changes[told]
            scales = largest[told] / np.float32(_STEPS)
            small = np.rint(changes / scales[:, None]).astype(np.int8)
            held[rows] += small * scales[:, None]
            added = accumulated[n, rows] - self._accumulated[n, rows]
            self._accumulated[n, rows] = accumulated[n, rows]
            found[name] = Learnt(rows, small, scales, added)
        return found

    def collect_bias(self, items: int, limit: int) -> Biased:
        """As `collect`, of the biases."""
        h = self._head
        changes = h.bias[:items] - self._bias[:items]
        rows = np.flatnonzero(np.abs(changes) > _SMALLEST).astype(np.int32)
        if len(rows) > limit:
            rows = np.sort(rows[np.argpartition(-np.abs(changes[rows]), limit)[:limit]])
        added = h.bias_accumulated[rows] - self._bias_accumulated[rows]
        self._bias[rows] = h.bias[rows]
        self._bias_accumulated[rows] = h.bias_accumulated[rows]
        return Biased(rows, changes[rows], added)

    def merge(self, learnt: dict[str, Learnt], biased: Biased) -> None:
        """Add what others learnt; items are numbers here."""
        e, h = self._embeddings.arrays, self._head
        for n, (name, table) in enumerate(self._tables().items()):
            part = learnt[name]
            changes = part.changes * part.scales[:, None]
            table[part.items] += changes
            self._rows[name][part.items] += changes
            e.accumulated[n, part.items] += part.accumulated
            self._accumulated[n, part.items] += part.accumulated
        for name in ("long", "short"):
            self._embeddings.aggregator.changed(name, learnt[name].items)
        h.bias[biased.items] += biased.bias
        self._bias[biased.items] += biased.bias
        h.bias_accumulated[biased.items] += biased.accumulated
        self._bias_accumulated[biased.items] += biased.accumulated
