"""The torture command, and that what judges a run sees what it is there to see."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path as FilePath

import msgspec
import pytest

from engine import Recommender
from engine.datasets import Synthetic
from engine.evaluation.prequential import PrequentialEvaluator
from engine.state.order_free_digest import commuting_state, differing
from engine.state.schema import differing_entries, state_digest
from streams.kafka.record import Record
from streams.messages.bad_message import BadMessage
from streams.messages.dead_letters import dead_letter
from streams.messages.decoding import decode_interaction
from streams.messages.schemas import LatencyUs, Model, Recommendation, Source, encode
from streams.settings import Settings
from streams.tools.torture.account import Sent, account
from streams.tools.torture.plan import make_plan
from streams.tools.torture.state import following_ndcg
from streams.tools.torture.traffic import RUBBISH
from tests.streams.conftest import Path, interaction


@pytest.mark.long
@pytest.mark.usefixtures("kafka_jars")
def test_killed_and_frozen_workers_and_a_killed_broker_lose_and_double_nothing(
    tmp_path: FilePath,
) -> None:
    file = tmp_path / "report.json"
    much = "--events 1500 --kills 2 --freezes 1 --broker-kills 1 --workers 1 --following 500"
    seed = "2070"  # of a plan that takes little time
    command = [sys.executable, "-m", "streams.cli", "torture", *much.split(), "--seed", seed]
    ended = subprocess.run([*command, "--json", file], check=False, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    report = json.loads(file.read_text())
    assert [report[name] for name in ("lost", "duplicates", "out_of_order", "unburied")] == [0] * 4
    assert (report["kills"], report["freezes"], report["broker_kills"]) == (2, 1, 1)
    assert report["events"] == report["answers"] == 1_500
    assert report["dead_letters"] == report["malformed"] > 0
    assert report["repeats"] > 0
    assert report["answers_differing"] == 0
    assert report["state_identical"] is True
    assert report["state_compared"] == "byte for byte"
    assert report["recovery_seconds"]["samples"] >= 1


@pytest.mark.parametrize("broker", ["kafka"], indirect=True)
def test_what_is_lost_doubled_or_late_is_counted(settings: Callable[..., Settings]) -> None:
    path = Path(settings(topics={"partitions": 1}))
    events = [interaction(n) for n in range(6)]
    path.send(*events)
    path.send(events[0])
    path.send_bytes(b"{")
    path.send_bytes(b"[")
    path.flush()

    def answer(offset: int, event: int) -> None:
        message = Recommendation(
            event_id=f"e{event}",
            user="ann",
            item=None,
            kind="forget",
            items=[],
            timestamp=events[0].timestamp,
            model=Model("m", "1"),
            source=Source(path.names.interactions, 0, offset),
            latency_us=LatencyUs(queue=0.0, decode=0.0, emit=0.0, total=0.0),
        )
        path.producer.produce(path.names.recommendations, encode(message), "ann", 0)

    for offset in (0, 1, 1, 4, 2):  # 3 is lost, 1 doubled, 2 late
        answer(offset, offset)
    answer(6, 0)  # the repeated one, answered
    answer(99, 7)  # an answer to nothing
    record = Record(0, 7, events[0].timestamp, None, b"{", ())
    letter = dead_letter(BadMessage("NotJson", "no"), path.names.interactions, record, 1_000)
    for _ in range(2):
        path.producer.produce(path.names.dead_letters, b"{", None, 0, headers=letter.headers)
    path.flush()
    found = account(path.settings)
    assert found.lost == ["e3", "e5"]
    assert sorted(found.doubled) == [
        "(0, 99): answers to nothing",
        "e0: 1 answers, 0 dead letters",
        "e0: 2 answers at several places",
        "e1: 2 answers, 0 dead letters",
        "malformed at (0, 7): 0 answers, 2 dead letters",
    ]
    assert found.out_of_order == 2
    assert found.unburied == [(0, 8)]
    assert [found.count(what) for what in ("event", "repeat", "malformed")] == [6, 1, 2]


def test_no_worker_can_read_the_rubbish() -> None:
    for value in RUBBISH:
        with pytest.raises(BadMessage):
            decode_interaction(value)


def test_a_plan_is_that_of_its_seed_and_holds_what_was_asked_for() -> None:
    asked = {"kills": 30, "freezes": 7, "broker_kills": 3, "scalings": 5}
    plan = make_plan(seed=1, events=10_000, session_seconds=6.0, **asked)
    assert plan == make_plan(seed=1, events=10_000, session_seconds=6.0, **asked)
    assert plan != make_plan(seed=2, events=10_000, session_seconds=6.0, **asked)
    kinds = [disturbance.kind for disturbance in plan]
    assert [kinds.count(k) for k in ("kill", "freeze", "broker kill", "scale")] == [30, 7, 3, 5]
    assert kinds != sorted(kinds)
    places = [disturbance.after for disturbance in plan]
    assert places == sorted(places)
    assert places[0] > 0
    assert places[-1] < 10_000
    assert all(6.0 <= d.seconds <= 12.0 for d in plan if d.kind == "freeze")


def test_two_engines_have_one_digest_only_if_they_were_told_the_same(tmp_path: FilePath) -> None:
    events = list(Synthetic(300, seed=1).interactions())
    one, other = Recommender(), Recommender()
    for event in events:
        one.observe(event)
        other.observe(event)
    assert state_digest(one) == state_digest(other)
    one.save(tmp_path / "state")
    assert state_digest(Recommender.load(tmp_path / "state")) == state_digest(one)
    one.observe(msgspec.structs.replace(events[0], event_id="more", item="new"))
    assert state_digest(one) != state_digest(other)
    assert "users/graph/edges" in differing_entries(one, other)
    other.head.weights[0, 0] = one.head.weights[0, 0] = 0.5
    assert "model/head/weights" not in differing_entries(one, other)


def test_what_commutes_is_equal_whatever_the_interleaving() -> None:
    events = list(Synthetic(2_000, seed=2).interactions())
    halves = [[e for e in events if hash_of(e.user) == half] for half in (0, 1)]
    one, other = Recommender(), Recommender()
    for event in events:
        one.observe(event)
    for event in halves[1] + halves[0]:
        other.observe(event)
    assert state_digest(one) != state_digest(other)
    assert differing(commuting_state(one), commuting_state(other)) == []
    extra = msgspec.structs.replace(events[0], event_id="more", item="new")
    other.observe(extra)
    found = differing(commuting_state(one), commuting_state(other))
    assert found == ["item new", f"user {extra.user}"]


def hash_of(user: str) -> int:
    return sum(user.encode()) % 2


def test_the_following_events_are_judged_as_the_evaluator_judges_them() -> None:
    dataset = Synthetic(1_500, seed=4)
    events = list(dataset.interactions())
    evaluator = PrequentialEvaluator(Recommender().settings, dataset.items())
    for _ in evaluator.run(events[:1_000]):
        pass
    queries, ndcg = evaluator.whole.queries, evaluator.whole.ndcg
    engine = Recommender()
    for item in dataset.items():
        engine.upsert_item(item)
    for event in events[:1_000]:
        engine.observe(event)
    for _ in evaluator.run(events[1_000:]):
        pass
    expected = evaluator.whole.ndcg * evaluator.whole.queries - ndcg * queries
    sent = [Sent((0, n), 0, "event", event) for n, event in enumerate(events[:1_000])]
    measures = following_ndcg(engine, sent, events[1_000:])
    assert measures.queries == evaluator.whole.queries - queries > 0
    assert measures.ndcg == pytest.approx(expected / measures.queries)
