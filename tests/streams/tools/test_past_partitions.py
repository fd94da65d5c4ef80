"""Past answers of a topic with several partitions: in which order a worker took their events, and
what others told it of items, its answers tell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from engine.events import Interaction, Item
from streams.settings import Settings
from streams.tools.past.audit import Range, audit
from streams.tools.past.questions import explain, list_at
from tests.streams.conftest import Path
from tests.streams.tools.test_past import FILMS, NOW, WORKER, event, without_checkpoints

pytestmark = pytest.mark.parametrize("broker", ["kafka"], indirect=True)
OFTEN = WORKER | {"checkpoint_seconds": 1.0, "delta_seconds": 0.05}


def spread(number: int, **fields: Any) -> Interaction:
    """One of a stream of many users, so that each partition has some."""
    return event(number, **{"user": f"u{number * 7 % 31}"} | fields)


def test_one_worker_of_four_partitions_and_its_heir(settings: Callable[..., Settings]) -> None:
    path = Path(settings(topics={"partitions": 4}, worker=WORKER))
    with path.worker():
        path.send_items(*FILMS)
        path.read(path.names.item_embeddings, len(FILMS))
        path.send(*(spread(n) for n in range(150)), spread(3))  # one comes again
        path.send_bytes(b"rubbish", "u1")
        path.flush()
        path.answers(150)
        for n in range(150, 180):  # while the catalogue changes
            if n % 10 == 0:
                path.send_items(Item(item=f"new{n}", title=f"A new film, {n}", categories=["War"]))
            path.send(spread(n))
            path.answers(n + 1)
    with path.worker():
        path.send(*(spread(n) for n in range(180, 260)))
        path.answers(260)
    for chosen in (path.settings, without_checkpoints(path.settings)):
        report = audit(chosen, Range())
        assert report["first_difference"] is None
        assert (report["equal"], report["missing"], report["unanswered"]) == (260, 0, 2)
        assert (report["all_equal"], report["workers"]) == (True, 2)
    last = audit(path.settings, Range(last=10))
    assert (last["equal"], last["messages"]) == (40, 40)
    found = explain(path.settings, "e200", without="e169")  # of the same user, before the restart
    assert found["equal"]
    assert found["other"] != [
        {name: item[name] for name in ("item", "score", "reason")} for item in found["items"]
    ]
    assert len(list_at(path.settings, NOW, "u7")["items"]) == 10


@pytest.mark.long
def test_two_workers_that_share_items_and_partitions_that_move(
    settings: Callable[..., Settings],
) -> None:
    path = Path(settings(topics={"partitions": 2}, worker=OFTEN))
    sent = 0

    def more(events: int) -> None:
        nonlocal sent
        path.send(*(spread(n) for n in range(sent, sent + events)))
        sent += events
        path.answers(sent)

    with path.worker() as first:
        path.send_items(*FILMS)
        path.read(path.names.item_embeddings, len(FILMS))
        more(100)
        with path.worker():
            path.await_workers(2)
            for _ in range(20):  # what one learnt is told between events of the other
                more(10)
            first.kill()
            first.process.wait()
            path.await_workers(1)
            more(60)
    # The checkpoints that users came from are no more, or all of them are not.
    for chosen in (path.settings, without_checkpoints(path.settings)):
        report = audit(chosen, Range())
        assert report["first_difference"] is None
        assert (report["equal"], report["missing"], report["different"]) == (sent, 0, 0)
        assert report["workers"] == 2
