"""Users that move to a worker that has never seen them, with few users and a real Kafka."""

from __future__ import annotations

import pytest

from benchmarks import moving_users
from benchmarks.end_to_end import Bench
from streams.brokers import KafkaServer


@pytest.mark.long
def test_half_of_the_users_move_and_are_answered_there(kafka_jars) -> None:
    with KafkaServer(properties="group.initial.rebalance.delay.ms=3000\n") as kafka:
        benches = [Bench(kafka.bootstrap, name, partitions=2) for name in ("moving", "few")]
        found = moving_users.measure(*benches, users=200)
    assert 60 < found["moved_users"] < 140
    assert 0 <= found["move_seconds"] < 60
    assert found["longest_answer_ms"].keys() == {"moved", "kept"}
    assert all(took > 0 for took in found["longest_answer_ms"].values())
    assert found["leaving_answer_ms"].keys() == {"moved", "kept"}
    assert all(took > 0 for took in found["leaving_answer_ms"].values())
    assert found["memory_mb"].keys() == {"few", "all", "half"}
    assert found["user_side_mb"].keys() == {"all", "half"}
