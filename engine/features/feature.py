"""What a feature of the ranking is, and what keeps a state of its own for some.

`engine.features.table` lists them all.
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple, Protocol

from engine.state.schema import State

GRAPH_PART, TREND_PART, TEXT_PART = range(3)
PART_NAMES = ("graph", "trend", "text")


class Feature(NamedTuple):
    """A feature f_k(u, j) of a user u and an item j.

    Attributes
    ----------
    name
        Of its weights in saved states; never changed once released.
    part
        One of `*_PART`: which part of the model it belongs to.
    formula
        What it is, for docs/ranking.md.
    low, high
        Bounds of its values; infinite where there is none.
    initial
        Its weight before anything is learnt, in the constant context.
    learnt
        Whether the weight is trained, or stays at `initial`.
    kernel
        The compiled function that fills its row: a module of `engine` and a name in it.
    reads_time
        Whether it depends on the time of asking.
    """

    name: str
    part: int
    formula: str
    low: float
    high: float
    initial: float
    learnt: bool
    kernel: str
    reads_time: bool = False


class OwnState(Protocol):
    """What a feature's module keeps of items, beside what the engine has for all."""

    STATE: ClassVar[State]

    @property
    def arrays(self) -> Any:
        """A named tuple of what its kernels read and write."""

    def reserve(self, items: int) -> None:
        """Make room for `items` items."""

    def clear(self, item: int) -> None:
        """Forget an item."""
