"""The catalogue on its way into every worker's engine.

    items ─────────────────────────────────────► every worker: what an item's message says
    items ──► one worker encodes its text ──► item-embeddings (compacted) ──► every worker

What a message says of an item (title, categories, hidden, gone) is applied as soon as it is read; a
worker reads both topics to their ends before it is ready. A text is encoded once for all workers,
off the event path, and its embedding may come later.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import cast

import msgspec
import numpy as np
from confluent_kafka import Message
from numpy.typing import NDArray

from engine.events import Item, item_text
from engine.recommender import Recommender
from engine.text.encoder import TextEncoder
from streams.kafka.outbox import Outbox
from streams.kafka.record import Record
from streams.kafka.tail import Change, HandOver, TopicTail
from streams.messages.bad_message import BadMessage
from streams.messages.dead_letters import DeadLetter, dead_letter
from streams.messages.decoding import decode_item_update
from streams.messages.limits import check_size, check_work, check_written
from streams.messages.packing import pack, unpack
from streams.messages.schemas import ItemEmbedding, encode
from streams.messages.state_mark import CatalogueSource
from streams.messages.validation import UNREADABLE
from streams.settings import Settings

log = logging.getLogger("millrace.catalogue")

_EMBEDDING = msgspec.json.Decoder(ItemEmbedding)


class CatalogueChanges:
    """What the messages of both topics change in an engine.

    Attributes
    ----------
    caught_up
        Whether the items that embeddings are of are known already: a worker that starts learns
        them from the embeddings, which say what an item was when it was encoded, and then from the
        items topic, which is newer.
    """

    def __init__(self, settings: Settings, engine: Recommender) -> None:
        self.caught_up = False
        self._engine = engine
        self._message_bytes = settings.topics.message_bytes

    def facts(self, message: Message) -> Change | None:
        """What an item's message says; nothing of one that cannot be read: the group buries it."""
        record = Record.of(message)
        try:
            item, given = item_facts(record, self._message_bytes)
        except BadMessage:
            return None
        if given is None:
            return partial(self._engine.remove_item, item.item)
        return partial(self._engine.describe_item, item, given)

    def embedding(self, message: Message) -> Change | None:
        """What an item's embedding says."""
        found = decode_embedding(message)
        if found is None:
            return None
        item, embedding = found
        if not self.caught_up:
            return partial(self._engine.upsert_item, item, embedding)
        if embedding is None:
            return None
        return partial(self._engine.embed_item, item.item, embedding)


class Catalogue:
    """Follows both topics into an engine, which is changed in the thread that owns it.

    Parameters
    ----------
    embeddings, items
        The next offsets to apply of each topic, by partition.

    Attributes
    ----------
    on_change
        Called after each change, in that thread, with what `CatalogueStep` says of it.
    """

    def __init__(
        self,
        settings: Settings,
        engine: Recommender,
        embeddings: dict[int, int] | None = None,
        items: dict[int, int] | None = None,
    ) -> None:
        topics = settings.topics
        self.on_change: Callable[[CatalogueSource, int, int], object] = (
            lambda source, partition, end: None
        )
        self._changes = CatalogueChanges(settings, engine)
        self._embeddings = TopicTail(settings, topics.item_embeddings, self._embedding, embeddings)
        self._items = TopicTail(settings, topics.items, self._facts, items)

    @property
    def positions(self) -> tuple[dict[int, int], dict[int, int]]:
        """The next offsets to apply: of the embeddings, and of the items."""
        return dict(self._embeddings.positions), dict(self._items.positions)

    @property
    def failure(self) -> Exception | None:
        """Why a thread ended, if one did."""
        return self._embeddings.thread.failure or self._items.thread.failure

    def read_to_end(self) -> int:
        """Apply what the topics hold now; returns how many messages that were."""
        # Embeddings hold their items as these were when encoded: what the items say now is newer.
        embeddings = self._embeddings.read_to_end()
        self._changes.caught_up = True
        return embeddings + self._items.read_to_end()

    def follow(self, hand_over: HandOver) -> None:
        """Go on, in threads."""
        self._embeddings.follow(hand_over)
        self._items.follow(hand_over)

    def stop(self) -> None:
        """End the threads."""
        self._embeddings.thread.stop()
        self._items.thread.stop()

    def _facts(self, message: Message) -> Change | None:
        return self._noted("items", message, self._changes.facts(message))

    def _embedding(self, message: Message) -> Change | None:
        source: CatalogueSource = "embeddings" if self._changes.caught_up else "listed"
        return self._noted(source, message, self._changes.embedding(message))

    def _noted(
        self, source: CatalogueSource, message: Message, change: Change | None
    ) -> Change | None:
        if change is None:
            return None
        partition, end = cast(int, message.partition()), cast(int, message.offset()) + 1

        def apply() -> None:
            change()
            self.on_change(source, partition, end)

        return apply


def item_facts(record: Record, message_bytes: int) -> tuple[Item, frozenset[str] | None]:
    """An item, and the names of the fields that its message gives; None for one that is deleted.

    Every worker reads an item so, and the one that buries it too: they agree on what is none.

    Parameters
    ----------
    message_bytes
        Largest message that is taken, in bytes (`topics.message_bytes`).

    Raises
    ------
    BadMessage
        If it is no item, or too large to be read.
    """
    check_size(record.key, record.value, record.headers, message_bytes)
    check_work(record.value)
    if record.value is None:
        deleted = deleted_item(record.key)
        if deleted is not None:
            return deleted, None
    return decode_item_update(record.value, record.headers)


def deleted_item(key: bytes | None) -> Item | None:
    """What a tombstone with this key says: its item is hidden and nothing else is known of it.

    None if the key is no item's id.
    """
    try:
        return msgspec.convert({"item": (key or b"").decode(), "hidden": True}, Item)
    except (UnicodeDecodeError, msgspec.ValidationError):
        return None


def decode_embedding(message: Message) -> tuple[Item, NDArray[np.float32] | None] | None:
    """Item and embedding (None if another encoder made it); None of a tombstone or of neither.

    The topic keeps a message for ever, so one that is not ours must not end whoever reads it.
    """
    value = message.value()
    if value is None:
        return None
    try:
        entry = _EMBEDDING.decode(value)
        same = entry.encoder == TextEncoder.name
        return entry.item, unpack(entry.embedding, TextEncoder.dimensions) if same else None
    except (*UNREADABLE, ValueError) as error:
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        log.warning(
            "%s[%s] at %s is passed over, it is no item's embedding: %s",
            topic, partition, offset, error,
            extra={"topic": topic, "partition": partition, "offset": offset},
        )  # fmt: skip
        return None


class ItemEncoder:
    """Encodes the texts of the items whose partitions are ours, and buries what is no item.

    Parameters
    ----------
    count
        Called with the error and the dead letter of each message that cannot be read.
    """

    def __init__(
        self,
        settings: Settings,
        outbox: Outbox,
        count: Callable[[BadMessage, DeadLetter], object],
    ) -> None:
        self._topics = settings.topics
        self._text = settings.engine.model != "gnn"
        self._cache = settings.engine.text_cache
        self._outbox = outbox
        self._count = count
        self._encoder: TextEncoder | None = None
        self._said: set[str] = set()
        self.read: dict[int, int] = {}
        """The next offset of each partition: everything below is encoded and sent."""

    async def take(self, records: Sequence[Record]) -> None:
        """Encode these in a thread and publish them to every worker."""
        for record in records:
            try:
                item, given = item_facts(record, self._topics.message_bytes)
                if given is None:
                    self._outbox.send(self._topics.item_embeddings, None, item.item)
                elif given & {"title", "text", "categories"}:
                    message = await asyncio.to_thread(self._encoded, item)
                    check_written("the item and its embedding", message, self._topics.message_bytes)
                    self._outbox.send(self._topics.item_embeddings, message, item.item)
            except BadMessage as error:
                self._bury(record, error)
            self.read[record.partition] = record.offset + 1

    def _encoded(self, item: Item) -> bytes:
        text = item_text(item) if self._text else ""
        if not text:
            return encode(ItemEmbedding(item=item, encoder="", embedding=""))
        if self._encoder is None:
            self._encoder = TextEncoder(self._cache)
        vector = self._encoder.encode([text])[0]
        return encode(ItemEmbedding(item=item, encoder=TextEncoder.name, embedding=pack(vector)))

    def _bury(self, record: Record, error: BadMessage) -> None:
        """Send it to the dead letters, count it, and log the first of each error class."""
        topics = self._topics
        letter = dead_letter(error, topics.items, record, topics.message_bytes)
        self._outbox.send(topics.dead_letters, letter.value, letter.key, headers=letter.headers)
        self._count(error, letter)
        if error.error_class in self._said:  # a broken sender sends thousands
            return
        self._said.add(error.error_class)
        log.warning(
            "%s[%d] at %d is a dead letter, %s; more of this class are counted, not logged",
            topics.items, record.partition, record.offset, error,
            extra={"topic": topics.items, "partition": record.partition, "offset": record.offset},
        )  # fmt: skip
