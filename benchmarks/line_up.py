"""Who takes part in `benchmarks.peers`, and what has to be installed for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from benchmarks.contenders import Contender, MarkovChain, Millrace, Popularity
from engine import EngineSettings, Item
from engine.evaluation.baselines import RECENT_HALF_LIFE
from engine.settings import ALL_KINDS

Make = Callable[[], Contender]


@dataclass(frozen=True)
class LibraryMake:
    """Makes a contender of a module that needs an extra.

    Raises
    ------
    MissingPackageError
        When called, if what the module needs is not installed.
    """

    name: str
    module: str
    of: Callable[[Any], Contender]
    extra: str = "peers"

    def __call__(self) -> Contender:
        try:
            module = import_module(f"benchmarks.{self.module}")
        except ImportError as error:
            raise MissingPackageError(
                f"not run ({error}): pip install '.[{self.extra}]'"
            ) from error
        return self.of(module)


class MissingPackageError(Exception):
    """A contender cannot be run; says what to install."""


def line_up(items: Sequence[Item], seed: int) -> list[Make]:
    """All contenders, each to be made when its turn comes."""
    # What is asked for is new to its user, and no peer's list holds anything else.
    new = EngineSettings(seed=seed, excludes=[ALL_KINDS])
    return [
        lambda: Millrace(new, items),
        # The peers know of no catalogue either.
        lambda: Millrace(new.model_copy(update={"model": "gnn"})),
        Popularity,
        lambda: Popularity(RECENT_HALF_LIFE),
        MarkovChain,
        LibraryMake("implicit TF-IDF kNN", "implicit_peers", lambda m: m.ImplicitKNN()),
        LibraryMake("implicit ALS", "implicit_peers", lambda m: m.ImplicitALS(seed)),
        LibraryMake("river BiasedMF", "river_peer", lambda m: m.RiverMF(seed)),
        LibraryMake("FluRS MF", "flurs_peers", lambda m: m.FlursMF(seed)),
        LibraryMake("FluRS BPR", "flurs_peers", lambda m: m.FlursBPR(seed)),
        LibraryMake("SASRec", "sasrec", lambda m: m.SasRec(seed), extra="sasrec"),
    ]
