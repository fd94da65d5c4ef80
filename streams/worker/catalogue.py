"""The catalogue on its way to every worker.

    items ──► one worker encodes its text ──► item-embeddings (compacted) ──► every worker

A text is encoded once for all workers, off the event path; a worker that starts reads the
embeddings to their end first, so that it need not encode them again.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import cast

import msgspec
import numpy as np
from confluent_kafka import Message, TopicPartition
from numpy.typing import NDArray

from engine.events import Item, item_text
from engine.text.encoder import TextEncoder
from streams.kafka import clients
from streams.messages.packing import pack, unpack
from streams.messages.schemas import ItemEmbedding, encode
from streams.messages.validation import UNREADABLE
from streams.settings import Settings

log = logging.getLogger("millrace.catalogue")

Apply = Callable[[Item, "NDArray[np.float32] | None"], None]


class CatalogueEncoder:
    """Turns items into messages of the item-embeddings topic. One thread at a time calls it."""

    def __init__(self, cache: int, text: bool) -> None:
        self._text = text
        self._cache = cache
        self._encoder: TextEncoder | None = None

    def encode(self, item: Item) -> bytes:
        """The item with the embedding of its text, as a message."""
        text = item_text(item) if self._text else ""
        if not text:
            return encode(ItemEmbedding(item=item, encoder="", embedding=""))
        if self._encoder is None:
            self._encoder = TextEncoder(self._cache)
        vector = self._encoder.encode([text])[0]
        return encode(ItemEmbedding(item=item, encoder=TextEncoder.name, embedding=pack(vector)))


class CatalogueTail:
    """Follows the whole item-embeddings topic, outside any group.

    Attributes
    ----------
    positions
        The next offset of each partition to apply.
    """

    def __init__(
        self, settings: Settings, apply: Apply, positions: dict[int, int] | None = None
    ) -> None:
        self.positions = dict(positions or {})
        self._topic = settings.topics.item_embeddings
        self._consumer = clients.reader(settings)
        self._apply = apply
        self._decoder = msgspec.json.Decoder(ItemEmbedding)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self.failure: Exception | None = None

    def read_to_end(self) -> int:
        """Apply what the topic holds now; returns how many items that were."""
        # Before anything is assigned: afterwards each would wait behind a fetch for half a second.
        limits = clients.watermarks(self._consumer, self._topic)
        self.positions = {p: self.positions.get(p, 0) for p in limits}
        self._consumer.assign(
            [TopicPartition(self._topic, p, at) for p, at in self.positions.items()]
        )
        missing = {p for p, (low, end) in limits.items() if end > max(low, self.positions[p])}
        items = 0
        while missing:
            message = self._consumer.poll(clients.TIMEOUT_SECONDS)
            if message is None:
                raise TimeoutError(f"{self._topic} could not be read to its end: broker too slow")
            self._take(message, lambda apply: apply())
            items += 1
            partition, offset = message.partition(), message.offset()
            if partition is not None and offset is not None and offset + 1 >= limits[partition][1]:
                missing.discard(partition)
        return items

    def follow(self, hand_over: Callable[[Callable[[], None]], object]) -> None:
        """Go on in a thread; `hand_over` has the engine's own thread apply each item."""

        def run() -> None:
            try:
                while not self._stopping.is_set():
                    message = self._consumer.poll(0.2)
                    if message is not None:
                        self._take(message, hand_over)
            except Exception as error:  # the worker looks at it and stops
                self.failure = error
            finally:
                self._consumer.close()

        self._thread = threading.Thread(target=run, name="catalogue", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def _take(self, message: Message, hand_over: Callable[[Callable[[], None]], object]) -> None:
        if message.error():
            raise RuntimeError(f"{self._topic}: {message.error()}")
        partition, offset = message.partition(), message.offset()
        entry = self._decoded(message)

        def apply() -> None:
            if entry is not None:
                self._apply(*entry)
            self.positions[cast(int, partition)] = cast(int, offset) + 1

        hand_over(apply)

    def _decoded(self, message: Message) -> tuple[Item, NDArray[np.float32] | None] | None:
        """Item and embedding; of a tombstone a hidden item without facts; None of what is neither.

        The topic keeps a message for ever, so one that is not ours must not end whoever reads it.
        """
        value = message.value()
        if value is None:
            deleted = deleted_item(message.key())
            return None if deleted is None else (deleted, None)
        try:
            entry = self._decoder.decode(value)
            same = entry.encoder == TextEncoder.name
            return entry.item, unpack(entry.embedding, TextEncoder.dimensions) if same else None
        except (*UNREADABLE, ValueError) as error:
            place = f"{self._topic}[{message.partition()}] at {message.offset()}"
            log.warning(
                "%s is passed over, it is no item's embedding: %s", place, error,
                extra={"topic": self._topic, "partition": message.partition(),
                       "offset": message.offset()},
            )  # fmt: skip
            return None


def deleted_item(key: bytes | None) -> Item | None:
    """What a tombstone with this key says: its item is hidden and nothing else is known of it.

    None if the key is no item's id.
    """
    try:
        return msgspec.convert({"item": (key or b"").decode(), "hidden": True}, Item)
    except (UnicodeDecodeError, msgspec.ValidationError):
        return None
