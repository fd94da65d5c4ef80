"""The engine: `observe` learns from an interaction and answers; `recommend` only answers."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from engine.engine_state import Knowledge
from engine.events import Interaction, Item, Kinds, item_text
from engine.features.interaction_stats import RATED, count, take_back
from engine.rules import Rules
from engine.settings import EngineSettings
from engine.state.container import SavedStateError
from engine.state.schema import State
from engine.state.snapshot import read_state, write_state
from engine.step.model import learn_step
from engine.step.ranking import Ranked, Ranking
from engine.text.encoder import TextEncoder

if TYPE_CHECKING:
    from engine.trained import TrainedModel

log = logging.getLogger("millrace.state")

Stage = Literal["learn", "graph", "propagate", "text", "rank"]

_ABSURD_YEAR = 10_000
_DESCRIBING = frozenset({"title", "text", "categories", "hidden"})
"""Fields of an item of which one at least is given by a message that describes it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A user's recommendations, best first, and the nanoseconds each stage took."""

    items: list[Ranked]
    stages_ns: dict[Stage, int] = field(default_factory=dict)


class Recommender(Knowledge):
    """A hybrid of graph and text that learns from every interaction.

    State is a fold over what it is told: the same calls with the same settings give the same
    answers. Not thread-safe: one thread calls.

    What it knows, and who leaves when there is no room, is told at `engine.engine_state`.

    An interaction that is older than its user's latest ones takes its place among them by its
    timestamp: graph, history lengths, counts and what follows what are as if it had come in time.
    What remains of the order of arrival: learnt weights; popularity, whose age is counted in
    events; the distance in transitions between what came before the late item and after it; what
    levels and text profiles had faded before it; which of a user's opinions, or of their kinds of
    event, on one item was the first. An equal timestamp keeps the order of arrival.

    Examples
    --------
    >>> from engine import Interaction, Item, Recommender
    >>> engine = Recommender()
    >>> engine.upsert_item(Item(item="m1", title="Alien", categories=["Horror", "Sci-Fi"]))
    >>> engine.upsert_item(Item(item="m2", title="Aliens", categories=["Action", "Sci-Fi"]))
    >>> answer = engine.observe(Interaction(
    ...     event_id="1", user="ann", item="m1", timestamp=1_000_000_000_000, kind="rating"))
    >>> [ranked.item for ranked in answer.items]
    ['m2']
    """

    STATE: ClassVar[State] = replace(
        Knowledge.STATE,
        unsaved=(*Knowledge.STATE.unsaved, "rules", "kinds", "_ranking", "_encoder"),
    )

    def __init__(self, settings: EngineSettings | None = None) -> None:
        super().__init__(settings or EngineSettings())
        self.rules = Rules.of(self.settings)
        self.kinds = Kinds(self.settings.kinds)
        self._ranking = Ranking()
        self._encoder: TextEncoder | None = None

    # ------------------------------------------------------------------ what it is told

    def observe(self, interaction: Interaction, answer: bool = True) -> Answer:
        """Learn from an interaction, then answer for its user: `observe_many` of one."""
        return self.observe_many((interaction,), (answer,))[0]

    def observe_many(
        self, interactions: Sequence[Interaction], answers: Sequence[bool] | None = None
    ) -> list[Answer]:
        """Learn from each interaction in turn, and answer for its user before the next.

        The model's step uses the state from before the interaction; the answer, from after it.
        A `forget` removes the user and answers as for somebody unknown; an event to be ignored
        teaches nothing and is answered. State and answers are the same however a log is cut into
        batches.

        Parameters
        ----------
        answers
            Whether each is to be answered; without, all are. What is learnt does not depend on
            it; the list of one that is not answered is empty.

        Raises
        ------
        ValueError
            If there are not as many `answers` as interactions; nothing is learnt then.
        """
        if answers is None:
            return [self._observe(interaction, True) for interaction in interactions]
        if len(answers) != len(interactions):
            raise ValueError(f"{len(interactions)} interactions, {len(answers)} answers")
        return [
            self._observe(interaction, answer)
            for interaction, answer in zip(interactions, answers, strict=True)
        ]

    def _observe(self, interaction: Interaction, answer: bool) -> Answer:
        if interaction.kind == "ignore":
            return self.recommend(interaction.user) if answer else Answer([])
        if interaction.kind == "forget" or interaction.item is None:
            self.forget(interaction.user)
            return self.recommend(interaction.user) if answer else Answer([])
        weight = self._weight(interaction)
        clock = _StageClock()
        introduced = self.items.find(interaction.item) is None
        user, item = self._intern_user(interaction.user), self._intern_item(interaction.item)
        self._purge(user, item)
        counted = self._seen.weight(user, item)
        later = self.graph.users.later(user, interaction.timestamp)
        history = self._history(user, later)
        if later:
            self._ranking.forget_last()  # which knows what came later
        # An item that its own event made known could not have been shown: that it was taken would
        # teach that what is new and unpopular is taken.
        if weight > 0 and counted is None and not introduced and len(history):
            self._learn(user, item, history)
        self._ranking.forget_last()
        # What was disliked first and taken later is counted then.
        new = not counted and (weight > 0 or counted is None)
        if new:
            self._seen.put(user, item, weight)
        self._judge(user, item, interaction)
        clock.lap("learn")
        if weight > 0:
            self.graph.insert(user, item, weight, interaction.timestamp)
            self._candidates.index_embedding(
                item, int(self.graph.items.degree[item]), self.embeddings.outputs[item]
            )
            if new:
                count(self, user, item, history, weight, interaction, later)
        clock.lap("graph")
        if weight > 0:
            self.embeddings.propagate(self.graph, user, item)
        clock.lap("propagate")
        if weight > 0 and self._reads_text:
            self._read_text(user, item, interaction.text, later)
        clock.lap("text")
        items = self._ranking.best(self, user, self.settings.k, self.rules) if answer else []
        clock.lap("rank")
        return Answer(items, clock.laps)

    def _weight(self, interaction: Interaction) -> float:
        try:
            return self.kinds.weights[interaction.kind]
        except KeyError:
            known = ", ".join(self.kinds.known)
            raise ValueError(f"kind: {interaction.kind!r} is unknown; known are {known}") from None

    def upsert_item(self, item: Item, embedding: NDArray[np.float32] | None = None) -> None:
        """Add an item to the catalogue, or replace what it says of it.

        Parameters
        ----------
        embedding : float32[384], optional
            The encoder's embedding of `item_text(item)`; without it the text is encoded here.
        """
        self._ranking.forget_last()
        # No use: the catalogue may be told twice, which must change nothing.
        number = self._intern_item(item.item, use=False)
        self.categories.set_item(number, item.categories)
        self._hidden[number] = item.hidden
        self._because[number] = f"because of {item.title or item.item}"
        if self._reads_text:
            if embedding is None and (text := item_text(item)):
                embedding = self._encode(text)
            self._rotate(self.vectors.set_item(number, embedding, item.categories, _year(item)))
            self._candidates.index_text(number, self.vectors.vectors[number])

    def describe_item(self, item: Item, given: Collection[str]) -> None:
        """Take over what a message says of an item; its text's embedding may come later.

        One that gives a title, a text or categories describes the item anew: it is hidden if it
        says so. Any other, as of a price alone, leaves alone what it does not give.

        Parameters
        ----------
        given
            The names of the fields of `item` that the message gives: others stay as they are.
        """
        self._ranking.forget_last()
        number = self._intern_item(item.item, use=False)
        if not _DESCRIBING.isdisjoint(given):
            self._hidden[number] = item.hidden
        if "title" in given:
            self._because[number] = f"because of {item.title or item.item}"
        if "categories" in given:
            self.categories.set_item(number, item.categories)
        if self._reads_text and ("categories" in given or "year" in item.properties):
            before = self.vectors.vectors[number].copy()
            categories = self.categories.of(number)
            self._rotate(self.vectors.set_item(number, None, categories, _year(item)))
            after = self.vectors.vectors[number]
            if not np.array_equal(before, after):  # told twice: an index would change all the same
                self._candidates.index_text(number, after)

    def embed_item(self, name: str, embedding: NDArray[np.float32]) -> None:
        """Set the embedding (float32[384]) of an item's text; nothing of an unknown item."""
        number = self.items.find(name)
        if number is None or not self._reads_text:
            return
        self._ranking.forget_last()
        self._rotate(self.vectors.set_text(number, embedding))
        self._candidates.index_text(number, self.vectors.vectors[number])

    def remove_item(self, name: str) -> None:
        """Recommend an item no more, and forget what the catalogue said of it."""
        if self.items.find(name) is not None:
            gone = Item(item=name, hidden=True)
            self.describe_item(gone, {"hidden", "title", "categories"})

    def forget(self, user: str) -> None:
        """Remove a user's rows, and what they added to counts and transitions.

        What the user taught the learnt weights is mixed with what others taught and stays, and so
        does their part in recent popularity, which fades. Transitions are taken back as far as
        their rows still hold them.
        """
        number = self.users.find(user)
        if number is None:
            return
        self._purge(number)
        take_back(self, number)
        self._ranking.forget_last()
        self._clear_user(number)

    def warm_start(self, model: TrainedModel) -> None:
        """Begin with what was trained offline, before anything is observed (`engine.trained`).

        Raises
        ------
        WarmStartError
            If something was observed, or the model does not fit the settings.
        """
        from engine.trained.warm import check_fit, warm_start  # noqa: PLC0415 - few start so

        check_fit(self.settings, len(self.users), model)
        users = np.array([self._intern_user(name) for name in model.users], np.int32)
        items = np.array([self._intern_item(name) for name in model.items], np.int32)
        warm_start(self.embeddings, model, users, items)

    @classmethod
    def new(cls, settings: EngineSettings) -> Recommender:
        """An engine that has observed nothing, warm-started as the settings want it.

        Raises
        ------
        TrainedModelError
            If the folder of the trained model cannot be used.
        """
        engine = cls(settings)
        if settings.trained:
            from engine.trained import TrainedModel  # noqa: PLC0415 - few engines start so

            engine.warm_start(TrainedModel.load(settings.trained))
        return engine

    # ------------------------------------------------------------------ what it is asked

    def recommend(self, user: str, k: int | None = None, rules: Rules | None = None) -> Answer:
        """The user's best items now; for somebody unknown, what is trending. Teaches nothing.

        `k` and `rules` are those of the settings, unless given.
        """
        clock = _StageClock()
        number = self.users.find(user)
        if number is not None:
            self._purge(number)
        items = self._ranking.best(self, number, k or self.settings.k, rules or self.rules)
        clock.lap("rank")
        return Answer(items, clock.laps)

    # ------------------------------------------------------------------ what it is kept in

    def save(self, path: str | Path, notes: object = None) -> None:
        """Write the whole state to one file, which is there whole or not at all.

        `notes`, anything that JSON can say, are for `engine.state.snapshot.read_notes`.

        Raises
        ------
        OSError
            If it cannot be written; a file that was at `path` is left as it was.
        """
        encoder = TextEncoder.name if self._reads_text else None
        write_state(Path(path), self, self.settings.model_dump(mode="json"), encoder, notes)

    @classmethod
    def load(cls, path: str | Path, settings: EngineSettings | None = None) -> Recommender:
        """The engine that was saved: told the same, it answers as one that never was.

        Parameters
        ----------
        settings
            What to go on with instead of the saved ones; those that shape the state must agree.

        Raises
        ------
        OSError
            If the file cannot be read.
        SavedStateError
            If it is no saved state, is damaged, or was saved by a Millrace that kept other state
            or under settings that shape it otherwise.
        """

        def made(saved: dict[str, Any]) -> Recommender:
            unknown = saved.keys() - EngineSettings.model_fields.keys()
            if unknown:
                log.warning("%s: settings that are no more: %s", path,
                            ", ".join(f"engine.{name}" for name in sorted(unknown)))  # fmt: skip
            old = EngineSettings.model_validate({k: saved[k] for k in saved.keys() - unknown})
            for name in settings.differing_shape(old) if settings else ():
                raise SavedStateError(
                    f"{path}: saved with engine.{name} = {getattr(old, name)}, "
                    f"here it is {getattr(settings, name)}"
                )
            return cls(settings or old)

        return read_state(Path(path), made, TextEncoder.name)

    # ------------------------------------------------------------------ what an event teaches

    def _learn(self, user: int, item: int, history: NDArray[np.int32]) -> None:
        """One online step on what the model would have answered just before this interaction.

        None if the item did not compete: put among the candidates by hand it would teach that
        what is taken is what nothing speaks for.
        """
        found = self._ranking.contest_of(self, user, history, item)
        if found is None:
            return
        contest, target = found
        e, h = self.embeddings, self.head
        learn_step(
            contest.features, contest.scores, contest.weights, contest.context, user, history,
            target, self.popularity.counts, contest.vectors, contest.candidates, h.weights,
            h.accumulated, h.active, h.bias, h.bias_accumulated, self.taste.maps,
            self.taste.accumulated, self.taste.profiles, e.inputs, e.outputs, e.personal_outputs,
            e._accumulated, e.users, e.personal, e.directions, e._accumulated_users, e.next_draw(),
        )  # fmt: skip
        e.learnt(user, history)

    def _judge(self, user: int, item: int, interaction: Interaction) -> None:
        """Remember a dislike or a low rating; a better opinion takes it back."""
        value = interaction.value if interaction.kind in RATED else None
        low = value is not None and value <= self.settings.low_value
        if interaction.kind == "dislike" or low:
            self.dislikes.add(user, item)
        elif value is not None or interaction.kind == "like":
            self.dislikes.remove(user, item)

    def _read_text(self, user: int, item: int, review: str | None, later: int) -> None:
        """Add what the user wrote, or else the item's text, to their taste."""
        vector = self.vectors.vectors[item]
        if review and self.settings.review_text:
            embedding = self._encode(review)
            self._rotate(self.vectors.add_review(item, embedding))
            self._candidates.index_text(item, self.vectors.vectors[item])
            vector = self.vectors.project(embedding)
        self.taste.record(user, vector, later)

    def _encode(self, text: str) -> NDArray[np.float32]:
        if self._encoder is None:
            self._encoder = TextEncoder(self.settings.text_cache)
        return self._encoder.encode([text])[0]

    def _rotate(self, rotation: NDArray[np.float32] | None) -> None:
        if rotation is not None:
            self.taste.rotate(rotation)
            if not self._candidates.are_all(len(self.items)):
                self._candidates.index_texts(self.vectors.vectors[: len(self.items)])


def _year(item: Item) -> float | None:
    year = item.properties.get("year")
    return year if isinstance(year, int | float) and abs(year) < _ABSURD_YEAR else None


class _StageClock:
    """Nanoseconds between laps."""

    def __init__(self) -> None:
        self.laps: dict[Stage, int] = {}
        self._last = perf_counter_ns()

    def lap(self, stage: Stage) -> None:
        now = perf_counter_ns()
        self.laps[stage] = now - self._last
        self._last = now
