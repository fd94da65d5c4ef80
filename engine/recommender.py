"""The engine: `observe` learns from an interaction and answers; `recommend` only answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine import head
from engine.arrays import IdTable, grown
from engine.candidates import Candidates
from engine.context import Contexts, context_of
from engine.dislikes import Dislikes
from engine.embeddings import FANOUT, GraphEmbeddings
from engine.events import Interaction, Item
from engine.eviction import Departures, Evicted, UseOrder
from engine.graph import InteractionGraph
from engine.head import Head
from engine.model import learn_head_and_taste, score_candidates
from engine.popularity import QUALITY, RECENT, Popularity, stage_of
from engine.propagation import make_aggregator
from engine.rules import Categories, Rules, choose, restrict
from engine.saving import SavedStateError, State, read_state, write_state
from engine.seen import SeenItems
from engine.settings import EngineSettings
from engine.text.encoder import TextEncoder
from engine.text.taste import Taste, direction
from engine.text.vectors import ItemVectors
from engine.transitions import Transitions

if TYPE_CHECKING:
    from engine.trained import TrainedModel

Stage = Literal["learn", "graph", "propagate", "text", "rank"]

KIND_WEIGHTS = {
    "rating": 1.0,
    "review": 1.0,
    "purchase": 1.0,
    "like": 1.0,
    "cart": 0.8,
    "click": 0.6,
    "view": 0.4,
    "dislike": 0.0,
}
"""Edge weight of each kind. A dislike makes no edge; what is near its item is ranked lower."""
_RATED = ("rating", "review")
_ABSURD_YEAR = 10_000
_ENOUGH_TRENDING = 100
"""Fewer trending items than these are joined by others for somebody unknown."""


class Ranked(NamedTuple):
    """One recommended item, the score it was ranked by (a logit) and why."""

    item: str
    score: float
    reason: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A user's recommendations, best first, and the nanoseconds each stage took."""

    items: list[Ranked]
    stages_ns: dict[Stage, int] = field(default_factory=dict)


class _Contest(NamedTuple):
    """Candidates scored for a user; columns of the features and rows of the vectors are theirs."""

    candidates: NDArray[np.int32]
    scores: NDArray[np.float32]
    features: NDArray[np.float32]
    weights: NDArray[np.float32]
    context: NDArray[np.float32]
    vectors: NDArray[np.float32]


class Recommender:
    """A hybrid of graph and text that learns from every interaction.

    State is a fold over what it is told: the same calls with the same settings give the same
    answers. Not thread-safe: one thread calls.

    At most `max_users` users and `max_items` items are known. A newcomer beyond takes the number
    and the rows of the one whose last event (or first mention) is longest ago: of an item nothing
    is left; of a user, what they taught counts and transitions is.

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

    STATE: ClassVar[State] = State(
        parts=(
            "users", "items", "categories", "graph", "transitions", "popularity", "contexts",
            "embeddings", "vectors", "taste", "head", "dislikes", "departures", "_seen",
            "_candidates", "_user_order", "_item_order",
        ),
        arrays=("_hidden", "_purged"),
        values={"_because": list, "_users_evicted": int},
        unsaved=("settings", "rules", "_reads_text", "_encoder", "_features", "_kept"),
    )  # fmt: skip

    def __init__(self, settings: EngineSettings | None = None) -> None:
        self.settings = settings or EngineSettings()
        s = self.settings
        self.rules = Rules.of(s)
        self.users = IdTable()
        self.items = IdTable()
        self.categories = Categories()
        self.graph = InteractionGraph(s.neighbours, FANOUT)
        self.departures = Departures()
        self.transitions = Transitions(s.transitions, departures=self.departures)
        self.popularity = Popularity()
        self.contexts = Contexts()
        self.embeddings = GraphEmbeddings(
            make_aggregator(s.aggregator, FANOUT, s.dimensions, s.board, s.bitstream),
            s.dimensions,
            s.seed,
        )
        self.vectors = ItemVectors(s.text_dimensions, TextEncoder.dimensions)
        self.taste = Taste(self.vectors.width)
        self.head = Head(s.model)
        self.dislikes = Dislikes()
        self._user_order, self._item_order = UseOrder(), UseOrder()
        self._users_evicted = 0
        # The clock of the departures when a user's rows were last looked through for them.
        self._purged: NDArray[np.int64] = np.zeros(1024, np.int64)
        self._reads_text = s.model != "gnn"
        self._seen = SeenItems()
        self._hidden: NDArray[np.bool_] = np.zeros(1024, np.bool_)
        self._candidates = Candidates(s.exact_items, s.candidates, self.departures)
        self._encoder: TextEncoder | None = None
        # Scratch: features of the candidates.
        self._features: NDArray[np.float32] = np.zeros((head.FEATURES, 1024), np.float32)
        # Whom the last contest was for, and it, until anything changes: users act in bursts, and
        # what their next event teaches starts from the scores that the last answer was made of.
        self._kept: tuple[int, _Contest] | None = None
        # By item number, made once: ten are needed for every answer.
        self._because: list[str] = []

    # ------------------------------------------------------------------ what it is told

    def observe(self, interaction: Interaction, answer: bool = True) -> Answer:
        """Learn from an interaction, then answer for its user.

        The model's step uses the state from before the interaction; the answer, from after it.
        A `forget` removes the user and answers as for somebody unknown. What is learnt does not
        depend on whether it is asked to `answer`; without, the list is empty.
        """
        if interaction.kind == "forget" or interaction.item is None:
            self.forget(interaction.user)
            return self.recommend(interaction.user) if answer else Answer([])
        clock = _StageClock()
        introduced = self.items.find(interaction.item) is None
        user, item = self._intern_user(interaction.user), self._intern_item(interaction.item)
        self._purge(user, item)
        weight = KIND_WEIGHTS[interaction.kind]
        counted = self._seen.weight(user, item)
        later = self.graph.users.later(user, interaction.timestamp)
        history = self._history(user, later)
        if later:
            self._kept = None  # which knows what came later
        # An item that its own event made known could not have been shown: that it was taken would
        # teach that what is new and unpopular is taken.
        if weight > 0 and counted is None and not introduced and len(history):
            self._learn(user, item, history)
        self._kept = None
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
                self._count(user, item, history, weight, interaction, later)
        clock.lap("graph")
        if weight > 0:
            self.embeddings.propagate(self.graph, user, item)
        clock.lap("propagate")
        if weight > 0 and self._reads_text:
            self._read_text(user, item, interaction.text, later)
        clock.lap("text")
        items = self._rank(user, self.settings.k, self.rules) if answer else []
        clock.lap("rank")
        return Answer(items, clock.laps)

    def upsert_item(self, item: Item, embedding: NDArray[np.float32] | None = None) -> None:
        """Add an item to the catalogue, or replace what it says of it.

        Parameters
        ----------
        embedding : float32[384], optional
            The encoder's embedding of `item_text(item)`; without it the text is encoded here.
        """
        self._kept = None
        # No use: the catalogue may be told twice, which must change nothing.
        number = self._intern_item(item.item, use=False)
        self.categories.set_item(number, item.categories)
        self._hidden[number] = item.hidden
        self._because[number] = f"because of {item.title or item.item}"
        if self._reads_text:
            if embedding is None and (text := item_text(item)):
                embedding = self._encode(text)
            year = item.properties.get("year")
            year = year if isinstance(year, int | float) and abs(year) < _ABSURD_YEAR else None
            self._rotate(self.vectors.set_item(number, embedding, item.categories, year))
            self._candidates.index_text(number, self.vectors.vectors[number])

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
        self.popularity.forget(self._seen.of(number), self._seen.weights_of(number))
        self._take_back(number)
        self._clear_user(number)

    def _clear_user(self, number: int) -> None:
        """Empty a user's rows."""
        self._kept = None
        self.graph.items.remove_from(self._seen.of(number), number)
        self.graph.users.clear(number)
        self._seen.clear(number)
        self.dislikes.clear(number)
        self.contexts.forget(number)
        self.taste.forget(number)
        self.embeddings.forget(number)

    def warm_start(self, model: TrainedModel) -> None:
        """Begin with what was trained offline, before anything is observed (`engine.trained`).

        Raises
        ------
        WarmStartError
            If something was observed, or the model does not fit the settings.
        """
        from engine.trained.warm import check_fit, warm_start  # noqa: PLC0415 - few start so

        check_fit(self, model)
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
        items = self._rank(number, k or self.settings.k, rules or self.rules)
        clock.lap("rank")
        return Answer(items, clock.laps)

    @property
    def evicted(self) -> Evicted:
        """How many users and items had to leave since the engine was new."""
        return Evicted(self._users_evicted, self.departures.count)

    # ------------------------------------------------------------------ what it is kept in

    def save(self, path: str | Path, notes: object = None) -> None:
        """Write the whole state to one file, which is there whole or not at all.

        `notes`, anything that JSON can say, are for `engine.saving.read_notes`.

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
            old = EngineSettings.model_validate(saved)
            for name in settings.differing_shape(old) if settings else ():
                raise SavedStateError(
                    f"{path}: saved with engine.{name} = {getattr(old, name)}, "
                    f"here it is {getattr(settings, name)}"
                )
            return cls(settings or old)

        return read_state(Path(path), made, TextEncoder.name)

    # ------------------------------------------------------------------ the inside: learning

    def _intern_user(self, name: str) -> int:
        user = self.users.find(name)
        if user is None and len(self.users) >= self.settings.max_users:
            user = self._user_order.oldest()
            self._evict_user(user)
            self.users.rename(user, name)
        elif user is None:
            user = self.users.intern(name)
            self._purged = grown(self._purged, user + 1)
            self._purged[user] = self.departures.count
        if user >= len(self.contexts.lengths):
            users = max(user + 1, min(2 * user, self.settings.max_users))
            self.graph.users.reserve(users)
            self.embeddings.reserve_users(users)
            self.taste.reserve(users)
            self.contexts.reserve(users)
            self._seen.reserve(users)
            self._user_order.reserve(users)
        self._user_order.touch(user)
        return user

    def _intern_item(self, name: str, use: bool = True) -> int:
        item = self.items.find(name)
        new = item is None
        if item is None and len(self.items) >= self.settings.max_items:
            item = self._item_order.oldest()
            self._evict_item(item)
            self.items.rename(item, name)
            self._because[item] = f"because of {name}"
        elif item is None:
            item = self.items.intern(name)
            self._because.append(f"because of {name}")
            if item == self.settings.exact_items:
                self._index()
        if item >= len(self._hidden):
            items = max(item + 1, min(2 * item, self.settings.max_items))
            self.graph.items.reserve(items)
            self.transitions.reserve(items)
            self.popularity.reserve(items)
            self.embeddings.reserve_items(items)
            self.vectors.reserve(items)
            self.head.reserve(items)
            self._item_order.reserve(items)
            self._hidden = grown(self._hidden, items)
        if new:
            self.popularity.introduce(item)
        if use or new:
            self._item_order.touch(item)
        return item

    def _evict_user(self, user: int) -> None:
        """Empty the rows of a user for a newcomer; what they taught stays."""
        self._clear_user(user)
        self._purged[user] = self.departures.count
        self._users_evicted += 1

    def _evict_item(self, item: int) -> None:
        """Empty the rows of an item for a newcomer; `departures` tells those who name it."""
        self._kept = None
        self._candidates.drop(item)
        self.departures.add(item)
        self.graph.items.clear(item)
        self.transitions.clear(item)
        self.popularity.clear(item)
        self.head.clear(item)
        self.vectors.clear(item)
        self.embeddings.renew_item(item)
        self.categories.remove(item)
        self._hidden[item] = False

    def _purge(self, user: int, *items: int) -> None:
        """Drop what left from the rows that an event of the user on these items will use."""
        if self.departures.count == 0:
            return
        last, since = self.departures.last, int(self._purged[user])
        if since < self.departures.count:
            self._purged[user] = self.departures.count
            self.graph.users.purge(user, last, since)
            self._seen.keep(user, last[self._seen.of(user)] <= since)
            self.dislikes.keep(user, last[self.dislikes.of(user)] <= since)
        held = self.graph.users.recent_ids(user, self.graph.users.length)
        self.transitions.purge(np.append(held, np.array(items, np.int32)))

    def _index(self) -> None:
        """From now on candidates are named: index what is known."""
        items = len(self.items)
        self._candidates.index_embeddings(
            self.embeddings.outputs[:items], self.graph.items.degree[:items]
        )
        if self._reads_text:
            self._candidates.index_texts(self.vectors.vectors[:items])

    def _history(self, user: int, later: int = 0) -> NDArray[np.int32]:
        """The user's most recent items but for the `later` last, latest first: int32[n]."""
        return self.graph.users.recent_ids(user, self.settings.history + later)[later:]

    def _learn(self, user: int, item: int, history: NDArray[np.int32]) -> None:
        """One online step on what the model would have answered just before this interaction.

        None if the item did not compete: put among the candidates by hand it would teach that
        what is taken is what nothing speaks for.
        """
        kept = self._kept_for(user)
        candidates = kept.candidates if kept else self._competing(user, history)
        target = int(np.searchsorted(candidates, item))
        if target == len(candidates) or candidates[target] != item:
            return
        contest = kept or self._score(user, history, candidates)
        probabilities = head.softmax(contest.scores)
        learn_head_and_taste(
            contest.features, contest.weights, self.popularity.counts, contest.vectors,
            contest.candidates, probabilities, target, self.head.weights, self.head.accumulated,
            self.head.active, self.head.bias, self.head.bias_accumulated, contest.context,
            self.taste.maps, self.taste.accumulated, self.taste.profiles[user],
        )  # fmt: skip
        self.embeddings.learn(user, history, contest.candidates, probabilities, target)

    def _judge(self, user: int, item: int, interaction: Interaction) -> None:
        """Remember a dislike or a low rating; a better opinion takes it back."""
        value = interaction.value if interaction.kind in _RATED else None
        low = value is not None and value <= self.settings.low_value
        if interaction.kind == "dislike" or low:
            self.dislikes.add(user, item)
        elif value is not None or interaction.kind == "like":
            self.dislikes.remove(user, item)

    def _count(
        self,
        user: int,
        item: int,
        history: NDArray[np.int32],
        weight: float,
        event: Interaction,
        later: int = 0,
    ) -> None:
        """Count what a user took for the first time, in transitions, popularity and context."""
        self.transitions.record(history, item, weight)
        if later:
            self._count_before(user, item, later)
        level = self.popularity.level(item)
        length = max(0, int(self.contexts.lengths[user]) - later)
        self.popularity.record(
            item, length, len(self.items), weight, event.value if event.kind in _RATED else None
        )
        self.contexts.record(user, level, float(self.popularity.features[QUALITY, item]), later)

    def _count_before(self, user: int, item: int, later: int) -> None:
        """Count that the last `later` items of the user's row followed one that is told late."""
        order = self.graph.users.recent_ids(user, self.graph.users.length)
        source = np.array([item], np.int32)
        for place, other in enumerate(order[:later].tolist()):
            between = later - 1 - place
            weight = self._seen.weight(user, other)
            # Only its first time was counted.
            if weight and between < self.settings.history and other not in order[place + 1 :]:
                self.transitions.record(source, other, weight, between)

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

    def _take_back(self, user: int) -> None:
        """Take from the transitions what a user taught them, if the order of it is known."""
        counted = dict(
            zip(self._seen.of(user).tolist(), self._seen.weights_of(user).tolist(), strict=True)
        )
        order = [item for item, weight in counted.items() if weight > 0]
        degree, length = int(self.graph.users.degree[user]), self.graph.users.length
        if degree < len(order) or (degree != len(order) and degree > length):
            # Some were taken again, which moves them to the front of the history; or what was held
            # of it had left.
            return
        if degree <= length:
            order = self.graph.users.recent_ids(user, degree)[::-1].tolist()
        window = min(self.settings.history, self.graph.users.length)
        done = set()
        for at, item in enumerate(order):
            if counted[item] > 0 and item not in done:
                done.add(item)
                history = np.array(order[max(0, at - window) : at][::-1], np.int32)
                self.transitions.take_back(history, item, counted[item])

    # ------------------------------------------------------------------ the inside: ranking

    def _kept_for(self, user: int) -> _Contest | None:
        """The last contest, if it was this user's and nothing has changed since."""
        return self._kept[1] if self._kept and self._kept[0] == user else None

    def _score(
        self, user: int, history: NDArray[np.int32], candidates: NDArray[np.int32]
    ) -> _Contest:
        """Score these candidates (int32[n], ascending) for a user."""
        self._kept = None  # its features are overwritten
        p, e, h = self.popularity, self.embeddings, self.head
        length = int(self.contexts.lengths[user])
        stage, share = stage_of(length)
        exact = self._candidates.are_all(len(self.items))
        if exact:
            position = candidates
            popular, stages, counts = p.features, p.stage_ratio, p.counts
            bias, vectors = h.bias, self.vectors.vectors
            tables = (e.outputs, e.personal_outputs, e.second_hop)
        else:
            position = self._candidates.place(candidates)
            (popular, stages), stage = p.current(candidates, stage), 0
            counts = p.counts[candidates]
            bias, vectors = h.bias[candidates], self.vectors.vectors.take(candidates, 0)
            tables = (
                e.outputs.take(candidates, 0),
                e.personal_outputs.take(candidates, 0),
                e.second_hop.take(candidates, 0),
            )
        n = len(candidates)
        self._features = grown(self._features, n, axis=1)
        features = self._features
        if h.active[head.GRAPH]:
            self.transitions.scores(history, p.counts, p.events, candidates, position, features)
            self.transitions.around(self.dislikes.of(user), position, features[head.DISLIKED, :n])
        context = context_of(
            length, self.contexts.levels[user], self.graph.users.times[user],
            self.graph.users.degree[user],
        )  # fmt: skip
        scores, weights = score_candidates(
            features, counts, popular, stages, stage, np.float32(share), vectors, *tables, bias,
            self.taste.maps, self.taste.profiles[user], e.users[user], e.personal[user],
            e.directions[user], h.weights, h.active, context,
            candidates, position, self._hidden, self._seen.of(user),
        )  # fmt: skip
        if not exact:
            self._candidates.clear(candidates)
        return _Contest(candidates, scores, features, weights, context, vectors)

    def _competing(
        self, user: int, history: NDArray[np.int32], include: frozenset[str] = frozenset()
    ) -> NDArray[np.int32]:
        """The candidates for a user, in the order of their numbers: int32[m].

        Some items of the categories `include` are among them, in a large catalogue, too.
        """
        if self._candidates.are_all(len(self.items)):
            return self._candidates.every(len(self.items))
        taste = None
        if self._reads_text:
            taste = direction(self.taste.maps, self.taste.profiles[user])
        named = [
            self._candidates.reached(len(self.items), self.transitions, history),
            self._trending(),
            self._candidates.near(taste, self.embeddings.users[user]),
        ]
        if sum(len(part) for part in named) < self.settings.candidates // 2:
            # Little was taken yet, and there may be no texts.
            named.append(self._candidates.every(len(self.items))[: self.settings.candidates])
        if include:
            wanted = self.categories.items(include)
            most = np.argsort(-self.popularity.counts[wanted], kind="stable")
            named.append(wanted[most[: self.settings.candidates]])
        return np.unique(np.concatenate(named))

    def _trending(self) -> NDArray[np.int32]:
        return self.popularity.trending[: self.popularity.trending_count]

    def _rank(self, user: int | None, k: int, rules: Rules) -> list[Ranked]:
        if len(self.items) == 0:
            return []
        # Of somebody known all that they took may have left.
        if user is None or len(history := self._history(user)) == 0:
            return self._rank_unknown(user, k, rules)
        contest = None if rules.include else self._kept_for(user)
        if contest is None:
            contest = self._score(user, history, self._competing(user, history, rules.include))
        if not rules.include:
            self._kept = (user, contest)
        candidates = contest.candidates
        scores = contest.scores.copy() if rules.restrict else contest.scores
        restrict(rules, self.categories, candidates, scores)
        best = self._chosen(rules, candidates, scores, contest.vectors, k)
        numbers = candidates[best]
        parts = head.strongest_part(
            contest.features, contest.weights, self.head.active, best
        ).tolist()
        sources = self.transitions.strongest(history, numbers).tolist()
        names, rounded = self.items.names, scores[best].round(4).tolist()
        return [
            Ranked(names[item], score, self._reason(part, source))
            for item, score, part, source in zip(
                numbers.tolist(), rounded, parts, sources, strict=True
            )
        ]

    def _chosen(
        self,
        rules: Rules,
        candidates: NDArray[np.int32],
        scores: NDArray[np.float32],
        vectors: NDArray[np.float32],
        k: int,
    ) -> NDArray[np.int32]:
        """Positions of the k best candidates that keep to the rules of a list: int32[<= k]."""
        size = rules.pool(k)
        while True:
            pool = head.top_k(scores, size)
            if not rules.look_at_lists:
                return pool
            chosen = choose(
                rules, self.categories, candidates[pool], scores[pool], vectors[pool], k
            )
            if len(chosen) == k or len(pool) < size:
                return pool[chosen]
            size *= 8  # one category fills the pool

    def _rank_unknown(self, user: int | None, k: int, rules: Rules) -> list[Ranked]:
        """What is trending, for somebody who took nothing yet."""
        items = len(self.items)
        candidates = self._candidates.every(items)
        if not self._candidates.are_all(items):
            few = candidates[: self.settings.exact_items]
            candidates = np.sort(self._trending())
            if rules.restrict or max(k, _ENOUGH_TRENDING) > len(candidates):
                candidates = np.union1d(candidates, few)
        scores = self.popularity.current(candidates, 0)[0][RECENT]
        scores[self._hidden[candidates]] = head.EXCLUDED
        if user is not None:
            scores[np.isin(candidates, self._seen.of(user))] = head.EXCLUDED
        restrict(rules, self.categories, candidates, scores)
        pool = self._chosen(rules, candidates, scores, self.vectors.vectors[candidates], k)
        return [
            Ranked(self.items.names[item], round(score, 4), "trending")
            for item, score in zip(candidates[pool].tolist(), scores[pool].tolist(), strict=True)
        ]

    def _reason(self, part: int, source: int) -> str:
        """What spoke most for an item: the user's own items, its text, or what others take."""
        if part == head.TEXT_PART:
            return "similar text"
        if part == head.GRAPH_PART and source >= 0:
            return self._because[source]
        return "trending"


def warm_up(settings: EngineSettings) -> None:
    """Load every compiled kernel, so that the first event need not wait for them.

    Without a cache on disk they are compiled: about half a minute, once.
    """
    # A board serves one engine at a time; what stands in for it is compiled.
    aggregator = "int8" if settings.aggregator == "pynq" else settings.aggregator
    small = {"model": "gnn", "aggregator": aggregator, "max_users": 1, "max_items": 2}
    engine = Recommender(settings.model_copy(update=small))
    for number in range(3):
        engine.upsert_item(Item(item=str(number)))
        # One is late, and the last item has to make room.
        for user, at in (("nobody", 0), ("somebody", 1), ("somebody", 0)):
            engine.observe(
                Interaction(event_id="", user=user, item=str(number), timestamp=at, kind="view")
            )
    engine.taste.record(0, engine.vectors.vectors[0])


def item_text(item: Item) -> str:
    """The text that stands for an item: its own, or else its title and categories."""
    if item.text:
        return item.text
    genres = f". {', '.join(item.categories)}" if item.categories else ""
    return f"{item.title}{genres}" if item.title else ""


class _StageClock:
    """Nanoseconds between laps."""

    def __init__(self) -> None:
        self.laps: dict[Stage, int] = {}
        self._last = perf_counter_ns()

    def lap(self, stage: Stage) -> None:
        now = perf_counter_ns()
        self.laps[stage] = now - self._last
        self._last = now
