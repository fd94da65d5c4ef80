"""What is said of topics that others made or changed, and what to do about it."""

from __future__ import annotations

import pytest
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from streams.kafka import topic_checks, topics
from tests.streams.waiting import until

BROKERS_TIME = {"message.timestamp.type": "LogAppendTime"}
only_kafka = pytest.mark.parametrize("broker", ["kafka"], indirect=True)


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
    config = {"max.message.bytes": "1572864", **BROKERS_TIME} | configured
    made = admin.create_topics([NewTopic(wanted.topics.interactions, 1, 1, config=config)])
    made[wanted.topics.interactions].result()
    topics.create(wanted)
    (problem,) = topic_checks.check(wanted)
    assert problem.topic == wanted.topics.interactions
    assert said in problem.problem
    assert problem.remedy.endswith(remedy)
    assert "\n" not in str(problem)


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
            config={"max.message.bytes": "1000000", "retention.ms": "-1", **BROKERS_TIME},
        ),
    ]
    for made in admin.create_topics(theirs).values():
        made.result()
    topics.create(wanted)
    problems = {p.topic: p for p in topic_checks.check(wanted)}
    assert set(problems) == {topic.topic for topic in theirs}
    assert "cleanup.policy = delete" in problems[wanted.topics.item_embeddings].problem
    assert "cleanup.policy = compact" in problems[wanted.topics.recommendations].problem
    assert problems[wanted.topics.interactions].problem == (
        "max.message.bytes = 1000000, and topics.message_bytes asks for 1572864"
    )
    assert problems[wanted.topics.interactions].remedy.endswith(
        f"--entity-name {wanted.topics.interactions} --add-config max.message.bytes=1572864`"
    )


@only_kafka
def test_a_topic_that_keeps_its_writers_time_is_told(settings, broker):
    wanted = settings(topics={"partitions": 1})
    topics.create(wanted)
    resource = ConfigResource(ConfigResource.Type.TOPIC, wanted.topics.interactions)
    resource.add_incremental_config(
        ConfigEntry(
            "message.timestamp.type", "CreateTime",
            incremental_operation=AlterConfigOpType.SET,
        )
    )  # fmt: skip
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    admin.incremental_alter_configs([resource])[resource].result()
    (problem,) = topic_checks.check(wanted)
    assert problem.problem == (
        "message.timestamp.type = CreateTime: a writer whose clock is ahead makes the events of "
        "others late"
    )
    assert problem.remedy.endswith("--add-config message.timestamp.type=LogAppendTime`")


@only_kafka
def test_a_topic_that_takes_no_message_is_told(settings, broker):
    chosen = settings()
    topics.create(chosen)
    name = chosen.topics.recommendations
    asked = ConfigEntry("min.insync.replicas", "2", incremental_operation=AlterConfigOpType.SET)
    change = ConfigResource(ResourceType.TOPIC, name, incremental_configs=[asked])
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    for done in admin.incremental_alter_configs([change]).values():
        done.result(10)
    [problem] = until(lambda: topic_checks.check(chosen), 20, "the topic's setting is told")
    assert (problem.topic, problem.stops) == (name, True)
    assert "min.insync.replicas = 2, and it has 1 replicas" in problem.problem
