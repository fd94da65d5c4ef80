"""What a model trained offline adds to the engine that goes on learning online."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from engine.evaluation.baselines import PopularityBaseline
from engine.evaluation.measures import RankingMeasures
from engine.evaluation.prequential import is_query
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
        self._taken: dict[str, set[str]] = {}
        for interaction in learnt:
            self._take(interaction)

    def run(self, engine: Recommender, stream: Iterable[Interaction]) -> Iterator[int]:
        """Rank, then learn, each interaction; yields how many are done.

        The engine has observed what was learnt before, and nothing of the stream.
        """
        for done, interaction in enumerate(stream, 1):
            user, item = interaction.user, interaction.item
            if item is not None and is_query(interaction, self._taken.get(user, ())):
                self.engine.add([one.item for one in engine.recommend(user, 10).items], item)
                self.popularity.add(self._baseline.recommend(user), item)
            engine.observe(interaction, answer=False)
            self._take(interaction)
            yield done

    def _take(self, interaction: Interaction) -> None:
        if interaction.item is None or interaction.kind == "forget":
            self._taken.pop(interaction.user, None)
        else:
            self._taken.setdefault(interaction.user, set()).add(interaction.item)
            self._baseline.observe(interaction.user, interaction.item)
