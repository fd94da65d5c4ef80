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
from streams.worker.checkpoints import Checkpoint, Checkpoints, Notes
from streams.worker.partition import Progress
from streams.worker.stores import SUFFIX, Folder

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


class Left:
    """The checkpoints that the workers left: what each of them knew when it was stopped.

    Attributes
    ----------
    newest
        That of the worker that was stopped last.
    """

    def __init__(self, settings: Settings, newest: Checkpoint, folder: Checkpoints) -> None:
        self.newest = newest
        self._settings, self._folder = settings, folder

    @classmethod
    def of(cls, settings: Settings) -> Left | None:
        """Those of a run; None if there is none."""
        found = sorted(Path(settings.worker.checkpoints).rglob(f"*{SUFFIX}"))
        if not found:
            return None
        folder = Checkpoints(Folder(found[-1].parent), settings.worker.checkpoints_kept)
        newest = folder.newest(settings.engine, _fits)
        return cls(settings, newest, folder) if newest else None

    def of_partition(self, number: int) -> Checkpoint | None:
        """The furthest with the users of a partition."""
        for file in self._folder.holding(number, -1)[:1]:
            if file.name == self.newest.name:
                return self.newest
            return self._folder.load(file, self._settings.engine, _fits)
        return None

    def as_far(self) -> list[Checkpoint]:
        """Those whose items know of as many events as the newest's: one a worker that was stopped
        in order."""
        progress = f"{self.newest.notes.progress:016d}"
        files = [f for f in self._folder.newest_first() if f.name.startswith(progress)]
        loaded = (self._folder.load(file, self._settings.engine, _fits) for file in files[::-1])
        return [checkpoint for checkpoint in loaded if checkpoint is not None]


def _fits(_notes: Notes) -> None:
    """Whatever is there is looked at."""


def compare(
    settings: Settings,
    left: Left,
    whole: Recommender,
    partitions: dict[int, Progress],
    sent: list[Sent],
    following: Iterable[Interaction],
) -> dict[str, Any]:
    """How the state that is left differs from the undisturbed one; both go on learning here.

    Returns
    -------
    dict
        ``state_identical``: byte for byte with one partition; all that commutes with several.
        ``state_differs``: the first few names of what does not. ``items_compared``: how many
        workers' items were. ``following``: NDCG@10 of both, prequentially, on events that neither
        has seen.
    """
    engine = left.newest.engine
    report: dict[str, Any] = {"state_digest": state_digest(engine)}
    differs = _differing_progress(left, partitions)
    if settings.topics.partitions == 1:
        report["state_digest_undisturbed"] = state_digest(whole)
        differs += differing_entries(engine, whole)
    else:
        workers = left.as_far()
        report["items_compared"] = len(workers)
        differs += _differing_state(left, workers, whole, partitions)
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


def _differing_progress(left: Left, partitions: dict[int, Progress]) -> list[str]:
    """What the notes say otherwise of partitions than an undisturbed run."""
    differs = []
    for number, partition in partitions.items():
        found = left.of_partition(number)
        if found is None:
            differs.append(f"partition {number}: nobody has its users")
            continue
        differs += [
            f"partition {number}: {name}"
            for name in ("next_offset", "newest_ms", "applied", "digest")
            if getattr(partition, name) != getattr(found.notes.partitions[number], name)
        ]
    return differs


def _differing_state(
    left: Left, workers: list[Checkpoint], whole: Recommender, partitions: dict[int, Progress]
) -> list[str]:
    """Users and items that are not as in an undisturbed run, of each partition and worker."""
    expected = commuting_state(whole)
    users = {name: held for name, held in expected.items() if name.startswith("user ")}
    there: dict[str, Any] = {}
    for number in partitions:
        if (found := left.of_partition(number)) is not None:
            state = commuting_state(found.engine)
            there |= {f"user {user}": state[f"user {user}"]
                      for user in found.engine.users_of(number)}  # fmt: skip
    counts = _item_counts(expected)
    return differing(there, users) + [
        f"{name} ({found.name})"
        for found in workers
        for name in differing(_item_counts(commuting_state(found.engine)), counts)
    ]


def _item_counts(state: dict[str, Any]) -> dict[str, float]:
    """Weighted counts of the items that were taken: a worker may not know of the others."""
    return {name: held[1] for name, held in state.items() if name.startswith("item ") and held[1]}


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
