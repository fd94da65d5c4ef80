"""An HNSW index (Malkov and Yashunin, 2018) of usearch whose state can be saved exactly.

usearch draws the level of each new node from a generator that it does not save, so an index that
is loaded from bytes takes later vectors in otherwise than one that was never saved. Here every
index starts from bytes: it is taken down and loaded from its own every 1024 vectors or more,
saved or not. Its state is those bytes and what was put in since, which is put in anew.

To take one vector out makes usearch's next call walk through the table of all keys (some 25 ns a
key). So what is taken out is no longer found at once, and leaves the graph at the next reload.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from engine.arrays import grown
from engine.retrieval.index_bytes import fault_of, keys_fault
from engine.state.schema import ANY, Array, State, Value

if TYPE_CHECKING:
    from usearch.index import Index

_CONNECTIVITY = 8
_EXPANSION = 48
_RELOADED_AFTER = 1024
_RELOADED_SHARE = 64
"""Reloaded after so many vectors, or a 64th of all where that is more: 20 ms at 60,000."""


class VectorIndex:
    """Finds the vectors of greatest product with one, by key; once it is built."""

    STATE: ClassVar[State] = State(
        {
            "_base": Array("base", (ANY,)),
            "_keys": Array("keys", (ANY,)),
            "_vectors": Array("vectors", (ANY, ANY)),
            "_since": Value("since", int),
        },
        unsaved=("_index", "_gone"),
        then="_restored",
    )

    def __init__(self) -> None:
        self._index: Any = None
        self._gone: set[int] = set()
        self._base: NDArray[np.uint8] = np.zeros(0, np.uint8)
        # What was put in since the index was loaded from its base; of what was taken out, ~key.
        self._since = 0
        self._keys: NDArray[np.int64] = np.zeros(0, np.int64)
        self._vectors: NDArray[np.float32] = np.zeros((0, 0), np.float32)

    @property
    def is_built(self) -> bool:
        """Whether it can be searched and put into."""
        return self._index is not None

    def build(self, keys: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        """Start anew with these: int64[n], float32[n, width]."""
        self._index = _new_index(vectors.shape[1])
        self._gone.clear()
        if len(keys):
            self._index.add(keys, vectors, threads=1)
        self._reload()

    def put(self, key: int, vector: NDArray[np.float32]) -> None:
        """Add a vector (float32[width]), or replace the one of its key."""
        self._note(key, vector)
        self._put(key, vector)

    def remove(self, key: int) -> None:
        """Take a key's vector out, if it is there."""
        if self.is_built and key in self:
            self._note(~key, 0.0)
            self._gone.add(key)

    def _note(self, key: int, vector: NDArray[np.float32] | float) -> None:
        if self._since >= max(_RELOADED_AFTER, len(self._index) // _RELOADED_SHARE):
            self._reload()
        self._keys = grown(self._keys, self._since + 1)
        self._vectors = grown(self._vectors, self._since + 1)
        self._keys[self._since] = key
        self._vectors[self._since] = vector
        self._since += 1

    def __contains__(self, key: int) -> bool:
        return key in self._index and key not in self._gone

    def search(self, vector: NDArray[np.float32], count: int) -> NDArray[np.int64]:
        """The keys found, best first: int64[<= count]."""
        keys = np.asarray(self._index.search(vector, count, threads=1).keys, np.int64)
        return keys[~np.isin(keys, list(self._gone))] if self._gone else keys

    def _put(self, key: int, vector: NDArray[np.float32]) -> None:
        if key in self._index:
            self._index.remove(key)
            self._gone.discard(key)
        self._index.add(key, vector, threads=1)

    def _reload(self) -> None:
        for key in sorted(self._gone):
            self._index.remove(key)
        self._gone.clear()
        self._base = np.frombuffer(self._index.save(), np.uint8)
        self._since = 0
        self._keys = np.zeros(0, np.int64)
        self._vectors = np.zeros((0, self._index.ndim), np.float32)
        self._index = self._loaded()

    def _loaded(self) -> Index:
        index = _new_index(self._vectors.shape[1])
        index.load(self._base.tobytes())
        return index

    def fault(self, width: int, items: int, versions: int) -> str:
        """What makes a saved index unfit for use, or "" (see `index_bytes.fault_of`)."""
        if not len(self._base):
            return ""
        if not 0 <= self._since <= min(len(self._keys), len(self._vectors)):
            return f"{self._since} vectors were put in since, and fewer are there"
        if self._vectors.shape[1] != width:
            return f"its vectors have {self._vectors.shape[1]} numbers, and should have {width}"
        like = bytes(_new_index(width).save() or b"")
        return fault_of(self._base, width, like, items, versions) or keys_fault(
            self._keys[: self._since], items, versions
        )

    def _restored(self) -> None:
        if len(self._base):
            self._index = self._loaded()
            for at in range(self._since):
                key = int(self._keys[at])
                if key < 0:
                    self._gone.add(~key)
                else:
                    self._put(key, self._vectors[at])


def _new_index(dimensions: int) -> Index:
    # Small catalogues, and so most workers, start without it.
    from usearch.index import Index  # noqa: PLC0415

    return Index(
        ndim=dimensions,
        metric="ip",
        dtype="f16",
        connectivity=_CONNECTIVITY,
        expansion_add=_EXPANSION,
        expansion_search=2 * _EXPANSION,
    )
