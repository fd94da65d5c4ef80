"""Past answers of a topic with several partitions: in which order a worker took their events, and
what others told it of items, its answers tell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from engine import lookup
from engine.events import Interaction, Item
from streams.kafka.record import headers_of
from streams.messages.state_mark import read_mark
from streams.settings import Settings
from streams.tools.past.asking import the_past
from streams.tools.past.audit import Range, audit
from streams.tools.past.beginnings import writer_of
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


@pytest.mark.long
def test_users_that_went_to_another_worker_and_came_back(
    settings: Callable[..., Settings],
) -> None:
    path = Path(settings(topics={"partitions": 2}, worker=OFTEN))
    with path.worker():
        path.send_items(*FILMS)
        path.read(path.names.item_embeddings, len(FILMS))
        path.send(*(spread(n) for n in range(100)))
        path.answers(100)
        with path.worker():
            path.await_workers(2)
            path.send(*(spread(n) for n in range(100, 160)))
            path.answers(160)
        path.await_workers(1)
        path.send(*(spread(n) for n in range(160, 220)))
        path.answers(220)
        answers = path.read(path.names.recommendations, 220)
    marks = list(filter(None, (read_mark(headers_of(answer)) for answer in answers)))
    [first] = {mark.worker for mark in marks if "taken" in [step.kind for step in mark.steps]}
    # The second began with a checkpoint of the first, and that took users from one of the second.
    assert {writer_of(mark.began) for mark in marks if mark.began} == {first}
    # Each of the two can only be done again in parts, with one of the other's between them.
    for chosen in (path.settings, without_checkpoints(path.settings)):
        report = audit(chosen, Range())
        assert report["first_difference"] is None
        assert (report["equal"], report["missing"], report["different"]) == (220, 0, 0)
        # Also not in what the second had from the first, and gave back.
        assert "m15" in own_items(chosen, "e200")
        assert "m15" not in own_items(chosen, "e200", without="e45")


def own_items(settings: Settings, event_id: str, without: str | None = None) -> set[str]:
    """What the user of an event had taken when it was answered, but for an event of theirs."""
    with the_past(settings) as past:
        named = {
            each: next(filter(None, (log.of_event(each) for log in past.answers.values())))
            for each in (event_id, without or event_id)
        }
        answer, gone = named[event_id], named[without or event_id]
        left_out = {(gone.given.user, without): (gone.partition, gone.offset)} if without else {}
        with past.before((answer.partition, answer.offset + 1), left_out) as (fold, output):
            assert output is not None
            return {taken.item for taken in lookup.recent(fold.engine, answer.given.user)}
