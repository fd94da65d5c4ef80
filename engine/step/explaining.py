"""Why an item has its score: what each feature adds to it.

A score is the item's bias and the sum of its features, each times the weight that it has for this
user (`engine.features.head.combine`). Both are read from the scratch, where scoring left them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.engine_state import Knowledge
from engine.features.table import FEATURE_NAMES
from engine.rules import Rules
from engine.step.calls import score_for
from engine.step.ranking import Ranked, competing

BIAS, RECENT_SHARE = "bias", "recent_share"
"""What a score consists of beside features: the item's own bias; for somebody without history, the
item's share in recent interactions, which is all of the score."""


def explain(
    known: Knowledge, user: int | None, now: int, ranked: Sequence[Ranked]
) -> list[dict[str, float]]:
    """What each feature adds to the scores of items, by its name; those that add nothing left out.

    Parameters
    ----------
    user
        For whom the items were ranked; None for somebody unknown.
    now
        The time of asking, in ms.
    ranked
        As `best` returned them, with nothing learnt since.
    """
    if user is None or len(history := known.history(user)) == 0:
        return [{RECENT_SHARE: each.score} for each in ranked]
    names = [each.item for each in ranked]
    exact = known.all_compete
    if not exact:
        # A large catalogue's usual candidates may not be those that rules asked for.
        known.forget_contest()
    if not known.has_contest_of(user, now):
        known.compete(competing(known, user, history, Rules(only=frozenset(names))))
    n = score_for(known.hold(), user, now, known.settings.history, known.competitors, exact)
    numbers = known.items.find_all(names)
    places = numbers if exact else np.searchsorted(known.candidates(n), numbers)
    scratch = known.scratch
    added = scratch.features[:, places].astype(np.float64) * scratch.weights[:, None]
    added[scratch.weights == 0] = 0.0  # what nobody weighs is not filled in
    biases = known.head.bias[numbers].tolist()
    if not exact:
        known.forget_contest()
    return [
        {BIAS: bias} | {name: value for name, value in zip(FEATURE_NAMES, values, strict=True)
                        if value}
        for bias, values in zip(biases, added.T.tolist(), strict=True)
    ]  # fmt: skip
