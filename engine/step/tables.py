"""The arrays that a step reads and writes, handed over to compiled code as one object.

A call hands over an array in about a tenth of a microsecond, and a step needs some seventy: so
they are handed over once, held by a `Held` of compiled code, and again when one was replaced by a
longer one.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba.core import types
from numba.experimental import structref
from numpy.typing import NDArray

from engine.compiled import kernel
from engine.features.context import CONTEXTS, ContextArrays
from engine.features.cooccurrence import CooccurrenceScratch
from engine.features.head import HeadArrays
from engine.features.item_codes import LANES, ItemCodeArrays
from engine.features.popularity import PopularityArrays
from engine.features.table import FEATURES, OwnArrays
from engine.features.transitions import TransitionArrays
from engine.features.user_items import UserItemArrays
from engine.graph import RowArrays
from engine.propagation.embeddings import MOST_DRAWN, EmbeddingArrays
from engine.sharing.journal import JournalArrays
from engine.text.taste import TasteArrays

_structref: Any = structref  # numba has no types for mypy


class Columns(NamedTuple):
    """What scoring reads of candidates, a row (or, of the first two, a column) an item.

    Attributes
    ----------
    popular, stage_ratio : float32[4, n], float32[>= 2, n]
    counts, bias : float32[n]
    vectors : float32[n, width]
    outputs, personal_outputs, second_hop : float32[n, d]
    """

    popular: NDArray[np.float32]
    stage_ratio: NDArray[np.float32]
    counts: NDArray[np.float32]
    bias: NDArray[np.float32]
    vectors: NDArray[np.float32]
    outputs: NDArray[np.float32]
    personal_outputs: NDArray[np.float32]
    second_hop: NDArray[np.float32]


class Scratch(NamedTuple):
    """Memory of one step, and the last contest.

    Attributes
    ----------
    kept : int64[3]
        The user of the contest that the other arrays hold, or -1 for none; its candidates' number;
        the time that it was asked for (ms).
    candidates : int32[n]
        Of the contest, ascending, unless all items compete.
    features : float32[22, n]
    scores, probabilities : float32[n]
    share : float32[n]
    cooccurrence
        Of `engine.features.cooccurrence`.
    weights : float32[22]
        What the features were weighted with.
    errors : float32[22]
    newton : float64[2, 22 * 5]
    context : float32[5]
    vector : float32[2, width]
    drawn : int32[98]
        Positions of the candidates that a step on the embeddings is about.
    history, liked : int32[ring]
        The user's latest items, and those of them that they do not dislike.
    best, sources : int32[most]
        Of the best candidates: positions, and the items of the history that they are taken around.
    gathered
        Of the candidates, unless all items compete.
    demand : int64[4]
        Slots that the next event needs: of transitions, of items taken, of items disliked, of the
        journal.
    clock : int64[3]
        Of `engine.step.clock`.
    """

    kept: NDArray[np.int64]
    candidates: NDArray[np.int32]
    features: NDArray[np.float32]
    scores: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    share: NDArray[np.float32]
    cooccurrence: CooccurrenceScratch
    weights: NDArray[np.float32]
    errors: NDArray[np.float32]
    newton: NDArray[np.float64]
    context: NDArray[np.float32]
    vector: NDArray[np.float32]
    drawn: NDArray[np.int32]
    history: NDArray[np.int32]
    liked: NDArray[np.int32]
    best: NDArray[np.int32]
    sources: NDArray[np.int32]
    gathered: Columns
    demand: NDArray[np.int64]
    clock: NDArray[np.int64]

    @classmethod
    def of(
        cls, candidates: int, gathered: int, width: int, dimensions: int, ring: int, most: int
    ) -> Scratch:
        """New memory for so many candidates, so many of which are gathered, and lists of `most`."""
        candidates += -candidates % LANES  # products are written in whole blocks

        def floats(*shape: int) -> NDArray[np.float32]:
            return np.zeros(shape, np.float32)

        return cls(
            kept=np.array([-1, 0, 0]),
            candidates=np.zeros(candidates, np.int32),
            features=floats(FEATURES, candidates),
            scores=floats(candidates),
            probabilities=floats(candidates),
            share=floats(candidates),
            cooccurrence=CooccurrenceScratch.of(candidates),
            weights=floats(FEATURES),
            errors=floats(FEATURES),
            newton=np.zeros((2, FEATURES * CONTEXTS)),
            context=floats(CONTEXTS),
            vector=floats(2, max(width, dimensions)),
            drawn=np.zeros(MOST_DRAWN, np.int32),
            history=np.zeros(ring, np.int32),
            liked=np.zeros(ring, np.int32),
            best=np.zeros(most, np.int32),
            sources=np.zeros(most, np.int32),
            gathered=Columns(
                popular=floats(4, gathered),
                stage_ratio=floats(2, gathered),
                counts=floats(gathered),
                bias=floats(gathered),
                vectors=floats(gathered, width),
                outputs=floats(gathered, dimensions),
                personal_outputs=floats(gathered, dimensions),
                second_hop=floats(gathered, dimensions),
            ),
            demand=np.zeros(4, np.int64),
            clock=np.zeros(3, np.int64),
        )


class Tables(NamedTuple):
    """All arrays of a step.

    Attributes
    ----------
    users, items
        Rows of the graph.
    every : int32[items]
        0, 1, 2, ...: the candidates, and their positions, when all items compete.
    position : int32[items]
        Where an item is among the candidates, -1 if nowhere; -1 for all between two calls.
    departed, departures : int64[items], int64[1]
        When a number last changed hands, and the clock of that (`engine.state.eviction`).
    purged : int64[users]
        That clock when a user's rows were last looked through.
    hidden : bool[items]
    not_for_strangers : bool[items]
        What is not recommended to somebody without history; of length 0 if there are none such.
    vectors : float32[items, width]
    user_order, item_order : int32[n, 2]
        Links of the orders of use.
    codes
        Of all items, if all compete.
    journal
        Of transitions that other engines are to be told.
    """

    users: RowArrays
    items: RowArrays
    transitions: TransitionArrays
    popularity: PopularityArrays
    own: OwnArrays
    contexts: ContextArrays
    embeddings: EmbeddingArrays
    head: HeadArrays
    taste: TasteArrays
    taken: UserItemArrays
    disliked: UserItemArrays
    vectors: NDArray[np.float32]
    hidden: NDArray[np.bool_]
    not_for_strangers: NDArray[np.bool_]
    departed: NDArray[np.int64]
    departures: NDArray[np.int64]
    purged: NDArray[np.int64]
    user_order: NDArray[np.int32]
    item_order: NDArray[np.int32]
    every: NDArray[np.int32]
    position: NDArray[np.int32]
    codes: ItemCodeArrays
    journal: JournalArrays
    scratch: Scratch


@_structref.register
class _HeldType(types.StructRef):
    """The type of `Held` in compiled code; its one field has the type of the tables."""


class Held(structref.StructRefProxy):
    """`Tables` on the compiled side: `held.tables` in a kernel."""


_structref.define_boxing(_HeldType, Held)
_structref.define_constructor(Held, _HeldType, ["tables"])


@kernel
def hold(tables):  # type: ignore[no-untyped-def]
    """Hand the tables over: a `Held`."""
    return Held(tables)  # type: ignore[no-untyped-call]


Hold = Any
"""What `hold` returns; numba has no types for mypy."""
