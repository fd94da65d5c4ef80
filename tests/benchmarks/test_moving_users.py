"""Users that move to a worker that has never seen them, with few users and a real Kafka."""

from __future__ import annotations

import pytest

from benchmarks import moving_users


@pytest.mark.long
def test_half_of_the_users_move_and_are_answered_there(kafka_jars) -> None:
    found = moving_users.run(users=200)
    assert 60 < found["moved_users"] < 140
    assert 0 <= found["move_seconds"] < 60
    assert found["longest_answer_ms"].keys() == {"moved", "kept"}
    assert all(took > 0 for took in found["longest_answer_ms"].values())
    assert found["leaving_answer_ms"].keys() == {"moved", "kept"}
    assert all(took > 0 for took in found["leaving_answer_ms"].values())
    assert found["memory_mb"].keys() == {"few", "all", "half"}
    assert found["user_side_mb"].keys() == {"all", "half"}
