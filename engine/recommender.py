"""The engine: `observe` learns from an interaction and answers; `recommend` only answers."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from engine.engine_state import Knowledge
from engine.events import Interaction, Item, Kinds, item_text
from engine.features.item_codes import SECOND_HOPS, TEXT_VECTORS
from engine.graph import WEIGHTS
from engine.rules import Rules
from engine.settings import EngineSettings
from engine.sharing import DeltaError, ItemDelta
from engine.sharing.item_side import ItemSide
from engine.sharing.users import move_users
from engine.state.container import SavedStateError
from engine.state.renumbering import renumber_users
from engine.state.schema import State
from engine.state.snapshot import read_state, write_state
from engine.step.calls import observe_events, take_in_one
from engine.step.events import EVENT, GRAPH, STAGES
from engine.step.explaining import explain
from engine.step.forgetting import take_back
from engine.step.ranking import Ranked, best, competing, named
from engine.text.encoder import TextEncoder
from engine.text.tokens import TokenEncoder

if TYPE_CHECKING:
    from engine.trained import TrainedModel

log = logging.getLogger("millrace.state")

RATED = ("rating", "review")
"""Kinds of interactions whose value is a rating."""
_ABSURD_YEAR = 10_000
_DESCRIBING = frozenset({"title", "text", "categories", "hidden"})
"""Fields of an item of which one at least is given by a message that describes it."""


_Row = tuple[int, float, int, int, int, int, int, bool, bool, bool, bool, bool]
"""An `engine.step.events.EVENT`."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A user's recommendations, best first, and the nanoseconds each stage took."""

    items: list[Ranked]
    stages_ns: dict[str, int] = field(default_factory=dict)


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
        unsaved=(*Knowledge.STATE.unsaved, "rules", "kinds", "_encoder", "_reviews"),
    )

    def __init__(self, settings: EngineSettings | None = None) -> None:
        super().__init__(settings or EngineSettings())
        self.rules = Rules.of(self.settings)
        self.kinds = Kinds(self.settings.kinds)
        self._encoder: TextEncoder | None = None
        self._reviews: TokenEncoder | None = None

    # ------------------------------------------------------------------ what it is told

    def observe(self, interaction: Interaction, answer: bool = True) -> Answer:
        """Learn from an interaction, then answer for its user: `observe_many` of one."""
        return self.observe_many((interaction,), (answer,))[0]

    def observe_many(
        self,
        interactions: Sequence[Interaction],
        answers: Sequence[bool] | None = None,
        teaches: Sequence[bool] | None = None,
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
        teaches
            Whether each teaches the items; without, all do. One that does not gives its user what
            they took, and the items nothing: they have it from a delta (`apply_delta`).

        Raises
        ------
        ValueError
            If there are not as many `answers` or `teaches` as interactions, or a kind is unknown;
            nothing is learnt then.
        """
        wanted = [True] * len(interactions) if answers is None else answers
        taught = [True] * len(interactions) if teaches is None else teaches
        for given, what in ((wanted, "answers"), (taught, "teaches")):
            if len(given) != len(interactions):
                raise ValueError(f"{len(interactions)} interactions, {len(given)} {what}")
        units = [self._units(interaction) for interaction in interactions]
        answered: list[Answer] = []
        rows: list[_Row] = []
        for interaction, answer, teach, weight in zip(
            interactions, wanted, taught, units, strict=True
        ):
            if interaction.kind in ("ignore", "forget") or interaction.item is None:
                answered += self._observe_rows(rows)
                if interaction.kind != "ignore":
                    self.forget(interaction.user, teach)
                answered.append(self.recommend(interaction.user) if answer else Answer([]))
                continue
            if rows and not self.is_room_for(interaction.user, interaction.item):
                answered += self._observe_rows(rows)
            row = self._row(interaction, interaction.item, weight, answer, teach)
            if self._is_compiled(interaction):
                rows.append(row)
            else:
                answered += self._observe_rows(rows)
                answered.append(self._observe_in_parts(row, interaction, answer))
        return answered + self._observe_rows(rows)

    def _units(self, interaction: Interaction) -> int:
        """The weight of an interaction's kind, in units of 1 / 255; of one that is none, 0."""
        weight = self.kinds.weights.get(interaction.kind)
        if weight is None and interaction.kind != "forget":
            known = ", ".join(self.kinds.known)
            raise ValueError(f"kind: {interaction.kind!r} is unknown; known are {known}")
        return max(round(weight * WEIGHTS), 1) if weight else 0

    def _row(
        self, interaction: Interaction, item: str, units: int, answer: bool, teaches: bool
    ) -> _Row:
        """An interaction in numbers (`engine.step.events.EVENT`); who is new gets a number."""
        value = interaction.value if interaction.kind in RATED else None
        judgement = 0
        if interaction.kind == "dislike" or (
            value is not None and value <= self.settings.low_value
        ):
            judgement = -1
        elif value is not None or interaction.kind == "like":
            judgement = 1  # a better opinion takes a dislike back
        introduced = self.items.find(item) is None
        final = interaction.kind == "dislike" or interaction.kind in self.settings.excludes
        return (
            interaction.timestamp, value or 0.0, self.number_user(interaction.user),
            self.number_item(item), len(self.items), units, judgement, value is not None,
            introduced, self.repeats and not final, answer, teaches,
        )  # fmt: skip

    def _is_compiled(self, interaction: Interaction) -> bool:
        """Whether no part of an event is the interpreter's."""
        if interaction.text and self._is_described_by_reviews(
            self.items.find(interaction.item or "")
        ):
            return False
        return (
            self.all_compete
            and self.embeddings.is_compiled
            and not (self.rules.restrict or self.rules.look_at_lists)
        )

    def _observe_rows(self, rows: list[_Row]) -> list[Answer]:
        """Take in events of which all is compiled, and empty the list of them."""
        if not rows:
            return []
        k, n = self.settings.k, len(rows)
        events = np.array(rows, EVENT)
        told, found = np.zeros((n, 3, k)), np.zeros(n, np.int32)
        stages = np.zeros((n, len(STAGES)), np.int64)
        done = 0
        while done < n:
            held = self.hold()
            done = observe_events(held, events, done, self.settings.history, k, told, found, stages)
            if done < n:
                self.make_room()
        rows.clear()
        lists = named(self, told, found.tolist())
        return [
            Answer(items, dict(zip(STAGES, laps, strict=True)))
            for items, laps in zip(lists, stages.tolist(), strict=True)
        ]

    def _observe_in_parts(self, row: _Row, interaction: Interaction, answer: bool) -> Answer:
        """Take in an event part by part: some of it is not compiled."""
        clock = _StageClock()
        events = np.array([row], EVENT)
        names = ("user", "item", "units", "teaches")
        user, item, units, teaches = (int(events[name][0]) for name in names)
        self.purge(user)
        later = self.graph.users.later(user, interaction.timestamp)
        history = self.history(user, later)
        learns = teaches and units > 0 and len(history) and item not in self.taken.final_of(user)
        if learns and (later or not self.has_contest_of(user, interaction.timestamp)):
            self.compete(competing(self, user, history))
        laps, steps = np.zeros(len(STAGES), np.int64), int(self.embeddings.steps[0])
        while not take_in_one(
            self.hold(), events, self.settings.history, self.competitors, self.all_compete, laps
        ):
            self.make_room()
        if int(self.embeddings.steps[0]) > steps:
            self.embeddings.learnt(user, history)
        if units > 0:
            self.retrieval.index_embedding(
                item, int(self.graph.items.degree[item]), self.embeddings.outputs[item]
            )
        clock.lap("learn")
        clock.laps["graph"] = int(laps[GRAPH])
        clock.laps["learn"] -= clock.laps["graph"]
        if units > 0:
            self.embeddings.propagate(self.graph, user, item)
            self.encode(events["item"], SECOND_HOPS)
        clock.lap("propagate")
        if units > 0 and self.reads_text:
            self._read_text(user, item, interaction.text, later)
        clock.lap("text")
        k, now = self.settings.k, interaction.timestamp
        items = best(self, user, now, k, self.rules) if answer else []
        clock.lap("rank")
        return Answer(items, clock.laps)

    def upsert_item(self, item: Item, embedding: NDArray[np.float32] | None = None) -> None:
        """Add an item to the catalogue, or replace what it says of it.

        Parameters
        ----------
        embedding : float32[384], optional
            The encoder's embedding of `item_text(item)`; without it the text is encoded here.
        """
        self.forget_contest()
        number = self.list_item(item.item)
        self.categories.set_item(number, item.categories)
        self.hidden[number] = item.hidden
        self.reasons[number] = f"because of {item.title or item.item}"
        if self.reads_text:
            if embedding is None and (text := item_text(item)):
                embedding = self._encode(text)
            rotation = self.vectors.set_item(number, embedding, item.categories, _year(item))
            self._set_text(number, rotation)
            self.retrieval.index_text(number, self.vectors.vectors[number])

    def describe_item(self, item: Item, given: Collection[str]) -> None:
        """Take over what a message says of an item; its text's embedding may come later.

        One that gives a title, a text or categories describes the item anew: it is hidden if it
        says so. Any other, as of a price alone, leaves alone what it does not give.

        Parameters
        ----------
        given
            The names of the fields of `item` that the message gives: others stay as they are.
        """
        self.forget_contest()
        number = self.list_item(item.item)
        if not _DESCRIBING.isdisjoint(given):
            self.hidden[number] = item.hidden
        if "title" in given:
            self.reasons[number] = f"because of {item.title or item.item}"
        if "categories" in given:
            self.categories.set_item(number, item.categories)
        if self.reads_text and ("categories" in given or "year" in item.properties):
            before = self.vectors.vectors[number].copy()
            categories = self.categories.of(number)
            self._set_text(number, self.vectors.set_item(number, None, categories, _year(item)))
            after = self.vectors.vectors[number]
            if not np.array_equal(before, after):  # told twice: an index would change all the same
                self.retrieval.index_text(number, after)

    def embed_item(self, name: str, embedding: NDArray[np.float32]) -> None:
        """Set the embedding (float32[384]) of an item's text; nothing of an unknown item."""
        number = self.items.find(name)
        if number is None or not self.reads_text:
            return
        self.forget_contest()
        self._set_text(number, self.vectors.set_text(number, embedding))
        self.retrieval.index_text(number, self.vectors.vectors[number])

    def remove_item(self, name: str) -> None:
        """Recommend an item no more, and forget what the catalogue said of it."""
        if self.items.find(name) is not None:
            gone = Item(item=name, hidden=True)
            self.describe_item(gone, {"hidden", "title", "categories"})

    def forget(self, user: str, teaches: bool = True) -> None:
        """Remove a user's id and rows, and what they added to counts and transitions.

        What the user taught the learnt weights is mixed with what others taught and stays.
        Transitions are taken back as far as their rows still hold them.

        Parameters
        ----------
        teaches
            Whether counts and transitions change; else they have changed already, by a delta.
        """
        number = self.users.find(user)
        if number is None:
            return
        self.purge(number)
        if teaches:
            take_back(self, number)
            self._replaced()
        self.leave((user,))

    def collect_delta(
        self, ranges: Mapping[int, tuple[int, int]], limit: int = 1 << 30
    ) -> ItemDelta:
        """What was added to items since the last call, for engines that have the other users.

        Parameters
        ----------
        ranges
            Of each partition whose events were observed since: the first offset, and the one after
            the last.
        limit
            Rows of each learnt table, biases and transitions that are told at most, the most
            changed: other rows wait, other transitions are dropped. Counts are all told.

        Raises
        ------
        RuntimeError
            If this engine shares nothing (`share`).
        """
        return self._shared().collect(self.items.names, ranges, limit)

    def apply_delta(self, delta: ItemDelta) -> bool:
        """Add what another engine collected; returns whether it was new.

        Raises
        ------
        DeltaError
            If some of its events are in this engine's items and some are not, or it names more
            items than there can be.
        RuntimeError
            If this engine shares nothing (`share`).
        """
        shared = self._shared()
        if not shared.is_new(delta):
            return False
        self.forget_contest()
        numbers = self._numbers_of(delta.names)
        counted = numbers[delta.counted.items]
        before = self.popularity.counts[counted]
        self._item_order.touch_all(counted)
        shared.merge(delta, numbers, len(self.items))
        self.encode(numbers)
        self._replaced()
        if not self.all_compete:
            after = self.popularity.counts[counted]
            for item, one, other in zip(
                counted.tolist(), before.tolist(), after.tolist(), strict=True
            ):
                self.retrieval.index_counted(item, one, other, self.embeddings.outputs[item])
        return True

    def _numbers_of(self, names: list[str]) -> NDArray[np.int32]:
        """The numbers of items that a delta names; who is new gets one."""
        if len(names) > self.settings.max_items:
            raise DeltaError(
                f"names: {len(names)} items, and engine.max_items is {self.settings.max_items}"
            )
        numbers = self.items.find_all(names)
        new = np.flatnonzero(numbers < 0).tolist()
        if len(self.items) + len(new) > self.settings.max_items:
            self._item_order.touch_all(numbers[numbers >= 0])  # none of these makes room
        for place in new:
            numbers[place] = self.meet_item(names[place])
        return numbers

    def users_apart(self, names: Iterable[str]) -> Recommender:
        """An engine that has these users and knows nothing else: to be saved, and taken in."""
        apart = Recommender(self.settings)
        move_users(self, apart, names)
        apart._replaced()
        return apart

    def take_in(self, other: Recommender, names: Iterable[str] | None = None) -> None:
        """Have these users of another engine, or all, from now on (`engine.sharing.users`).

        Raises
        ------
        ValueError
            If the engines' settings differ where they shape the state.
        """
        move_users(other, self, other.users.names if names is None else names)
        self._replaced()

    def exchange(self, other: Recommender) -> None:
        """Swap the whole states of two engines.

        Raises
        ------
        ValueError
            If their settings differ, or either shares its items (`share`).
        """
        if other.settings != self.settings or self.item_side or other.item_side:
            raise ValueError("engines of equal settings that share no items can be exchanged")
        self.__dict__, other.__dict__ = other.__dict__, self.__dict__
        # Not the loaded encoders of texts: they hold nothing of a user, and loading takes a while.
        self._encoder, other._encoder = other._encoder, self._encoder
        self._reviews, other._reviews = other._reviews, self._reviews

    def settle(self, names: Iterable[str], partition: int) -> None:
        """Note of which partition's events the users with these names are, where they are known."""
        numbers = self.users.find_all(list(names))
        self.homes[numbers[numbers >= 0]] = partition + 1

    def users_of(self, *partitions: int) -> list[str]:
        """The users that were settled in any of these partitions, the least recently used first.

        Of -1: those of whom nobody said where they are.
        """
        homes = np.array(partitions, np.int32) + 1
        mine = set(np.flatnonzero(np.isin(self.homes[: len(self.users)], homes)).tolist())
        ordered = [self.users.names[n] for n in self.user_order.by_use() if n in mine]
        return list(filter(None, ordered))

    def leave(self, names: Iterable[str]) -> None:
        """Have these users no longer; what they taught stays."""
        for name in names:
            number = self.users.find(name)
            if number is not None:
                self.clear_user(number)
                self.users.release(number)

    def compact_users(self) -> bool:
        """Give the memory of users who left back, once that is worth it; returns whether it did."""
        done = renumber_users(self)
        if done:
            self._replaced()
        return done

    def _shared(self) -> ItemSide:
        if self.item_side is None:
            raise RuntimeError("this engine shares no items: `share` comes first")
        return self.item_side

    def warm_start(self, model: TrainedModel) -> None:
        """Begin with what was trained offline, before anything is observed (`engine.trained`).

        Raises
        ------
        WarmStartError
            If something was observed, or the model does not fit the settings.
        """
        from engine.trained.warm import check_fit, warm_start  # noqa: PLC0415 - few start so

        check_fit(self.settings, len(self.users), model)
        users = np.array([self.number_user(name) for name in model.users], np.int32)
        items = np.array([self.list_item(name) for name in model.items], np.int32)
        for user in users.tolist():
            self.user_order.touch(user)
        warm_start(self.embeddings, model, users, items)
        self.encode(items)

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

    def recommend(
        self,
        user: str,
        k: int | None = None,
        rules: Rules | None = None,
        now: int | None = None,
    ) -> Answer:
        """The user's best items; for somebody unknown, what is trending. Teaches nothing.

        Parameters
        ----------
        k, rules
            Those of the settings, unless given.
        now
            The time of asking, in ms since the epoch, for features that read it; the time of the
            user's latest event, unless given.
        """
        clock = _StageClock()
        number = self.users.find(user)
        if number is not None:
            self.purge(number)
            now = self.graph.users.latest_time(number) if now is None else now
        items = best(self, number, now or 0, k or self.settings.k, rules or self.rules)
        clock.lap("rank")
        return Answer(items, clock.laps)

    def explain(
        self, user: str, ranked: Sequence[Ranked], now: int | None = None
    ) -> list[dict[str, float]]:
        """What each feature adds to the scores of a user's list, with nothing learnt since.

        A dict for each item: the names of features (`engine.features.table.TABLE`) and what they
        add, and `bias`, the item's own; together the score, but for its rounding to four decimals.
        For somebody without history the score is `recent_share` alone.

        Parameters
        ----------
        ranked
            What `observe` or `recommend` returned.
        now
            As of `recommend`.
        """
        number = self.users.find(user)
        if number is not None:
            self.purge(number)
            now = self.graph.users.latest_time(number) if now is None else now
        return explain(self, number, now or 0, ranked)

    # ------------------------------------------------------------------ what it is kept in

    def save(self, path: str | Path, notes: object = None) -> None:
        """Write the whole state to one file, which is there whole or not at all.

        `notes`, anything that JSON can say, are for `engine.state.snapshot.read_notes`.

        Raises
        ------
        OSError
            If it cannot be written; a file that was at `path` is left as it was.
        """
        encoder = TextEncoder.name if self.reads_text else None
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
        return cls._load(Path(path), settings, users_only=False)

    @classmethod
    def load_users(cls, path: str | Path, settings: EngineSettings | None = None) -> Recommender:
        """The users of an engine that was saved, to be taken in: of items it knows the ids alone.

        Of a file with many items it reads a part. Parameters and errors are those of `load`.
        """
        return cls._load(Path(path), settings, users_only=True)

    @classmethod
    def _load(cls, path: Path, settings: EngineSettings | None, *, users_only: bool) -> Recommender:
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

        return read_state(path, made, TextEncoder.name, users_only=users_only)

    def _read_text(self, user: int, item: int, review: str | None, later: int) -> None:
        """Add the item to the user's taste; what they wrote describes it if nothing else does.

        What is read into a taste is the item taken, not the words about it: these say how pleased
        somebody was more than with what, and rank worse.
        """
        if review and self._is_described_by_reviews(item):
            if self._reviews is None:
                self._reviews = TokenEncoder()
            self._set_text(item, self.vectors.add_review(item, self._reviews.encode(review)))
            self.retrieval.index_text(item, self.vectors.vectors[item])
        self.taste.record(user, self.vectors.vectors[item], later)

    def _is_described_by_reviews(self, item: int | None) -> bool:
        """Whether a review of an item (None: of one that is not known yet) is read."""
        if not (self.reads_text and self.settings.review_text):
            return False
        return item is None or not self.vectors.has_own_text(item)

    def _encode(self, text: str) -> NDArray[np.float32]:
        if self._encoder is None:
            self._encoder = TextEncoder(self.settings.text_cache)
        return self._encoder.encode([text])[0]

    def _set_text(self, item: int, rotation: NDArray[np.float32] | None) -> None:
        """Follow an item's new text vector; with a rotation, those of all have a new basis."""
        if rotation is None:
            self.encode(np.array([item], np.int32), TEXT_VECTORS)
            return
        self.taste.rotate(rotation)
        self._replaced()
        self.encode(self.retrieval.every[: len(self.items)], TEXT_VECTORS)
        if not self.all_compete:
            self.retrieval.index_texts(self.vectors.vectors[: len(self.items)])


def _year(item: Item) -> float | None:
    year = item.properties.get("year")
    return year if isinstance(year, int | float) and abs(year) < _ABSURD_YEAR else None


class _StageClock:
    """Nanoseconds between laps."""

    def __init__(self) -> None:
        self.laps: dict[str, int] = {}
        self._last = perf_counter_ns()

    def lap(self, stage: str) -> None:
        now = perf_counter_ns()
        self.laps[stage] = now - self._last
        self._last = now
