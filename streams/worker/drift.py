"""What drifts when users, items or the model change: scores, and how popular items are.

`deploy/alerts.yml` compares the distributions of today with those of a week ago.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from math import log

from engine.features.faded import SHARE_OFFSET
from engine.features.popularity import RECENT
from engine.recommender import Recommender
from engine.step.ranking import Ranked

SCORES = tuple(float(score) for score in range(-4, 21))
"""Upper bounds of the buckets of a score, which is a logit or, for a stranger, a log share."""
SHARES = (*(float(f"{step}e{power}") for power in range(-5, 0) for step in (1, 2.5, 5)), 1.0)
"""Upper bounds of the buckets of an item's share of the recent interactions."""
# As `engine.features.faded.log_share` has them: the engine keeps logarithms, and so none is undone.
_LOG_SHARES = tuple(log(1e-5 + share) + float(SHARE_OFFSET) for share in SHARES)
_NEVER_TAKEN = 0.0


class Drift:
    """Histograms of scores and of popularity: an event costs a microsecond.

    Popularity is an item's share of the recent interactions as ranking reads it: what was taken
    3,000 events ago counts half. One thread counts; any may read.

    Attributes
    ----------
    scores : list of int
        How many of the lists have a first item whose score lies between which `SCORES`.
    recommended, taken : list of int
        The same of popularity and `SHARES`: of the first item of each list, and of the item of each
        event from before it.
    """

    def __init__(self, engine: Recommender) -> None:
        self._engine = engine
        self.scores = [0] * (len(SCORES) + 1)
        self.recommended = [0] * (len(SHARES) + 1)
        self.taken = [0] * (len(SHARES) + 1)

    def count_taken(self, item: int | None) -> None:
        """Count the item of an event that is about to be learnt; None: one that is not known."""
        log_share = _NEVER_TAKEN
        if item is not None:
            log_share = self._engine.popularity.features.item(RECENT, item)
        self.taken[bisect_left(_LOG_SHARES, log_share)] += 1

    def count_answer(self, items: Sequence[Ranked]) -> None:
        """Count a list that is answered; an empty one has nothing to count."""
        if not items:
            return
        best, score, _ = items[0]
        self.scores[bisect_left(SCORES, score)] += 1
        engine = self._engine
        item = engine.items.find(best)
        if item is not None:  # an event behind in the batch may have taken its number
            log_share = engine.popularity.features.item(RECENT, item)
            self.recommended[bisect_left(_LOG_SHARES, log_share)] += 1
