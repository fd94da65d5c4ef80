"""A tombstone in the items topic deletes the item."""

from __future__ import annotations

import time

import pytest

from engine.events import Item
from streams.processes import Child
from streams.worker.catalogue import deleted_item
from tests.streams.conftest import Path, interaction


@pytest.mark.parametrize("broker", ["kafka"], indirect=True)
def test_a_tombstone_ends_an_items_recommendation(path: Path, worker: Child) -> None:
    path.send_items(Item(item="kept", title="Alien"), Item(item="gone", title="Aliens"))
    sent = 0

    def recommended() -> set[str]:
        nonlocal sent
        path.send(interaction(sent, user=f"u{sent}", item="other"))
        sent += 1
        return {entry["item"] for entry in path.answers(sent)[-1]["items"]}

    def becomes(wanted: set[str]) -> bool:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if recommended() == wanted:
                return True
        return False

    assert becomes({"kept", "gone"})
    path.producer.produce(path.names.items, None, "gone")
    path.flush()
    assert becomes({"kept"})


@pytest.mark.parametrize("key", [None, b"", b"\xff", b" "])
def test_a_tombstone_whose_key_is_no_id_deletes_nothing(key: bytes | None) -> None:
    assert deleted_item(key) is None
