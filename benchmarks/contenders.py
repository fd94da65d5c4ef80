"""What `benchmarks.peers` measures of our own: Millrace, popularity and a first-order Markov chain.

Those that wrap other libraries are in `benchmarks.library_peers`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from heapq import nlargest
from typing import Protocol

from engine import EngineSettings, Interaction, Item, Recommender
from engine.evaluation.baselines import PopularityBaseline
from engine.evaluation.measures import K
from engine.warm_up import warm_up


class Contender(Protocol):
    """What is measured.

    Attributes
    ----------
    name
        What the table calls it.
    settings
        One line on how it was set up.
    """

    name: str
    settings: str

    def recommend(self, user: str) -> list[str]:
        """Up to ten items that the user has not taken, best first. Changes nothing."""

    def observe(self, interaction: Interaction) -> None:
        """Learn from an event. Data sets hold neither dislikes nor forgets."""


def filled(best: Iterable[str], fillers: Iterable[str]) -> list[str]:
    """Ten items: the best, and fillers where those are too few."""
    return list(dict.fromkeys([*best, *fillers]))[:K]


class Millrace:
    """The engine, in one process and without Kafka."""

    def __init__(self, engine_settings: EngineSettings, items: Iterable[Item] = ()) -> None:
        text = engine_settings.model != "gnn"
        self.name = "Millrace" if text else "Millrace without text"
        self.settings = "learns from every event" + ("; reads the catalogue's text" if text else "")
        warm_up(engine_settings)
        self._engine = Recommender(engine_settings)
        for item in items:
            self._engine.upsert_item(item)

    def recommend(self, user: str) -> list[str]:
        """As the Protocol says."""
        return [ranked.item for ranked in self._engine.recommend(user, K).items]

    def observe(self, interaction: Interaction) -> None:
        """Learn from an event. The engine answers it as well, and that time counts."""
        self._engine.observe(interaction)


class Popularity:
    """The most taken items, over all time or of late."""

    def __init__(self, half_life: float | None = None, repeats: bool = False) -> None:
        self.name = "recent popularity" if half_life else "popularity"
        self.settings = f"half-life of {half_life:,.0f} events" if half_life else "all events count"
        self._counts = PopularityBaseline(half_life)
        self._repeats = repeats

    def recommend(self, user: str) -> list[str]:
        """As the Protocol says."""
        return self._counts.recommend(user, self._repeats)

    def observe(self, interaction: Interaction) -> None:
        """Count a take."""
        if interaction.item is not None:
            counts = interaction.kind != "dislike"
            self._counts.observe(interaction.user, interaction.item, counts)


class MarkovChain:
    """What most often followed the user's last item, over all users.

    Items that followed equally often stand in order of popularity; where fewer than ten have
    followed at all, the most popular others come after them.
    """

    name = "Markov chain"
    settings = "first order; learns from every event; popularity where it knows too little"

    def __init__(self) -> None:
        self._followers: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._last: dict[str, str] = {}
        self._taken: defaultdict[str, set[str]] = defaultdict(set)
        self._counts: Counter[str] = Counter()
        self._popularity = PopularityBaseline()

    def recommend(self, user: str) -> list[str]:
        """As the Protocol says."""
        taken = self._taken.get(user, set())
        followers = self._followers.get(self._last.get(user, ""), Counter())
        best = nlargest(
            K,
            (item for item in followers if item not in taken),
            key=lambda item: (followers[item], self._counts[item]),
        )
        return filled(best, self._popularity.recommend(user) if len(best) < K else ())

    def observe(self, interaction: Interaction) -> None:
        """Count an event after the one that its user took before."""
        user, item = interaction.user, interaction.item
        if item is None:
            return
        if user in self._last:
            self._followers[self._last[user]][item] += 1
        self._last[user] = item
        self._taken[user].add(item)
        self._counts[item] += 1
        self._popularity.observe(user, item)
