"""Measures what a model trained offline adds to an engine that learns online."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

from engine.evaluation.baselines import PopularityBaseline
from engine.evaluation.measures import RankingMeasures
from engine.evaluation.queries import TAKES, Asks, Queries, prequential
from engine.events import Interaction
from engine.recommender import Recommender


class SecondHalf:
    """Prequential measures over what comes after a part that is already learnt.

    Attributes
    ----------
    engine, popularity
        Measures of the engine, and of popularity over all time, on the same queries.
    """

    def __init__(self, learnt: Iterable[Interaction]) -> None:
        self.engine = RankingMeasures()
        self.popularity = RankingMeasures()
        self._baseline = PopularityBaseline()
        self._queries = Queries()
        for one in learnt:
            asks = self._queries.judge(one.user, one.item, one.kind)
            self._queries.note(one.user, one.item, one.kind)
            self._count(one, asks)

    def run(self, engine: Recommender, stream: Iterable[Interaction]) -> Iterator[int]:
        """Rank, then learn, each interaction; yields how many are done.

        The engine has observed what was learnt before, and nothing of the stream.
        """

        rank = partial(self._queries.rank_new, engine)
        steps = prequential(stream, rank, partial(engine.observe, answer=False), self._queries)
        for done, step in enumerate(steps, 1):
            if step.ranked is not None:
                self.engine.add(step.ranked, step.item)
                self.popularity.add(self._baseline.recommend(step.interaction.user), step.item)
            self._count(step.interaction, step.asks)
            yield done

    def _count(self, interaction: Interaction, asks: Asks) -> None:
        if asks == "nothing":
            if interaction.kind != "ignore":
                self._baseline.forget(interaction.user)
        elif interaction.item is not None:
            self._baseline.observe(interaction.user, interaction.item, asks in TAKES)
