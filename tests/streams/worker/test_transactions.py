"""The way out: in order, each once, and never by a worker that was shut out."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from confluent_kafka import KafkaException, Producer

from streams.kafka import clients
from streams.worker.partition import Output, last_written
from streams.worker.transactions import FencedError, PartitionOutbox
from tests.streams.conftest import Path

pytestmark = pytest.mark.parametrize("broker", ["kafka"], indirect=True)


def answer(path: Path, offset: int) -> Output:
    source = f'{{"topic": "{path.names.interactions}", "partition": 0, "offset": {offset}}}'
    value = f'{{"by": {offset}, "source": {source}}}'.encode()
    return Output(offset, path.names.recommendations, value, b"ann", [])


def offsets(path: Path) -> list[int]:
    count = path.counts()[path.names.recommendations]
    messages = path.read(path.names.recommendations, count)
    return [int((m.value() or b"").split(b'"by": ')[1].split(b",")[0]) for m in messages]


def opened(path: Path) -> PartitionOutbox:
    outbox = PartitionOutbox(path.settings, 0)
    outbox.open()
    return outbox


def crashed(path: Path, turn: str) -> Producer:
    """What a worker leaves behind that dies within a transaction: one answer, not committed."""
    name = f"{path.settings.worker.group}-{path.names.interactions}-0-{turn}"
    producer = clients.transactional(path.settings, name)
    producer.init_transactions(30)
    producer.begin_transaction()
    output = answer(path, 0)
    producer.produce(output.topic, output.value, output.key, 0)
    producer.flush(10)
    return producer


def until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_outputs_are_written_in_order_and_known_to_be_out(path: Path) -> None:
    outbox = opened(path)
    assert outbox.out == 0
    for offset in range(1_200):  # more than one transaction takes
        outbox.put(answer(path, offset))
        outbox.handled(offset + 1)
    assert outbox.out <= 1_200
    until(lambda: outbox.out == 1_200)
    outbox.handled(1_205)  # duplicates have no output
    assert outbox.out == 1_205
    outbox.close(10)
    assert offsets(path) == list(range(1_200))
    assert last_written(path.settings, 0) == 1_199


def test_the_new_owner_shuts_the_old_one_out(path: Path) -> None:
    old = opened(path)
    old.put(answer(path, 0))
    until(lambda: old.waiting == 0)
    new = opened(path)
    assert new.written == 0
    old.put(answer(path, 1))  # as a worker does that wakes after others took over
    old.put(answer(path, 2))
    until(lambda: old.failure is not None)
    assert isinstance(old.failure, FencedError)
    old.close(10)
    assert old.out == 1
    new.put(answer(path, 1))
    new.close(10)
    assert offsets(path) == [0, 1]
    # Once the partition is its own again, what others have not answered is not lost.
    old.open()
    until(lambda: old.waiting == 0)
    old.close(10)
    assert offsets(path) == [0, 1, 2]
    assert old.out == 3


def test_what_others_have_answered_is_forgotten(path: Path) -> None:
    outbox = PartitionOutbox(path.settings, 0)
    outbox.put(answer(path, 4))
    assert outbox.out == 4
    outbox.forget(9)
    assert (outbox.waiting, outbox.out) == (0, 9)


@pytest.mark.parametrize("turn", ["a", "b"])
def test_what_a_worker_left_open_is_aborted(path: Path, turn: str) -> None:
    dead = crashed(path, turn)
    new = opened(path)
    assert new.written == -1
    new.put(answer(path, 0))
    new.close(10)
    assert offsets(path) == [0]
    with pytest.raises(KafkaException):
        dead.commit_transaction(10)


def test_the_last_answer_is_found_behind_many_other_messages(path: Path) -> None:
    outbox = opened(path)
    outbox.put(answer(path, 41))
    outbox.close(10)
    for _ in range(700):
        path.producer.produce(
            path.names.dead_letters, b"x", b"item", 0, headers={"origin.topic": path.names.items}
        )
    path.flush()
    assert last_written(path.settings, 0) == 41


def test_what_the_broker_will_never_take_ends_it(path: Path) -> None:
    outbox = opened(path)
    outbox.put(answer(path, 0)._replace(value=b"x" * (64 * 1024 * 1024)))
    until(lambda: outbox.failure is not None)
    assert not isinstance(outbox.failure, FencedError)
    assert "MSG_SIZE_TOO_LARGE" in repr(outbox.failure) or "too large" in str(outbox.failure)
    outbox.close(10)
    assert outbox.waiting == 1
