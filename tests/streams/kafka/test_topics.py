"""Making and checking topics on both brokers."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic

from streams.kafka import topics
from streams.kafka.brokers import BrokerError, EmbeddedBroker, open_broker, topic_partitions
from streams.settings import Settings

only_kafka = pytest.mark.parametrize("broker", ["kafka"], indirect=True)


def test_create_makes_what_is_missing_once_and_check_then_finds_nothing(settings):
    wanted = settings()
    assert {(p.topic, p.problem) for p in topics.check(wanted)} == {
        (name, "missing") for name in topics.policies(wanted)
    }
    assert set(topics.create(wanted)) == set(topics.policies(wanted))
    assert topics.check(wanted) == []
    assert topics.create(wanted) == []


def test_another_number_of_partitions_is_told_and_left_alone(settings):
    topics.create(settings())  # 4 partitions on either broker
    wanted = settings(topics={"partitions": 6})
    assert topics.create(wanted) == []
    problems = topics.check(wanted)
    assert {p.topic for p in problems} == set(topics.policies(wanted))
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
@pytest.mark.parametrize(
    ("configured", "said", "remedy"),
    [
        ({"retention.ms": "604800000"}, "for 168 hours, and a worker without a checkpoint forgets",
         "retention.ms=-1`"),
        ({"retention.ms": "-1", "retention.bytes": "1000000"}, "for 1,000,000 bytes a partition,",
         "retention.bytes=-1`"),
        ({"retention.ms": "1000", "retention.bytes": "5000"},
         "hours and 5,000 bytes a partition, and a worker forgets what was removed before its next",
         "retention.ms=-1,retention.bytes=-1`"),
    ],
)  # fmt: skip
def test_what_a_retention_would_lose_is_said_in_one_line(
    settings, broker, configured, said, remedy
):
    wanted = settings(topics={"partitions": 1})
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    config = {"max.message.bytes": "8388608"} | configured
    made = admin.create_topics([NewTopic(wanted.topics.interactions, 1, 1, config=config)])
    made[wanted.topics.interactions].result()
    topics.create(wanted)
    (problem,) = topics.check(wanted)
    assert problem.topic == wanted.topics.interactions
    assert said in problem.problem
    assert problem.remedy.endswith(remedy)
    assert "\n" not in str(problem)


@only_kafka
def test_topics_that_we_make_keep_all_interactions(settings, broker):
    wanted = settings(topics={"partitions": 1})
    topics.create(wanted)
    resource = ConfigResource(ConfigResource.Type.TOPIC, wanted.topics.interactions)
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    found = admin.describe_configs([resource])[resource].result()
    assert [found[key].value for key in ("retention.ms", "retention.bytes")] == ["-1", "-1"]
    assert topics.check(wanted) == []


@only_kafka
def test_policy_and_message_size_of_a_topic_made_by_others(settings, broker):
    wanted = settings(topics={"partitions": 1})
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    theirs = [
        NewTopic(wanted.topics.item_embeddings, 1, 1),
        NewTopic(wanted.topics.recommendations, 1, 1, config={"cleanup.policy": "compact"}),
        NewTopic(
            wanted.topics.interactions,
            1,
            1,
            config={"max.message.bytes": "1000000", "retention.ms": "-1"},
        ),
    ]
    for made in admin.create_topics(theirs).values():
        made.result()
    topics.create(wanted)
    problems = {p.topic: p for p in topics.check(wanted)}
    assert set(problems) == {topic.topic for topic in theirs}
    assert "cleanup.policy = delete" in problems[wanted.topics.item_embeddings].problem
    assert "cleanup.policy = compact" in problems[wanted.topics.recommendations].problem
    assert problems[wanted.topics.interactions].problem == (
        "max.message.bytes = 1000000, and topics.message_bytes asks for 8388608"
    )
    assert problems[wanted.topics.interactions].remedy.endswith(
        f"--entity-name {wanted.topics.interactions} --add-config max.message.bytes=8388608`"
    )


@only_kafka
def test_a_refusal_names_the_topic_and_the_reason(settings):
    wanted = settings(topics={"replication": 2})
    with pytest.raises(BrokerError, match=r"did not make topic '.*'.* 2 time\(s\)"):
        topics.create(wanted)


@pytest.mark.parametrize("function", [topics.create, topics.check])
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
    """Neither librdkafka's log lines nor kafka-python's DeprecationWarning reach the user."""
    code = """
from streams.kafka import topics
from streams.kafka.brokers import BrokerError
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
