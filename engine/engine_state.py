"""What an engine knows: tables by user and item number, and who leaves when they are full."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from engine.arrays import IdTable, grown
from engine.features.context import Contexts
from engine.features.dislikes import Dislikes
from engine.features.head import Head
from engine.features.popularity import Popularity
from engine.features.taken_items import SeenItems
from engine.features.transitions import Transitions
from engine.graph import InteractionGraph
from engine.propagation.embeddings import FANOUT, GraphEmbeddings
from engine.propagation.registry import make_aggregator
from engine.retrieval.candidates import Candidates
from engine.rules import Categories
from engine.settings import EngineSettings
from engine.state.eviction import Departures, Evicted, UseOrder
from engine.state.schema import ROWS, Array, State, Value
from engine.text.encoder import TextEncoder
from engine.text.taste import Taste
from engine.text.vectors import ItemVectors


class Knowledge:
    """All that is saved of an engine, and the numbers that its users and items have in it.

    At most `max_users` users and `max_items` items are known. A newcomer beyond takes the number
    and the rows of the one whose last event (or first mention) is longest ago: of an item nothing
    is left; of a user, what they taught counts and transitions is.

    Names with an underscore are for the engine's own modules; they are names in saved states.
    """

    STATE: ClassVar[State] = State(
        {
            "_hidden": Array("items/hidden", (ROWS,)),
            "_because": Value("items/reasons", list[str]),
            "_purged": Array("users/purged", (ROWS,)),
            "_users_evicted": Value("users/evicted", int),
        },
        parts={
            "users": "users", "items": "items", "_user_order": "users", "_item_order": "items",
            "_candidates": "items/index", "categories": "", "graph": "", "transitions": "",
            "popularity": "", "contexts": "", "embeddings": "", "vectors": "", "taste": "",
            "head": "", "dislikes": "", "departures": "", "_seen": "",
        },
        unsaved=("settings", "_reads_text"),
        check="_fault",
        then="_restored",
    )  # fmt: skip

    def __init__(self, settings: EngineSettings) -> None:
        self.settings = s = settings
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
        # By item number, made once: ten are needed for every answer.
        self._because: list[str] = []

    @property
    def evicted(self) -> Evicted:
        """How many users and items had to leave since the engine was new."""
        return Evicted(self._users_evicted, self.departures.count)

    def _history(self, user: int, later: int = 0) -> NDArray[np.int32]:
        """The user's most recent items but for the `later` last, latest first: int32[n]."""
        return self.graph.users.recent_ids(user, self.settings.history + later)[later:]

    # ------------------------------------------------------------------ numbers

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
            self._reserve_users(max(user + 1, min(2 * user, self.settings.max_users)))
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
            self._reserve_items(max(item + 1, min(2 * item, self.settings.max_items)))
        if new:
            self.popularity.introduce(item)
        if use or new:
            self._item_order.touch(item)
        return item

    def _reserve_users(self, users: int) -> None:
        self.graph.users.reserve(users)
        self.embeddings.reserve_users(users)
        self.taste.reserve(users)
        self.contexts.reserve(users)
        self._seen.reserve(users)
        self._user_order.reserve(users)

    def _reserve_items(self, items: int) -> None:
        self.graph.items.reserve(items)
        self.transitions.reserve(items)
        self.popularity.reserve(items)
        self.embeddings.reserve_items(items)
        self.vectors.reserve(items)
        self.head.reserve(items)
        self._item_order.reserve(items)
        self._hidden = grown(self._hidden, items)

    def _fault(self) -> str:
        if len(self._because) > len(self.items):
            return "there are more reasons than items"
        disliked = (max(held, default=0) for held in self.dislikes._items.values())
        if max(disliked, default=0) >= max(1, len(self.items)):
            return "items are disliked that are not there"
        return self._candidates.fault(len(self.items), self.vectors.width, self.settings.dimensions)

    def _restored(self) -> None:
        """Give what the file lacks the room, and the reasons, that the rest has."""
        self._reserve_users(len(self.contexts.lengths))
        self._reserve_items(len(self._hidden))
        self._purged = grown(self._purged, len(self.users))
        self._because += [f"because of {name}" for name in self.items.names[len(self._because) :]]

    def _index(self) -> None:
        """From now on candidates are named: index what is known."""
        items = len(self.items)
        self._candidates.index_embeddings(
            self.embeddings.outputs[:items], self.graph.items.degree[:items]
        )
        if self._reads_text:
            self._candidates.index_texts(self.vectors.vectors[:items])

    # ------------------------------------------------------------------ leaving

    def _evict_user(self, user: int) -> None:
        """Empty the rows of a user for a newcomer; what they taught stays."""
        self._clear_user(user)
        self._purged[user] = self.departures.count
        self._users_evicted += 1

    def _evict_item(self, item: int) -> None:
        """Empty the rows of an item for a newcomer; `departures` tells those who name it."""
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

    def _clear_user(self, number: int) -> None:
        """Empty a user's rows."""
        self.graph.items.remove_from(self._seen.of(number), number)
        self.graph.users.clear(number)
        self._seen.clear(number)
        self.dislikes.clear(number)
        self.contexts.forget(number)
        self.taste.forget(number)
        self.embeddings.forget(number)

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
