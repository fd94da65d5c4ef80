"""Delivery by lease: in order, each once, nothing without a lease, nothing behind a failure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path as FilePath

import pytest

from streams.brokers import KafkaServer
from streams.settings import Settings
from streams.worker.delivery import DisownedError, Output, OutputQueue, last_written
from streams.worker.leased import EXPIRY, Lease, LeasedWriter, SharedProducer, now
from tests.conftest import settings_on
from tests.streams.conftest import Path
from tests.streams.waiting import until
from tests.streams.worker.outputs import RUNNING, answer, offsets

SESSION = 3.0


class Writers:
    """Writers of partition 0, as different workers have them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.producers: list[SharedProducer] = []

    def make(self, lease: Lease) -> LeasedWriter:
        producer = SharedProducer(self.settings)
        self.producers.append(producer)
        return LeasedWriter(self.settings, 0, "", 0, producer, lease)


def held() -> Lease:
    lease = Lease(10_000.0)
    lease.renew(now())
    lease._least = 0.0
    return lease


@pytest.fixture
def path(settings: Callable[..., Settings]) -> Path:
    return Path(settings(topics={"partitions": 1}, worker={"session_seconds": SESSION}))


@pytest.fixture
def writers(path: Path) -> Iterator[Writers]:
    made = Writers(path.settings)
    yield made
    for producer in made.producers:
        producer.close()


def test_a_lease_ends_before_its_session_does() -> None:
    lease = Lease(2.0)
    assert not lease.holds
    lease.renew(now())
    assert lease.holds
    lease.renew(now() - 2.0 * (1 - EXPIRY))  # an older commit does not shorten it
    assert lease.holds
    lease.end()
    assert not lease.holds
    lease.renew(now() - 2.0 * (1 - EXPIRY))  # too little is left for what would be sent now
    assert not lease.holds


@pytest.mark.parametrize("broker", ["kafka"], indirect=True)
def test_outputs_are_written_in_order_and_known_to_be_out(path: Path, writers: Writers) -> None:
    writer = writers.make(held())
    writer.open(RUNNING)
    for offset in range(1_200):  # more than one batch takes
        writer.put([answer(path, offset)], offset + 1)
    until(lambda: writer.queue.out == 1_200)
    writer.put([], 1_205)  # duplicates have no output
    assert writer.queue.out == 1_205
    writer.close(10)
    assert offsets(path) == list(range(1_200))
    assert last_written(path.settings, 0, "") == 1_199


def test_a_batch_is_of_one_topic() -> None:
    """A dead letter that is written before the answers below it would hide that they are not."""
    queue = OutputQueue(0)
    topics = ["answers"] * 3 + ["letters"] + ["answers"] * 2
    outputs = [Output(n, topic, b"", b"", ()) for n, topic in enumerate(topics)]
    queue.put(outputs, 6)
    batches = []
    while batch := queue.send(one_topic=True):
        assert queue.out == batch[0].offset
        batches.append([output.offset for output in batch])
        queue.are_written(len(batch))
    assert batches == [[0, 1, 2], [3], [4, 5]]
    queue.put(outputs, 6)
    assert len(queue.send()) == 6


@pytest.mark.parametrize("broker", ["kafka"], indirect=True)
def test_without_a_lease_nothing_is_written(path: Path, writers: Writers) -> None:
    lease = Lease(SESSION)
    writer = writers.make(lease)
    writer.open(RUNNING)
    writer.put([answer(path, 0)], 1)
    assert writer._under_way == 0
    assert writer.queue.out == 0
    lease.renew(now())
    writer.advance()
    until(lambda: writer.queue.out == 1)
    writer.close(1)


def test_what_others_write_to_the_output_topics_answers_nothing(path: Path) -> None:
    far = answer(path, 10**30).value
    for value in (b"no JSON", None, b"[" * 100_000, b'{"source": 7}', b'"\xff"', far):
        path.producer.produce(path.names.recommendations, value, b"ann", 0)
    topic = path.names.interactions
    for offset in (None, b"one", b"9" * 5_000, b"-7"):
        headers = {"origin.topic": topic, "origin.offset": offset}
        path.producer.produce(path.names.dead_letters, b"x", b"ann", 0, headers=headers)
    path.producer.produce(path.names.dead_letters, b"x", b"ann", 0, headers={"origin.topic": topic})
    path.flush()
    assert last_written(path.settings, 0, "") == -1


@pytest.mark.parametrize("broker", ["kafka"], indirect=True)
def test_a_new_owner_goes_on_behind_what_is_written(path: Path, writers: Writers) -> None:
    old, new = writers.make(held()), writers.make(held())
    old.open(RUNNING)
    old.put([answer(path, 0), answer(path, 1)], 2)
    old.close(10)
    new.open(RUNNING)
    assert new.queue.written == 1
    new.put([answer(path, 2)], 3)
    old.put([answer(path, 2)], 3)  # it is closed, and so it waits
    new.close(10)
    assert offsets(path) == [0, 1, 2]
    old.open(RUNNING)  # the partition comes back: others have answered what waited
    assert old.queue.waiting == 0
    assert old.queue.out == 3
    old.close(1)
    assert offsets(path) == [0, 1, 2]


def test_nothing_is_lost_doubled_or_out_of_order_when_the_broker_goes_away(
    kafka_jars: FilePath, tmp_path: FilePath
) -> None:
    """What expires while it is away ends the batch: nothing behind it may be in the topic."""
    with KafkaServer() as server:
        path = Path(settings_on(server, tmp_path)(
            topics={"partitions": 1}, worker={"session_seconds": SESSION}
        ))  # fmt: skip
        writers = Writers(path.settings)
        writer = writers.make(held())
        writer.open(RUNNING)
        sent = 0
        for _ in range(2):
            for _ in range(300):
                writer.put([answer(path, sent)], sent + 1)
                sent += 1
            server.kill()
            for _ in range(700):
                writer.put([answer(path, sent)], sent + 1)
                sent += 1
            until(lambda: writer.failure is not None)
            assert isinstance(writer.failure, DisownedError)
            server.restart()
            writer.reopen(RUNNING)
            until(lambda: writer.queue.out == sent)  # noqa: B023
        writer.close(10)
        assert offsets(path) == list(range(sent))
        for producer in writers.producers:
            producer.close()


@pytest.mark.parametrize("broker", ["kafka"], indirect=True)
def test_a_partition_that_the_producer_does_not_know_ends_the_batch_and_not_the_worker(
    path: Path, writers: Writers
) -> None:
    writer = writers.make(held())
    writer.open(RUNNING)
    writer.put([answer(path, 0)], 1)
    until(lambda: writer.queue.out == 1)
    writer._number = 1  # as of an output topic that has fewer partitions than the input
    writer.put([answer(path, 1)], 2)
    until(lambda: writer.failure is not None)
    assert isinstance(writer.failure, DisownedError)
    writer.close(1)  # and it does not wait for what was never sent
    writer._number = 0
    writer.reopen(RUNNING)
    until(lambda: writer.queue.out == 2)
    writer.close(10)
    assert offsets(path) == [0, 1]


@pytest.mark.parametrize("broker", ["kafka"], indirect=True)
def test_what_the_broker_will_never_take_ends_it(path: Path, writers: Writers) -> None:
    writer = writers.make(held())
    writer.open(RUNNING)
    writer.put([answer(path, 0)._replace(value=b"x" * (64 * 1024 * 1024))], 1)
    until(lambda: writer.failure is not None)
    assert not isinstance(writer.failure, DisownedError)
    assert "too large" in str(writer.failure)
    writer.close(10)
    assert writer.queue.waiting == 1
