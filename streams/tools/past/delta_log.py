"""What workers told each other of items, applied message by message as one noted that it did."""

from __future__ import annotations

from streams.kafka.topic_log import TopicLog
from streams.settings import Settings
from streams.tools.past.error import PastError
from streams.worker.item_deltas import ItemDeltas
from streams.worker.ledger import GapError


class DeltaLog:
    """What workers told of items, in a state up to where it was told.

    Parameters
    ----------
    deltas
        Applies them; its `at` is the first that the state does not know.
    """

    def __init__(self, settings: Settings, deltas: ItemDeltas) -> None:
        self._deltas = deltas
        at = {0: deltas.at}
        self._topic = TopicLog(settings, settings.topics.item_deltas, at, deltas.change_of)

    @property
    def position(self) -> int:
        """The first that is not applied."""
        return self._topic.positions[0]

    def apply_to(self, end: int) -> None:
        """Apply what the topic has before an offset.

        Raises
        ------
        PastError
            If some of it is no more.
        """
        try:
            self._topic.apply_to(0, end)
            if self._deltas.failure is not None:
                raise self._deltas.failure
        except GapError as error:
            raise PastError(
                f"{error}: choose a later range, or keep the topic of deltas for longer"
            ) from None

    def close(self) -> None:
        """End the reader."""
        self._topic.close()
