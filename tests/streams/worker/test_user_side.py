"""Users of partitions that are another worker's leave, whenever a checkpoint is cut."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine import Recommender
from streams.settings import Settings
from streams.tools.past.fold import Collector
from streams.worker import user_side
from streams.worker.engine_thread import EngineThread
from streams.worker.partition import Partition
from streams.worker.user_side import UserSide
from tests.engine.builders import WITHOUT_TEXT, state, stream


def side_of(engine: Recommender, held: set[int]) -> UserSide:
    partitions = {
        number: Partition(number=number, window=9, writer=Collector(0), held=number in held)
        for number in range(3)
    }
    return UserSide(engine, partitions, None, Settings().engine, EngineThread(), lambda: _fits)


def _fits(_notes: object) -> None:
    return None


def test_who_was_leaving_when_a_checkpoint_was_cut_leaves_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(user_side, "AT_ONCE", 3)
    engine = Recommender(WITHOUT_TEXT)
    events = stream()
    engine.observe_many(events)
    users = sorted({event.user for event in events})
    for number in range(3):
        engine.settle(users[number::3], number)
    side = side_of(engine, {0, 1, 2})
    side.assign({1})
    side.let_some_go()
    engine.save(tmp_path / "cut")
    again = Recommender.load(tmp_path / "cut")
    resumed = side_of(again, {1})
    resumed.resume()
    for _ in range(10):
        side.let_some_go()
        resumed.let_some_go()
        assert state(again) == state(engine)
    assert sorted(filter(None, again.users.names)) == users[1::3]


def test_nobody_leaves_where_all_is_held() -> None:
    engine = Recommender(WITHOUT_TEXT)
    engine.observe_many(stream())
    engine.settle(filter(None, engine.users.names), 0)
    before = state(engine)
    side = side_of(engine, {0, 1, 2})
    side.resume()
    side.let_some_go()
    assert state(engine) == before
