"""Both brokers through both clients; starting, stopping, crashing and coming back."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord
from aiokafka import TopicPartition as Partition
from confluent_kafka import Consumer, Message, Producer, TopicPartition

from streams.brokers import BrokerError, KafkaServer, open_broker, topic_partitions
from streams.brokers import kafka as kafka_module
from streams.kafka import topic_checks, topics
from streams.settings import Settings
from tests.streams.test_processes import running, until

HEADERS = [("id", b"\x00\xff"), ("id", b"again")]
TIMESTAMP = 1_234_567_890_123
LARGE = 100_000_000
QUIET = {"log_level": 0}  # no line for each connection that a broker closes as it stops


def produce(bootstrap: str, topic: str, *values: bytes) -> None:
    """Write to partition 0, and fail unless each message is acknowledged."""
    producer = Producer({"bootstrap.servers": bootstrap, "message.max.bytes": LARGE, **QUIET})
    errors = []
    for value in values:
        producer.produce(
            topic,
            value,
            key=b"key",
            partition=0,
            headers=HEADERS,
            timestamp=TIMESTAMP,
            callback=lambda error, message: errors.append(error),
        )
    assert producer.flush(30) == 0
    assert errors == [None] * len(values)


def read(bootstrap: str, topic: str, count: int) -> list[Message]:
    """The first messages of partition 0."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "reader", **QUIET})
    consumer.assign([TopicPartition(topic, 0, 0)])
    found: list[Message] = []
    while len(found) < count:
        batch = consumer.consume(count - len(found), timeout=20)
        assert batch, f"{len(found)} of {count} messages came"
        assert not any(message.error() for message in batch)
        found += batch
    consumer.close()
    return found


def test_confluent_kafka_reads_what_it_wrote(settings):
    wanted = settings()
    topics.create(wanted)
    produce(wanted.broker.bootstrap, wanted.topics.items, b"one", b"two")
    first, second = read(wanted.broker.bootstrap, wanted.topics.items, 2)
    assert (first.value(), second.value()) == (b"one", b"two")
    assert first.key() == b"key"
    assert first.headers() == HEADERS
    assert first.timestamp()[1] == TIMESTAMP


def test_aiokafka_reads_and_commits_and_others_see_the_offsets(settings, broker):
    """What `millrace lag` relies on: offsets of a group, read without joining it.

    Kafka states when it appended the record, whatever its producer says, for the topic asks for
    that; it bounds how late an event may be. The embedded broker keeps the producer's time.
    """
    wanted = settings()
    topics.create(wanted)
    bootstrap, topic = wanted.broker.bootstrap, wanted.topics.interactions

    async def round_trip() -> ConsumerRecord:
        async with AIOKafkaProducer(bootstrap_servers=bootstrap) as producer:
            await producer.send_and_wait(
                topic, b"one", key=b"key", partition=2, headers=HEADERS, timestamp_ms=TIMESTAMP
            )
        async with AIOKafkaConsumer(
            topic,
            bootstrap_servers=bootstrap,
            group_id=wanted.worker.group,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
        ) as consumer:
            record = await asyncio.wait_for(consumer.getone(), 30)
            await consumer.commit({Partition(topic, 2): record.offset + 1})
            return record

    before = round(time.time() * 1000)
    record = asyncio.run(round_trip())
    assert (record.key, record.value) == (b"key", b"one")
    if broker.embedded:
        assert record.timestamp == TIMESTAMP
    else:
        assert before <= record.timestamp <= round(time.time() * 1000)
    assert list(record.headers) == HEADERS
    other = Consumer({"bootstrap.servers": bootstrap, "group.id": wanted.worker.group, **QUIET})
    partition = TopicPartition(topic, 2)
    assert other.committed([partition], timeout=10)[0].offset == 1
    assert other.get_watermark_offsets(partition, timeout=10) == (0, 1)
    other.close()


@pytest.mark.parametrize("broker", ["kafka"], indirect=True)
def test_a_message_of_6_mb(settings):
    wanted = settings(topics={"message_bytes": 8_000_000})
    topics.create(wanted)
    value = bytes(range(256)) * (6_000_000 // 256)
    produce(wanted.broker.bootstrap, wanted.topics.item_embeddings, value)
    [message] = read(wanted.broker.bootstrap, wanted.topics.item_embeddings, 1)
    assert message.value() == value


def on(server: KafkaServer) -> Settings:
    return Settings(broker={"bootstrap": server.bootstrap})


@pytest.mark.long
def test_kafka_keeps_its_data_over_restart_crash_and_a_new_server(kafka_jars, tmp_path: Path):
    with KafkaServer(data=tmp_path / "log") as server:
        name = on(server).topics.items
        topics.create(on(server))
        produce(server.bootstrap, name, b"one")
        server.restart()
        produce(server.bootstrap, name, b"two")
        server.kill()
        server.restart()
        produce(server.bootstrap, name, b"three")
    with KafkaServer(data=tmp_path / "log") as server:
        values = [message.value() for message in read(server.bootstrap, name, 3)]
        assert values == [b"one", b"two", b"three"]
        assert topic_checks.check(on(server)) == []


@pytest.mark.parametrize(
    # That a server is closed in order, `run_broker` shows when it gets a signal.
    "end",
    [KafkaServer.kill, pytest.param(KafkaServer.close, marks=pytest.mark.long)],
)
def test_kill_and_close_leave_no_process_and_no_folder(end, kafka_jars, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with KafkaServer() as server:
        process = server.pid
        assert running(process)
        assert left(tmp_path)
        end(server)
        assert not running(process)
        with pytest.raises(BrokerError, match="no Kafka broker answers"):
            topic_partitions(server.bootstrap, seconds=1)
    assert not left(tmp_path)


def left(folder: Path) -> list[Path]:
    """What Kafka keeps in this temporary folder (onnxruntime leaves a file of its own there)."""
    return list(folder.glob("millrace*"))


def start(tmp_path: Path, kind: str) -> tuple[subprocess.Popen[str], str]:
    """A process with a broker, and the broker's address, which is the first thing that it says."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys\nfrom streams.brokers import run_broker\n"
            "from streams.settings import Settings\nrun_broker(sys.argv[1], 0, Settings())",
            kind,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("bootstrap=127.0.0.1:")
    return process, line.removeprefix("bootstrap=").strip()


@pytest.mark.parametrize("kind", ["embedded", "kafka"])
@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.long)]
)
def test_run_broker_serves_until_a_signal_and_leaves_nothing(kind, number, tmp_path, request):
    if kind == "kafka":
        request.getfixturevalue("kafka_jars")
    process, bootstrap = start(tmp_path, kind)
    topic_partitions(bootstrap)
    process.send_signal(number)
    process.send_signal(number)  # a second Ctrl-C
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "", "")
    with pytest.raises(BrokerError):
        topic_partitions(bootstrap, seconds=1)
    assert not left(tmp_path)


def test_sigkill_of_run_broker_leaves_nothing(kafka_jars, tmp_path: Path):
    process, bootstrap = start(tmp_path, "kafka")
    process.kill()
    process.communicate()
    until(lambda: not left(tmp_path))
    with pytest.raises(BrokerError):
        topic_partitions(bootstrap, seconds=1)


def test_a_kafka_that_does_not_start_says_why(kafka_jars, tmp_path: Path):
    (tmp_path / "meta.properties").write_text("version=1\ncluster.id=other\nnode.id=7\n")
    with pytest.raises(BrokerError, match=r"(?s)ended as it started; its log ends:.*\b7\b"):
        KafkaServer(data=tmp_path)


def test_a_port_in_use(kafka_jars):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(BrokerError, match=f"port {port} .*--port"):
            KafkaServer(port)


@pytest.mark.long
def test_a_port_that_another_process_takes_first_is_no_failure(kafka_jars, monkeypatch):
    free = kafka_module._free_ports
    with socket.create_server(("127.0.0.1", 0)) as taken:
        answers = [(free(0)[0], taken.getsockname()[1])]
        monkeypatch.setattr(
            kafka_module, "_free_ports", lambda port: answers.pop() if answers else free(0)
        )
        with KafkaServer() as server:
            assert topic_partitions(server.bootstrap) == {}
    assert not answers


def test_the_embedded_broker_takes_neither_port_nor_folder(tmp_path: Path):
    with pytest.raises(BrokerError, match="9092"):
        open_broker("embedded", Settings(), port=9092)
    with pytest.raises(BrokerError, match="--kafka"):
        open_broker("embedded", Settings(), data=tmp_path)


def test_find_jars_names_what_is_missing(tmp_path: Path, monkeypatch):
    tools = tmp_path / "bin"
    tools.mkdir()
    monkeypatch.setenv("PATH", str(tools))
    monkeypatch.setattr(kafka_module, "JARS", tmp_path / "jars")
    with pytest.raises(BrokerError, match="no `java` on the PATH: install it"):
        kafka_module.find_jars()
    for tool, expected in (
        ("java", "no `mvn` on the PATH to fetch them: install Maven"),
        ("mvn", "run `make kafka-jars`"),
    ):
        (tools / tool).write_text("#!/bin/sh\n")
        (tools / tool).chmod(0o755)
        assert shutil.which(tool)
        with pytest.raises(BrokerError, match=expected) as error:
            kafka_module.find_jars()
        assert "\n" not in str(error.value)
