"""The engine: `observe` learns from an interaction and answers; `recommend` only answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import perf_counter_ns
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine import head
from engine.arrays import IdTable, grown
from engine.embeddings import FANOUT, GraphEmbeddings
from engine.events import Interaction, Item
from engine.graph import InteractionGraph
from engine.head import Head
from engine.model import learn_head_and_taste, score_items
from engine.popularity import Popularity, stage_of
from engine.propagation import make_aggregator
from engine.seen import SeenItems
from engine.settings import EngineSettings
from engine.text.encoder import TextEncoder
from engine.text.taste import Taste
from engine.text.vectors import ItemVectors
from engine.transitions import Transitions

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
"""Edge weight of each kind. One of weight 0 teaches nothing, but its item is not shown again."""


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


class Recommender:
    """A hybrid of graph and text that learns from every interaction.

    State is a fold over what it is told: the same calls with the same settings give the same
    answers. Not thread-safe: one thread calls.

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

    def __init__(self, settings: EngineSettings | None = None) -> None:
        self.settings = settings or EngineSettings()
        s = self.settings
        self.users = IdTable()
        self.items = IdTable()
        self.catalogue: dict[int, Item] = {}
        self.graph = InteractionGraph(s.neighbours)
        self.transitions = Transitions(s.transitions)
        self.popularity = Popularity()
        self.embeddings = GraphEmbeddings(
            make_aggregator(s.aggregator, FANOUT), s.dimensions, s.seed
        )
        self.vectors = ItemVectors(s.text_dimensions, TextEncoder.dimensions)
        self.taste = Taste(self.vectors.width)
        self.head = Head()
        self._seen = SeenItems()
        self._hidden: NDArray[np.bool_] = np.zeros(1024, np.bool_)
        self._history_lengths: NDArray[np.int64] = np.zeros(1024, np.int64)
        self._encoder: TextEncoder | None = None
        # Scratch of the last scoring: features of every item, and their weights for its user.
        self._features: NDArray[np.float32] = np.zeros((head.FEATURES, 1024), np.float32)
        self._weights: NDArray[np.float32] = np.zeros(head.FEATURES, np.float32)
        self._steps = 0
        # By item number, made once: ten are needed for every answer.
        self._because: list[str] = []

    # ------------------------------------------------------------------ what it is told

    def observe(self, interaction: Interaction) -> Answer:
        """Learn from an interaction, then answer for its user.

        The model's step uses the state from before the interaction; the answer, from after it.
        A `forget` removes the user and answers as for somebody unknown.
        """
        if interaction.kind == "forget" or interaction.item is None:
            self.forget(interaction.user)
            return self.recommend(interaction.user)
        clock = _StageClock()
        user, item = self._intern_user(interaction.user), self._intern_item(interaction.item)
        weight = KIND_WEIGHTS[interaction.kind]
        history = self._history(user)
        new = not self._seen.has(user, item)
        if weight > 0 and new and len(history):
            self._learn(user, item, history)
        if new:
            self._seen.add(user, item, weight)
        clock.lap("learn")
        if weight > 0:
            self.graph.insert(user, item, weight, interaction.timestamp)
            if new:
                self.transitions.record(history, item, weight)
                self.popularity.record(
                    item, int(self._history_lengths[user]), len(self.items), weight
                )
                self._history_lengths[user] += 1
        clock.lap("graph")
        if weight > 0:
            self.embeddings.propagate(self.graph.users, user)
        clock.lap("propagate")
        if weight > 0 and self.settings.text:
            self._read_text(user, item, interaction.text)
        clock.lap("text")
        items = self._rank(user, self.settings.k)
        clock.lap("rank")
        return Answer(items, clock.laps)

    def upsert_item(self, item: Item, embedding: NDArray[np.float32] | None = None) -> None:
        """Add an item to the catalogue, or replace what it says of it.

        Parameters
        ----------
        embedding : float32[384], optional
            The encoder's embedding of `item_text(item)`; without it the text is encoded here.
        """
        number = self._intern_item(item.item)
        self.catalogue[number] = item
        self._hidden[number] = item.hidden
        self._because[number] = f"because of {item.title or item.item}"
        if self.settings.text:
            if embedding is None and (text := item_text(item)):
                embedding = self._encode(text)
            self._rotate(self.vectors.set_item(number, embedding, item.categories))

    def forget(self, user: str) -> None:
        """Remove a user's edges, history, profile and embedding, and their part in item counts.

        What the user taught shared weights (transitions, learnt tables) is mixed with what others
        taught and stays.
        """
        number = self.users.find(user)
        if number is None:
            return
        items = self._seen.of(number)
        self.popularity.forget(items, self._seen.weights_of(number))
        for item in items:
            self.graph.items.remove(int(item), number)
        self.graph.users.clear(number)
        self._seen.clear(number)
        self._history_lengths[number] = 0
        self.taste.forget(number)
        self.embeddings.forget(number)

    # ------------------------------------------------------------------ what it is asked

    def recommend(self, user: str, k: int | None = None) -> Answer:
        """The user's best items now; for somebody unknown, what is trending. Changes nothing."""
        clock = _StageClock()
        items = self._rank(self.users.find(user), k or self.settings.k)
        clock.lap("rank")
        return Answer(items, clock.laps)

    # ------------------------------------------------------------------ the inside

    def _intern_user(self, name: str) -> int:
        user = self.users.intern(name)
        if user >= len(self._history_lengths):
            users = 2 * user
            self.graph.users.reserve(users)
            self.embeddings.reserve_users(users)
            self.taste.reserve(users)
            self._seen.reserve(users)
            self._history_lengths = grown(self._history_lengths, users)
        return user

    def _intern_item(self, name: str) -> int:
        item = self.items.intern(name)
        if item == len(self._because):
            self._because.append(f"because of {name}")
        if item >= len(self._hidden):
            items = 2 * item
            self.graph.items.reserve(items)
            self.transitions.reserve(items)
            self.popularity.reserve(items)
            self.embeddings.reserve_items(items)
            self.vectors.reserve(items)
            self._hidden = grown(self._hidden, items)
            self._features = grown(self._features, items, axis=1)
        return item

    def _history(self, user: int) -> NDArray[np.int32]:
        """The user's most recent items, latest first: int32[n]."""
        return self.graph.users.recent_ids(user, self.settings.history)

    def _score(self, user: int, history: NDArray[np.int32]) -> NDArray[np.float32]:
        """Fill the feature matrix for a user and return every item's score: float32[items]."""
        items = len(self.items)
        features = self._features
        length = int(self._history_lengths[user])
        self.transitions.scores(
            history, self.popularity.counts, self.popularity.events, items, features
        )
        stage, share = stage_of(length)
        scores: NDArray[np.float32]
        scores, self._weights = score_items(
            features, self.popularity.features, self.popularity.stage_ratio, stage,
            np.float32(share), self.vectors.vectors, self.taste.maps, self.taste.profiles[user],
            self.embeddings.outputs, self.embeddings.users[user], self.head.weights,
            head.context_of(length), self._hidden, self._seen.of(user), items,
        )  # fmt: skip
        return scores

    def _learn(self, user: int, item: int, history: NDArray[np.int32]) -> None:
        """One online step on what the model would have answered just before this interaction."""
        scores = self._score(user, history)
        probabilities = head.softmax(scores)
        learn_head_and_taste(
            self._features, self._weights, self.vectors.vectors, probabilities, item,
            self.head.weights, self.head.accumulated,
            head.context_of(int(self._history_lengths[user])),
            self.taste.maps, self.taste.accumulated, self.taste.profiles[user],
        )  # fmt: skip
        self._steps += 1
        self.embeddings.learn(user, history, item, probabilities, _draw(self._steps))

    def _read_text(self, user: int, item: int, review: str | None) -> None:
        """Add what the user wrote, or else the item's text, to their taste."""
        vector = self.vectors.vectors[item]
        if review and self.settings.review_text:
            embedding = self._encode(review)
            self._rotate(self.vectors.add_review(item, embedding))
            vector = self.vectors.project(embedding)
        self.taste.record(user, vector)

    def _encode(self, text: str) -> NDArray[np.float32]:
        if self._encoder is None:
            self._encoder = TextEncoder(self.settings.text_cache)
        return self._encoder.encode([text])[0]

    def _rotate(self, rotation: NDArray[np.float32] | None) -> None:
        if rotation is not None:
            self.taste.rotate(rotation)

    def _rank(self, user: int | None, k: int) -> list[Ranked]:
        items = len(self.items)
        if items == 0:
            return []
        history = self._history(user) if user is not None else np.empty(0, np.int32)
        if user is None or len(history) == 0:
            scores = self.popularity.features[1, :items].copy()
            scores[self._hidden[:items]] = head.EXCLUDED
            if user is not None:
                scores[self._seen.of(user)] = head.EXCLUDED
            best = head.top_k(scores, k)
            names = self.items.names
            return [Ranked(names[i], round(float(scores[i]), 4), "trending") for i in best.tolist()]
        scores = self._score(user, history)
        best = head.top_k(scores, k)
        parts = head.strongest_part(self._features, self._weights, best).tolist()
        sources = self.transitions.strongest(history, best).tolist()
        return [
            Ranked(self.items.names[item], round(score, 4), self._reason(part, source))
            for item, score, part, source in zip(
                best.tolist(), scores[best].tolist(), parts, sources, strict=True
            )
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
    engine = Recommender(settings.model_copy(update={"text": False}))
    for number in range(3):
        engine.upsert_item(Item(item=str(number)))
        engine.observe(
            Interaction(event_id="", user="nobody", item=str(number), timestamp=0, kind="view")
        )
    engine.taste.record(0, engine.vectors.vectors[0])


def item_text(item: Item) -> str:
    """The text that stands for an item: its own, or else its title and categories."""
    if item.text:
        return item.text
    genres = f". {', '.join(item.categories)}" if item.categories else ""
    return f"{item.title}{genres}" if item.title else ""


def _draw(step: int) -> float:
    """A uniform number in [0, 1) that depends on the step alone (the golden-ratio sequence)."""
    return (step * 0.6180339887498949) % 1.0


class _StageClock:
    """Nanoseconds between laps."""

    def __init__(self) -> None:
        self.laps: dict[Stage, int] = {}
        self._last = perf_counter_ns()

    def lap(self, stage: Stage) -> None:
        now = perf_counter_ns()
        self.laps[stage] = now - self._last
        self._last = now
