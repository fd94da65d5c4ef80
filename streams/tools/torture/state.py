"""What the workers know at the end, beside what a run that nothing disturbed would know."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from engine.evaluation.measures import RankingMeasures
from engine.evaluation.queries import Queries, prequential
from engine.events import Interaction
from engine.recommender import Recommender
from engine.state.order_free_digest import commuting_state, differing
from engine.state.schema import differing_entries, state_digest
from streams.messages.schemas import RankedItem
from streams.settings import Settings
from streams.tools.torture.account import Place, Sent
from streams.worker.catalogue import Catalogue
from streams.worker.checkpoints import Checkpoint, Checkpoints
from streams.worker.partition import Progress

_NAMED = 10
"""How many of what differs are named in the report."""


def undisturbed(
    settings: Settings, sent: list[Sent], answers: dict[Place, list[RankedItem]]
) -> tuple[Recommender, list[Place], dict[int, Progress]]:
    """Fold the input into an engine here, in this process: no Kafka group, no crash, no replay.

    With several partitions one of the interleavings that could have been: by the broker's time.

    Returns
    -------
    Recommender, list of places, dict of Progress
        The engine; the messages whose answers were other ones than it gives (only with one
        partition is there one right answer; with several there are none); where the partitions
        stand at the end.
    """
    engine = Recommender(settings.engine)
    catalogue = Catalogue(settings, engine)
    catalogue.read_to_end()
    others: list[Place] = []
    one = settings.topics.partitions == 1
    partitions = {
        number: Progress(window=settings.worker.duplicate_window)
        for number in range(settings.topics.partitions)
    }
    for each in sorted(sent, key=lambda s: (s.timestamp_ms, s.place)) if not one else sent:
        number, offset = each.place
        partitions[number].next_offset = offset + 1
        if each.what == "event" and each.interaction is not None:
            partitions[number].count(
                each.interaction.user, each.interaction.event_id, each.interaction.timestamp
            )
            answer = engine.observe(each.interaction)
            items = [RankedItem(*ranked) for ranked in answer.items]
            if one and answers.get(each.place, items) != items:
                others.append(each.place)
    return engine, others, partitions


def compare(
    settings: Settings,
    survivor: Checkpoint,
    whole: Recommender,
    partitions: dict[int, Progress],
    sent: list[Sent],
    following: Iterable[Interaction],
) -> dict[str, Any]:
    """How the state that survived differs from the undisturbed one; both go on learning here.

    Returns
    -------
    dict
        ``state_identical``: byte for byte with one partition; all that commutes with several.
        ``state_differs``: the first few names of what does not. ``following``: NDCG@10 of both,
        prequentially, on events that neither has seen.
    """
    engine = survivor.engine
    report: dict[str, Any] = {"state_digest": state_digest(engine)}
    differs = [
        f"partition {number}: {name}"
        for number, partition in partitions.items()
        for name in ("next_offset", "newest_ms", "applied", "digest")
        if getattr(partition, name) != getattr(survivor.notes.partitions[number], name)
    ]
    if settings.topics.partitions == 1:
        report["state_digest_undisturbed"] = state_digest(whole)
        differs += differing_entries(engine, whole)
    else:
        differs += differing(commuting_state(engine), commuting_state(whole))
    report |= {
        "state_identical": not differs,
        "state_compared": "byte for byte" if settings.topics.partitions == 1 else "what commutes",
        "state_differs": differs[:_NAMED],
        "state_differences": len(differs),
    }
    events = list(following)
    if events:
        ours, theirs = (following_ndcg(each, sent, events) for each in (engine, whole))
        report["following"] = {
            "events": len(events),
            "queries": ours.queries,
            "ndcg@10": round(ours.ndcg, 5),
            "ndcg@10_undisturbed": round(theirs.ndcg, 5),
            "difference": round(ours.ndcg - theirs.ndcg, 5),
        }
    return report


def following_ndcg(
    engine: Recommender, sent: list[Sent], following: list[Interaction]
) -> RankingMeasures:
    """Rank, then learn, each of the following events (`engine.evaluation.queries`)."""
    queries = Queries()
    queries.note_all(each.interaction for each in sent if each.interaction is not None)

    measures = RankingMeasures()
    rank = partial(queries.rank_new, engine)
    for step in prequential(following, rank, engine.observe, queries):
        if step.ranked is not None:
            measures.add(step.ranked, step.item)
    return measures


def survivor(settings: Settings) -> Checkpoint | None:
    """The newest checkpoint that the workers left: that of the one that was stopped last."""
    found = sorted(Path(settings.worker.checkpoints).rglob("*.millrace"))
    if not found:
        return None
    folder = Checkpoints(found[-1].parent, settings.worker.checkpoints_kept)
    return folder.newest(settings.engine, lambda _notes: None)
