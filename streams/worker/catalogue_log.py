"""The catalogue's topics, applied to an engine message by message as far as is asked for."""

from __future__ import annotations

from collections.abc import Mapping

from engine.recommender import Recommender
from streams.kafka.topic_log import Positions, TopicLog
from streams.messages.state_mark import Step
from streams.settings import Settings
from streams.worker.catalogue import CatalogueChanges


class CatalogueLog:
    """What the topics say of items, in an engine's state up to where it was told.

    Parameters
    ----------
    embeddings, items
        What of the topics is in the state: the next offset of each partition.
    """

    def __init__(
        self,
        settings: Settings,
        engine: Recommender,
        embeddings: Mapping[int, int],
        items: Mapping[int, int],
    ) -> None:
        self._changes = CatalogueChanges(settings, engine)
        topics = settings.topics
        self._embeddings = TopicLog(
            settings, topics.item_embeddings, embeddings, self._changes.embedding
        )
        self._items = TopicLog(settings, topics.items, items, self._changes.facts)

    @property
    def positions(self) -> tuple[Positions, Positions]:
        """The next offsets to apply: of the embeddings, and of the items."""
        return dict(self._embeddings.positions), dict(self._items.positions)

    def apply(self, step: Step) -> None:
        """Apply what a step names, but for what is in the state already."""
        self._changes.caught_up = step.kind != "listed"
        topic = self._items if step.kind == "items" else self._embeddings
        topic.apply_to(step.partition, step.end)

    def apply_to(
        self, embeddings: Mapping[int, int], items: Mapping[int, int], begins: bool
    ) -> None:
        """Apply what stands before these offsets.

        Parameters
        ----------
        begins
            As a worker does that starts: embeddings first, which list their items. Else as one
            that follows both: items first.
        """
        topics = [(self._items, items), (self._embeddings, embeddings)]
        for topic, ends in reversed(topics) if begins else topics:
            self._changes.caught_up = not (begins and topic is self._embeddings)
            for partition, end in ends.items():
                topic.apply_to(partition, end)

    def apply_until(self, moment_ms: int) -> None:
        """Apply what the broker had at a moment: items, then embeddings."""
        self._changes.caught_up = True
        self._items.apply_until(moment_ms)
        self._embeddings.apply_until(moment_ms)

    def close(self) -> None:
        """End the readers."""
        self._items.close()
        self._embeddings.close()
