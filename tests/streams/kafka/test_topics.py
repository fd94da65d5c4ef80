"""Making and checking topics on both brokers."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    ConfigResource,
    NewPartitions,
)

from streams.brokers import (
    BrokerError,
    EmbeddedBroker,
    KafkaServer,
    open_broker,
    topic_partitions,
)
from streams.kafka import topic_checks, topics
from streams.settings import Settings
from tests.ports import free_port
from tests.streams.commands import millrace

only_kafka = pytest.mark.parametrize("broker", ["kafka"], indirect=True)


def test_create_makes_what_is_missing_once_and_check_then_finds_nothing(settings):
    wanted = settings()
    assert {(p.topic, p.problem) for p in topic_checks.check(wanted)} == {
        (name, "missing") for name in topics.policies(wanted)
    }
    assert set(topics.create(wanted)) == set(topics.policies(wanted))
    assert topic_checks.check(wanted) == []
    assert topics.create(wanted) == []


def test_another_number_of_partitions_is_told_and_left_alone(settings):
    topics.create(settings())  # 4 partitions on either broker
    wanted = settings(topics={"partitions": 6})
    assert topics.create(wanted) == []
    problems = topic_checks.check(wanted)
    # The deltas of items need one partition, however many they have.
    assert {p.topic for p in problems} == topics.policies(wanted).keys() - {
        wanted.topics.item_deltas
    }
    assert all("4 partitions, and topics.partitions = 6" in str(p) for p in problems)
    assert all("set topics.partitions = 4" in p.remedy for p in problems)
    assert topic_partitions(wanted.broker.bootstrap)[wanted.topics.items] == 4


@only_kafka
def test_settings_reach_the_topics(settings):
    wanted = settings(topics={"partitions": 3, "message_bytes": 70_000})
    topics.create(wanted)
    assert topic_partitions(wanted.broker.bootstrap)[wanted.topics.interactions] == 3
    errors = []
    producer = Producer({"bootstrap.servers": wanted.broker.bootstrap})
    for size in (69_000, 71_000):
        producer.produce(
            wanted.topics.interactions,
            bytes(size),
            callback=lambda error, message: errors.append(error and error.name()),
        )
        producer.flush(10)
    assert errors == [None, "MSG_SIZE_TOO_LARGE"]


@only_kafka
def test_topics_that_we_make_keep_all_interactions(settings, broker):
    wanted = settings(topics={"partitions": 1})
    topics.create(wanted)
    resource = ConfigResource(ConfigResource.Type.TOPIC, wanted.topics.interactions)
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    found = admin.describe_configs([resource])[resource].result()
    assert [found[key].value for key in ("retention.ms", "retention.bytes")] == ["-1", "-1"]
    assert topic_checks.check(wanted) == []


@only_kafka
def test_deltas_of_items_have_one_partition_and_are_kept_for_a_day(settings, broker):
    wanted = settings(topics={"partitions": 3})
    topics.create(wanted)
    assert topic_partitions(wanted.broker.bootstrap)[wanted.topics.item_deltas] == 1
    resource = ConfigResource(ConfigResource.Type.TOPIC, wanted.topics.item_deltas)
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    found = admin.describe_configs([resource])[resource].result()
    assert found["retention.ms"].value == "86400000"
    assert found["cleanup.policy"].value == "delete"
    rare = settings(topics={"partitions": 3}, worker={"checkpoint_seconds": 10_000.0})
    (problem,) = topic_checks.check(rare)
    assert problem.topic == wanted.topics.item_deltas
    assert "deltas are kept for 86,400 s, and a checkpoint is written every 10000 s" in str(problem)


@only_kafka
def test_a_refusal_names_the_topic_and_the_reason(settings):
    wanted = settings(topics={"replication": 2})
    with pytest.raises(BrokerError, match=r"did not make topic '.*'.* 2 time\(s\)"):
        topics.create(wanted)


@pytest.mark.parametrize("function", [topics.create, topic_checks.check])
def test_no_broker(function):
    with socket.socket() as taken:  # bound and not listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(BrokerError) as error:
            function(Settings(broker={"bootstrap": address}))
    assert str(error.value) == (
        f"no Kafka broker answers at {address}; start one with `millrace broker` or `make kafka`, "
        "or name yours with --broker"
    )


def test_no_broker_is_all_that_is_printed():
    """librdkafka's log lines do not reach the user."""
    code = """
from streams.kafka import topic_checks, topics
from streams.brokers import BrokerError
from streams.settings import Settings
try:
    topics.create(Settings(broker={"bootstrap": "127.0.0.1:1"}))
except BrokerError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-W", "default::DeprecationWarning", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stderr == ""
    assert done.stdout.startswith("no Kafka broker answers at 127.0.0.1:1;")
    assert done.stdout.count("\n") == 1


def test_the_embedded_broker_starts_with_the_topics_of_the_settings():
    wanted = Settings(topics={"partitions": 7})
    with open_broker("embedded", wanted) as broker:
        assert topic_partitions(broker.bootstrap) == dict.fromkeys(topics.policies(wanted), 7)
        assert broker.create_topic(wanted.topics.items, 2) is False
        assert topic_partitions(broker.bootstrap)[wanted.topics.items] == 7


def test_an_embedded_broker_taken_for_a_real_one_is_told(embedded: EmbeddedBroker):
    with pytest.raises(BrokerError, match=r"broker\.embedded = true"):
        topics.create(Settings(broker={"bootstrap": embedded.bootstrap}))


@only_kafka
def test_a_topic_that_is_not_there_is_not_made_by_reading_it(broker):
    """Kafka would give it one partition; `topics create` is what makes topics."""
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "reader"})
    with pytest.raises(KafkaException):
        consumer.get_watermark_offsets(TopicPartition("nobody.made.this", 0), timeout=5)
    consumer.close()
    assert "nobody.made.this" not in topic_partitions(broker.bootstrap)


@only_kafka
def test_an_input_that_was_grown_alone_is_told_and_the_outputs_follow(settings, broker):
    wanted = settings(topics={"partitions": 1})
    names = wanted.topics
    topics.create(wanted)
    topics.require(wanted)
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    admin.create_partitions([NewPartitions(names.interactions, 4)])[names.interactions].result()
    grown = settings(topics={**names.model_dump(), "partitions": 4})
    with pytest.raises(BrokerError) as error:
        topics.require(grown)
    told = f"topic {names.interactions} has 4 partitions and topic {names.recommendations} has 1"
    assert told in str(error.value)
    assert "millrace topics create" in str(error.value)
    remedies = {p.topic: p.remedy for p in topic_checks.check(grown)}
    outputs = (names.recommendations, names.dead_letters)
    assert all("`millrace topics create`, which adds 3" in remedies[name] for name in outputs)
    assert topics.grow(grown) == dict.fromkeys(outputs, (1, 4))
    topics.require(grown)
    assert topics.grow(grown) == {}
    assert topic_partitions(grown.broker.bootstrap)[names.items] == 1


def test_a_worker_without_topics_is_told_which(settings):
    wanted = settings()
    with pytest.raises(BrokerError, match=r"has no topic .*millrace topics create"):
        topics.require(wanted)


@pytest.mark.parametrize(
    "where", ["kafka.internal.invalid:29092", pytest.param("127.0.0.1:1", marks=pytest.mark.long)]
)
def test_an_advertised_address_that_cannot_be_reached_is_named(kafka_jars, where):
    port = free_port()
    properties = (
        f"listeners=PLAINTEXT://127.0.0.1:{{port}},OUT://127.0.0.1:{port},"
        "CONTROLLER://127.0.0.1:{controller}\n"
        f"advertised.listeners=PLAINTEXT://127.0.0.1:{{port}},OUT://{where}\n"
        "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,OUT:PLAINTEXT,CONTROLLER:PLAINTEXT\n"
    )
    with KafkaServer(properties=properties):
        here = ["--broker", f"127.0.0.1:{port}"]
        done = subprocess.run(
            [sys.executable, "-m", "streams.cli", "worker", *here],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        ended = {"worker": (done.returncode, done.stdout + done.stderr)}
        for command in (["topics", "check"], ["replay", "--synthetic", "10"]):
            result = millrace(*command, *here)
            ended[command[0]] = result.exit_code, result.output
        for command, (status, text) in ended.items():
            said = " ".join(text.split())
            assert status == 2, (command, said)
            for part in (f"127.0.0.1:{port}", where, "advertised.listeners"):
                assert part in said, (command, said)
            assert "Traceback" not in said
