"""Where items are not shared, nothing waits to be told, however many events are learnt."""

from __future__ import annotations

from typing import Any, cast

from engine import Recommender
from streams.settings import Settings
from streams.worker.counts import Counts
from streams.worker.item_deltas import ItemDeltas
from streams.worker.partition import Partition


def test_one_partition_is_learnt_without_end() -> None:
    partition = Partition(number=0, window=1, writer=cast(Any, None), held=True)
    partition.next_offset = 1_000_000
    deltas = ItemDeltas(Settings(), "id", Recommender(), {0: partition}, Counts(), "me")
    assert deltas.has_room
    deltas.is_open = True
    assert not deltas.has_room
