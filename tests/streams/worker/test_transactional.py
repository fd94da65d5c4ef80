"""The way out: in order, each once, and never by a worker that was shut out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer

from streams.kafka import clients
from streams.worker.delivery import DisownedError, last_written
from streams.worker.transactional import TransactionalWriter
from tests.streams.conftest import Path
from tests.streams.waiting import until
from tests.streams.worker.outputs import RUNNING, answer, offsets

pytestmark = pytest.mark.parametrize("broker", ["kafka"], indirect=True)


def opened(path: Path) -> TransactionalWriter:
    writer = TransactionalWriter(path.settings, 0, "", 0)
    writer.open(RUNNING)
    return writer


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


def test_outputs_are_written_in_order_and_known_to_be_out(path: Path) -> None:
    writer = opened(path)
    assert writer.queue.out == 0
    for offset in range(1_200):  # more than one transaction takes
        writer.put([answer(path, offset)], offset + 1)
    assert writer.queue.out <= 1_200
    until(lambda: writer.queue.out == 1_200)
    writer.put([], 1_205)  # duplicates have no output
    assert writer.queue.out == 1_205
    writer.close(10)
    assert offsets(path) == list(range(1_200))
    until(lambda: last_written(path.settings, 0, "") == 1_199)


def test_the_new_owner_shuts_the_old_one_out(path: Path) -> None:
    old = opened(path)
    old.put([answer(path, 0)], 0 + 1)
    until(lambda: old.queue.waiting == 0)
    new = opened(path)
    assert new.queue.written == 0
    old.put([answer(path, 1)], 1 + 1)  # as a worker does that wakes after others took over
    old.put([answer(path, 2)], 2 + 1)
    until(lambda: old.failure is not None)
    assert isinstance(old.failure, DisownedError)
    old.close(10)
    assert old.queue.out == 1
    new.put([answer(path, 1)], 1 + 1)
    new.close(10)
    assert offsets(path) == [0, 1]
    # Once the partition is its own again, what others have not answered is not lost.
    old.open(RUNNING)
    until(lambda: old.queue.waiting == 0)
    old.close(10)
    assert offsets(path) == [0, 1, 2]
    assert old.queue.out == 3


class Refused:
    """A producer whose first commit fails, once the next transaction has its output in the log."""

    def __init__(self, producer: Producer, followed: Callable[[], bool]) -> None:
        self._producer, self._followed = producer, followed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._producer, name)

    def commit_transaction(self, timeout: float) -> None:
        followed, self._followed = self._followed, lambda: False
        if self._producer is not None and followed():
            raise KafkaException(
                KafkaError(KafkaError.INVALID_TXN_STATE, "planted", txn_requires_abort=True)
            )
        self._producer.commit_transaction(timeout)


def test_what_is_written_anew_comes_before_what_was_begun_behind_it(path: Path) -> None:
    writer = TransactionalWriter(path.settings, 0, "", 0)
    writer.open(RUNNING)
    until(lambda: len(writer._producers) == 2)

    def followed() -> bool:
        writer.put([answer(path, 1)], 2)
        until(lambda: writer._filling is not None and writer._filling.begun)
        return not writer._filling.producer.flush(10)

    writer._producers[0] = cast(Producer, Refused(writer._producers[0], followed))
    writer.put([answer(path, 0)], 1)
    until(lambda: writer.queue.out == 2)
    writer.put([answer(path, 2)], 3)
    writer.close(10)
    assert offsets(path) == [0, 1, 2]
    # Five records: the two that were aborted lie before the others.
    reader = clients.tail_reader(path.settings, **{"isolation.level": "read_uncommitted"})
    every = [m.value() for m in clients.tail(reader, path.names.recommendations, 0, 100)]
    reader.close()
    written = [answer(path, n).value for n in (0, 1, 0, 1, 2)]
    assert every == written


def test_what_others_have_answered_is_forgotten(path: Path) -> None:
    writer = TransactionalWriter(path.settings, 0, "", 0)
    writer.put([answer(path, 4)], 4 + 1)
    assert writer.queue.out == 4
    writer.queue.forget(9)
    assert (writer.queue.waiting, writer.queue.out) == (0, 9)


@pytest.mark.parametrize("turn", ["a", "b"])
def test_what_a_worker_left_open_is_aborted(path: Path, turn: str) -> None:
    dead = crashed(path, turn)
    new = opened(path)
    assert new.queue.written == -1
    new.put([answer(path, 0)], 0 + 1)
    new.close(10)
    assert offsets(path) == [0]
    with pytest.raises(KafkaException):
        dead.commit_transaction(10)


def test_the_last_answer_is_found_behind_many_other_messages(path: Path) -> None:
    writer = opened(path)
    writer.put([answer(path, 41)], 41 + 1)
    writer.close(10)
    for _ in range(700):
        path.producer.produce(
            path.names.dead_letters, b"x", b"item", 0, headers={"origin.topic": path.names.items}
        )
    path.flush()
    # The broker answers a commit before it has marked it; a new owner's fence waits for that.
    until(lambda: last_written(path.settings, 0, "") == 41)


def test_what_the_broker_will_never_take_ends_it(path: Path) -> None:
    writer = opened(path)
    writer.put([answer(path, 0)._replace(value=b"x" * (64 * 1024 * 1024))], 1)
    until(lambda: writer.failure is not None)
    assert not isinstance(writer.failure, DisownedError)
    assert "MSG_SIZE_TOO_LARGE" in repr(writer.failure) or "too large" in str(writer.failure)
    writer.close(10)
    assert writer.queue.waiting == 1
