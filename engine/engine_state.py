"""What an engine knows: tables by user and item number, and who leaves when they are full."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from engine.arrays import IdTable, grown
from engine.features.context import Contexts
from engine.features.head import Head
from engine.features.item_codes import (
    OUTPUTS,
    PERSONAL_OUTPUTS,
    SECOND_HOPS,
    TEXT_VECTORS,
    ItemCodes,
)
from engine.features.popularity import Popularity
from engine.features.table import READS_TIME, OwnStates
from engine.features.transitions import Transitions
from engine.features.user_items import UserItems
from engine.graph import InteractionGraph
from engine.propagation.embeddings import FANOUT, GraphEmbeddings
from engine.propagation.registry import make_aggregator
from engine.retrieval.candidates import Candidates
from engine.rules import Categories
from engine.settings import ALL_KINDS, EngineSettings
from engine.sharing.item_side import ItemSide
from engine.sharing.journal import Journal
from engine.state.eviction import Departures, Evicted, UseOrder
from engine.state.schema import ROWS, Array, State, Value
from engine.step.calls import purge_user
from engine.step.tables import Hold, Scratch, Tables, hold
from engine.text.encoder import TextEncoder
from engine.text.taste import Taste
from engine.text.vectors import ItemVectors


class Knowledge:
    """All that is saved of an engine, and the numbers that its users and items have in it.

    At most `max_users` users and `max_items` items are known. A newcomer beyond takes the number
    and the rows of the one whose last event (or first mention) is longest ago: of an item nothing
    is left; of a user, what they taught counts and transitions is.

    Attributes
    ----------
    taken, disliked
        Items that each user had, with the weight that each was counted with (0 for a dislike), and
        those that they dislike.
    repeats
        Whether anything may be shown to a user again.
    hidden : bool[items]
        Items that are never recommended.
    unlisted : bool[items]
        Items that events named, and no catalogue.
    reasons : list[str]
        By item number, why another is recommended. Made once: ten are needed for every answer.
    homes : int32[users]
        One more than the partition whose events a user's are (`Recommender.settle`); 0 if nobody
        said so.
    purged : int64[users]
        The clock of the departures when a user's rows were last looked through for them.
    codes
        The rows that scoring reads, while every item is scored.
    scratch
        Memory of the step, and the last contest. It is kept until `forget_contest`: users act in
        bursts, and what their next event teaches starts from the scores of the last answer.
    """

    STATE: ClassVar[State] = State(
        {
            "hidden": Array("items/hidden", (ROWS,)),
            "unlisted": Array("items/unlisted", (ROWS,)),
            "reasons": Value("items/reasons", list[str]),
            "purged": Array("users/purged", (ROWS,)),
            "homes": Array("users/homes", (ROWS,)),
            "_users_evicted": Value("users/evicted", int),
        },
        parts={
            "users": "users", "items": "items", "user_order": "users", "_item_order": "items",
            "retrieval": "items/index", "categories": "", "graph": "", "transitions": "",
            "popularity": "", "own": "", "contexts": "", "embeddings": "", "vectors": "",
            "taste": "", "head": "", "departures": "", "taken": "users/taken",
            "disliked": "users/disliked",
        },
        unsaved=(
            "settings", "repeats", "reads_text", "codes", "scratch", "journal", "item_side",
            "_listed", "_held",
        ),
        check="_fault",
        then="_restored",
    )  # fmt: skip

    def __init__(self, settings: EngineSettings) -> None:
        self.settings = s = settings
        self.repeats = ALL_KINDS not in s.excludes
        self.users = IdTable()
        self.items = IdTable()
        self.categories = Categories()
        self.graph = InteractionGraph(s.neighbours, FANOUT)
        self.departures = Departures()
        self.transitions = Transitions(s.transitions, departures=self.departures)
        self.popularity = Popularity(s.trending_half_life)
        self.own = OwnStates(s)
        self.contexts = Contexts()
        self.embeddings = GraphEmbeddings(
            make_aggregator(s.aggregator, FANOUT, s.dimensions, s.board, s.bitstream),
            s.dimensions,
            s.seed,
            s.embedding_rate,
        )
        self.vectors = ItemVectors(s.text_dimensions, TextEncoder.dimensions)
        self.taste = Taste(self.vectors.width, s.text_rate)
        self.head = Head(s.model, self.repeats, s.bias_rate, s.weight_drift)
        self.taken, self.disliked = UserItems(), UserItems()
        self.user_order, self._item_order = UseOrder(), UseOrder()
        self._users_evicted = 0
        self.purged: NDArray[np.int64] = np.zeros(1024, np.int64)
        self.homes: NDArray[np.int32] = np.zeros(1024, np.int32)
        self.reads_text = s.model != "gnn"
        self.hidden: NDArray[np.bool_] = np.zeros(1024, np.bool_)
        self.unlisted: NDArray[np.bool_] = np.zeros(1024, np.bool_)
        self._listed = 0
        self.retrieval = Candidates(s.exact_items, s.candidates, self.departures)
        self.reasons: list[str] = []
        self.journal = Journal()
        self.item_side: ItemSide | None = None
        self._held: Hold | None = None
        self.codes = ItemCodes(self.vectors.width, s.dimensions)
        self._encode_new()
        self._make_scratch(len(self.hidden), s.k)

    @property
    def evicted(self) -> Evicted:
        """How many users and items had to leave since the engine was new."""
        return Evicted(self._users_evicted, self.departures.count)

    def history(self, user: int, later: int = 0) -> NDArray[np.int32]:
        """The user's most recent items but for the `later` last, latest first: int32[n]."""
        return self.graph.users.recent_ids(user, self.settings.history + later)[later:]

    # ------------------------------------------------------------------ compiled code

    def hold(self) -> Hold:
        """All arrays as compiled code takes them."""
        if self._held is None:
            self._held = hold(
                Tables(
                    self.graph.users.arrays, self.graph.items.arrays, self.transitions.arrays,
                    self.popularity.arrays, self.own.arrays, self.contexts.arrays,
                    self.embeddings.arrays, self.head.arrays, self.taste.arrays,
                    self.taken.arrays, self.disliked.arrays,
                    self.vectors.vectors, self.hidden, self.not_for_strangers(),
                    self.departures.last,
                    self.departures.clock, self.purged, self.user_order.links,
                    self._item_order.links, self.retrieval.every, self.retrieval.position,
                    self.codes.arrays, self.journal.arrays, self.scratch,
                )
            )  # fmt: skip
        return self._held

    def _replaced(self) -> None:
        """An array was replaced: what compiled code holds is out of date."""
        self._held = None

    def not_for_strangers(self) -> NDArray[np.bool_]:
        """Items that somebody unknown is not recommended: bool[items], or of length 0 if none.

        Whoever may write events can name an item and have it trend. Where no catalogue says
        anything, all items are alike.
        """
        if self.settings.recommend_unlisted or self._listed == 0:
            return np.zeros(0, np.bool_)
        return self.unlisted

    def make_room(self) -> None:
        """Make the room that the next event was found to need (`engine.step.events`)."""
        transitions, taken, disliked, noted = self.scratch.demand.tolist()
        self.transitions.make_room(transitions)
        self.taken.make_room(taken)
        self.disliked.make_room(disliked)
        self.journal.make_room(noted)
        self._replaced()

    def make_lists(self, most: int) -> None:
        """Have room for lists of `most` items; the last contest may be forgotten for it."""
        if most > len(self.scratch.best):
            self._make_scratch(len(self.scratch.scores), most)

    def _make_scratch(self, candidates: int, most: int) -> None:
        gathered = 1 if self.all_compete else candidates
        self.scratch = Scratch.of(
            candidates, gathered, self.vectors.width, self.settings.dimensions,
            self.settings.neighbours, max(most, 1),
        )  # fmt: skip
        self._replaced()

    # ------------------------------------------------------------------ contests

    @property
    def all_compete(self) -> bool:
        """Whether every item is scored for an answer."""
        return self.retrieval.are_all(len(self.items))

    @property
    def competitors(self) -> int:
        """How many candidates the next contest has: all items, or those given to `compete`."""
        return len(self.items) if self.all_compete else int(self.scratch.kept[1])

    def compete(self, candidates: NDArray[np.int32] | None) -> None:
        """Have these (int32[n], ascending) compete next, or all (None)."""
        if candidates is not None:
            if len(candidates) > len(self.scratch.gathered.counts):
                self._make_scratch(2 * len(candidates), len(self.scratch.best))
            self.scratch.candidates[: len(candidates)] = candidates
            self.scratch.kept[1] = len(candidates)
        self.forget_contest()

    def candidates(self, n: int) -> NDArray[np.int32]:
        """The n candidates of the last contest: int32[n]."""
        return (self.retrieval.every if self.all_compete else self.scratch.candidates)[:n]

    def has_contest_of(self, user: int, now: int) -> bool:
        """Whether the last contest was this user's, and nothing has changed since.

        Where a feature reads the time, it must have been of that time (ms), too.
        """
        kept, _, asked = self.scratch.kept.tolist()
        return bool(kept == user and (not READS_TIME or asked == now))

    def forget_contest(self) -> None:
        """What is known has changed: the next contest is scored anew."""
        self.scratch.kept[0] = -1

    def encode(self, items: NDArray[np.int32], *parts: np.int64) -> None:
        """Take over rows that were changed outside of the step, of these items (int32[n]), into
        what scoring reads: `parts` of `engine.features.item_codes`, or all."""
        if self.all_compete:
            e = self.embeddings
            rows = {
                TEXT_VECTORS: self.vectors.vectors, OUTPUTS: e.outputs,
                PERSONAL_OUTPUTS: e.personal_outputs, SECOND_HOPS: e.second_hop,
            }  # fmt: skip
            for part in parts or rows:
                self.codes.encode(part, items, rows[part])

    # ------------------------------------------------------------------ numbers

    def is_room_for(self, user: str, item: str) -> bool:
        """Whether nobody has to leave for these, and no index has to be made for them."""
        items = len(self.items)
        return (
            self.users.find(user) is not None or self.users.known < self.settings.max_users
        ) and (
            self.items.find(item) is not None
            or (items < self.settings.max_items and items != self.settings.exact_items)
        )

    def number_user(self, name: str) -> int:
        """The number of a user; of a newcomer, for whom one may have to leave, a new one."""
        user = self.users.find(name)
        if user is None and self.users.known >= self.settings.max_users:
            user = self.user_order.oldest()
            self._evict_user(user)
            self.users.rename(user, name)
        elif user is None:
            user = self.users.intern(name)
            if user >= len(self.contexts.lengths):
                self._reserve_users(max(user + 1, min(2 * user, self.settings.max_users)))
            self.purged[user] = self.departures.count
        return user

    def number_item(self, name: str) -> int:
        """As `number_user`, of an item."""
        item = self.items.find(name)
        if item is None and len(self.items) >= self.settings.max_items:
            item = self._item_order.oldest()
            self._evict_item(item)
            self.items.rename(item, name)
            self.reasons[item] = f"because of {name}"
            self.unlisted[item] = True
        elif item is None:
            item = self.items.intern(name)
            self.reasons.append(f"because of {name}")
            if item >= len(self.hidden):
                self._reserve_items(max(item + 1, min(2 * item, self.settings.max_items)))
            self.unlisted[item] = True
            if item == self.settings.exact_items:
                self._index()
        else:
            return item
        if self.item_side is not None:
            self.item_side.renew(item, name)
            self.encode(np.array([item], np.int32))
        return item

    def list_item(self, name: str) -> int:
        """The number of an item that the catalogue names.

        That is no use of the item: told twice, the catalogue must change nothing.
        """
        item = self.meet_item(name)
        if self.unlisted[item]:
            self.unlisted[item] = False
            self._count_listed(1)
        return item

    def meet_item(self, name: str) -> int:
        """The number of an item that another engine names, which is no use of it."""
        new = self.items.find(name) is None
        item = self.number_item(name)
        if new:
            self.popularity.introduce(item)
            self._item_order.touch(item)
        return item

    def _count_listed(self, more: int) -> None:
        self._listed += more
        if self._listed <= 1:
            self._replaced()  # what strangers are not recommended

    def _reserve_users(self, users: int) -> None:
        self.graph.users.reserve(users)
        self.embeddings.reserve_users(users)
        self.taste.reserve(users)
        self.contexts.reserve(users)
        self.taken.reserve(users)
        self.disliked.reserve(users)
        self.user_order.reserve(users)
        self.purged = grown(self.purged, users)
        self.homes = grown(self.homes, users)
        self._replaced()

    def _reserve_items(self, items: int) -> None:
        self.graph.items.reserve(items)
        self.transitions.reserve(items)
        self.popularity.reserve(items)
        self.own.reserve(items)
        self.embeddings.reserve_items(items)
        self.vectors.reserve(items)
        self.head.reserve(items)
        self._item_order.reserve(items)
        self.retrieval.reserve(items)
        self.hidden = grown(self.hidden, items)
        self.unlisted = grown(self.unlisted, items)
        if self.item_side is not None:
            self.item_side.reserve()
        scored = min(len(self.hidden), self.settings.exact_items)
        if self.all_compete and scored > len(self.scratch.scores):
            self._make_scratch(scored, len(self.scratch.best))
        self._encode_new()
        self._replaced()

    def _encode_new(self) -> None:
        """Encode the rows that were added: each is drawn before an item has it."""
        have, every = self.codes.items, min(len(self.hidden), self.settings.exact_items)
        if self.all_compete and every > have:
            self.codes.reserve(every)
            self.encode(self.retrieval.every[have:every])

    def _fault(self) -> str:
        users, items = len(self.users), len(self.items)
        if len(self.reasons) > items:
            return "there are more reasons than items"
        if "" in self.items.names:
            return "an item has no id"
        if fault := self.user_order.fault(users) or self._item_order.fault(items):
            return fault
        if not self.categories.are_of(items):
            return "categories are of items that are not there"
        return self.retrieval.fault(items, self.vectors.width, self.settings.dimensions)

    def _restored(self) -> None:
        """Give what the file lacks the room, and the reasons, that the rest has."""
        items = len(self.items)
        self._listed = items - int(self.unlisted[:items].sum())
        self.codes.drop()
        self._reserve_users(len(self.contexts.lengths))
        self._reserve_items(len(self.hidden))
        self.reasons += [f"because of {name}" for name in self.items.names[len(self.reasons) :]]

    def _index(self) -> None:
        """From now on candidates are named: index what is known."""
        items = len(self.items)
        self.retrieval.index_embeddings(
            self.embeddings.outputs[:items], self.graph.items.degree[:items]
        )
        if self.reads_text:
            self.retrieval.index_texts(self.vectors.vectors[:items])
        self.codes.drop()
        self._replaced()

    # ------------------------------------------------------------------ shared items

    def share(self, positions: Mapping[int, int] | None = None) -> None:
        """Have a part of the users from now on, and share the items with the engines of others.

        What this engine knows of items now, others know. Items that become known from now on start
        alike at all of them.

        Parameters
        ----------
        positions
            By partition: the offset up to which its events are in this engine's items.
        """
        self.journal = Journal(1024)
        self.item_side = ItemSide(
            self.popularity, self.own.surge, self.transitions, self.embeddings, self.head,
            self.journal, self.departures, positions or {},
        )  # fmt: skip
        self._replaced()

    # ------------------------------------------------------------------ leaving

    def _evict_user(self, user: int) -> None:
        """Empty the rows of a user for a newcomer; what they taught stays."""
        self.clear_user(user)
        self.purged[user] = self.departures.count
        self._users_evicted += 1

    def _evict_item(self, item: int) -> None:
        """Empty the rows of an item for a newcomer; `departures` tells those who name it."""
        self.forget_contest()
        self.retrieval.drop(item)
        self.departures.add(item)
        self.graph.items.clear(item)
        self.transitions.clear(item)
        self.popularity.clear(item)
        self.own.clear(item)
        self.head.clear(item)
        self.vectors.clear(item)
        self.embeddings.renew_item(item)
        self.encode(np.array([item], np.int32))
        self.categories.remove(item)
        self.hidden[item] = False
        if not self.unlisted[item]:
            self._count_listed(-1)

    def clear_user(self, number: int) -> None:
        """Empty a user's rows; what they taught stays."""
        self.forget_contest()
        self.homes[number] = 0
        self.graph.items.remove_from(self.taken.of(number), number)
        self.graph.users.clear(number)
        self.taken.clear(number)
        self.disliked.clear(number)
        self.contexts.forget(number)
        self.taste.forget(number)
        self.embeddings.forget(number)

    def use_user(self, number: int) -> None:
        """Make a user the most recently used one, whose rows are up to date."""
        self.user_order.touch(number)
        self.purged[number] = self.departures.count

    def purge(self, user: int) -> None:
        """Drop what left from the rows that an answer for a user reads."""
        if self.departures.count:
            purge_user(self.hold(), user)
