"""The lists of users in arms: of events, and of those who ask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from engine import lookup
from engine.events import Interaction
from engine.recommender import Answer, Recommender
from engine.rules import Rules
from engine.step.ranking import Ranked
from streams.experiments.arms import Arms, Treatment, fraction


def observe_many(
    engine: Recommender,
    arms: Arms,
    events: Sequence[Interaction],
    wanted: Sequence[bool],
    teaches: Sequence[bool] | None = None,
) -> list[Answer]:
    """`Recommender.observe_many`, with the lists that the users' arms ask for.

    What is learnt does not depend on the arms. Users of an arm that differs are answered apart,
    which takes their events out of the batch.
    """
    if not arms:
        return engine.observe_many(events, wanted, teaches)
    answers: list[Answer] = []
    batch: list[Interaction] = []
    asked: list[bool] = []
    taught: list[bool] = []
    for event, answer, teach in zip(events, wanted, teaches or [True] * len(events), strict=True):
        treatment = arms.treatment(arms.of(event.user))
        apart = answer and not treatment.usual
        batch.append(event)
        asked.append(answer and not apart)
        taught.append(teach)
        if apart:
            *before, last = engine.observe_many(batch, asked, taught)
            listed = recommend(engine, treatment, event.user, event.timestamp, event.event_id)
            stages = last.stages_ns | listed.stages_ns
            answers += [*before, Answer(listed.items, stages)]
            batch, asked, taught = [], [], []
    return answers + engine.observe_many(batch, asked, taught)


def recommend(
    engine: Recommender,
    treatment: Treatment,
    user: str,
    now: int,
    seed: str,
    k: int | None = None,
    rules: Rules | None = None,
) -> Answer:
    """The user's list at a time (ms) as their treatment has it.

    Parameters
    ----------
    seed
        What decides the order of a shuffled list, beside the user.
    k, rules
        In place of the treatment's.
    """
    k, rules = k or treatment.k, rules or treatment.rules
    if treatment.list == "noop":
        # The list of a stranger (nobody has an empty id), without what the user has for good.
        without = rules.without.union(lookup.taken_for_good(engine, user))
        return engine.recommend("", k, replace(rules, without=without), now)
    answer = engine.recommend(user, k, rules, now)
    if treatment.list == "shuffle":
        order = sorted(answer.items, key=lambda ranked: fraction(f"{user}/{seed}", ranked.item))
        return Answer(order, answer.stages_ns)
    return answer


def explain(
    engine: Recommender, treatment: Treatment, user: str, ranked: Sequence[Ranked], now: int
) -> list[dict[str, float]]:
    """What each feature adds to the scores of a user's list (`Recommender.explain`)."""
    return engine.explain("" if treatment.list == "noop" else user, ranked, now)
