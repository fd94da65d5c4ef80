"""The harness for recommenders that answer over HTTP: a real Millrace, and the peers' APIs."""

from __future__ import annotations

import io
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from benchmarks.http_peers import __main__ as command
from benchmarks.http_peers import services
from benchmarks.http_peers.client import JsonClient, RefusedError
from benchmarks.http_peers.contenders import Gorse, Metarank, MillraceApi
from benchmarks.http_peers.freshness import ALIKE, Events, own_feedback, what_others_taught
from benchmarks.http_peers.quality import histories, prequential
from benchmarks.http_peers.topic import topic_feedback
from engine import Interaction, Item
from streams.brokers import EmbeddedBroker
from streams.processes import Child
from streams.settings import Settings
from tests.benchmarks.conformance import GorseConformance, MetarankConformance
from tests.engine.builders import films, stream
from tests.streams.conftest import Path as EventPath
from tests.streams.waiting import until

PATIENCE = 60.0


class Counts:
    """Popularity as a contender, which takes notice of an event when asked `delay` times after."""

    name, settings = "counts", ""

    def __init__(self, delay: int = 0) -> None:
        self._delay = delay
        self._waiting: list[list[Any]] = []
        self._counts: Counter[str] = Counter()
        self._taken: defaultdict[str, set[str]] = defaultdict(set)

    def ready(self) -> bool:
        return True

    def add_items(self, items: Iterable[Item]) -> None:
        pass

    def feed(self, event: Interaction) -> None:
        self._waiting.append([self._delay, event])

    def query(self, user: str) -> list[str]:
        due = [event for left, event in self._waiting if left == 0]
        self._waiting = [[left - 1, event] for left, event in self._waiting if left]
        for event in due:
            self._counts[event.item] += 1
            self._taken[event.user].add(event.item)
        ranked = sorted(self._counts, key=lambda item: (-self._counts[item], item))
        return [item for item in ranked if item not in self._taken[user]][:10]


def fed(contender: Any, events: Sequence[Interaction]) -> Any:
    for event in events:
        contender.feed(event)
    return contender


def test_quality_is_that_of_what_is_asked_before_it_is_fed() -> None:
    events = stream(events=300)
    history, rest = events[:100], events[100:]
    found = prequential(fed(Counts(), history), history, rest, rate=1e6)
    # It is popularity, with ties in another order.
    assert found["ndcg@10"] == pytest.approx(found["popularity"]["ndcg@10"], abs=0.03)
    assert found["queries"] == found["popularity"]["queries"] > 100
    # One that is told of nothing new is behind.
    late = prequential(fed(Counts(delay=10**9), history), history, rest, rate=1e6)
    assert late["ndcg@10"] == 0.0


def test_changed_answers_are_waited_for_and_counted() -> None:
    events = stream(events=300)
    users = sorted({event.user for event in events})
    late = fed(Counts(delay=3), events)
    for _ in range(5):
        late.query("nobody")
    found = own_feedback(late, users, Events("own", events[-1].timestamp), 20, PATIENCE)
    assert (found["n"], found["unchanged"]) == (20, 0)
    assert found["accepted_ms"]["max"] <= found["sent_ms"]["max"]
    never = fed(Counts(), events)
    never.query("nobody")
    never.feed = lambda event: None
    found = own_feedback(never, users, Events("own", events[-1].timestamp), 3, patience=0.01)
    assert (found["n"], found["unchanged"], found["accepted_ms"]) == (0, 3, {})


def test_a_new_item_is_offered_to_the_fourth_of_four_who_are_alike() -> None:
    class Notes(Counts):
        def __init__(self) -> None:
            super().__init__()
            self.fed: defaultdict[str, list[str | None]] = defaultdict(list)

        def feed(self, event: Interaction) -> None:
            self.fed[event.user].append(event.item)

        def query(self, user: str) -> list[str]:
            likers = [items for other, items in self.fed.items() if other != user]
            assert [items[:ALIKE] for items in likers] == [self.fed[user]] * 3
            return [str(likers[0][-1])]

    events = stream(events=300)
    invented = Events("others", events[-1].timestamp)
    notes = Notes()
    found = what_others_taught(notes, histories(events), invented, 1, PATIENCE)
    assert (found["n"], found["never"]) == (1, 0)
    assert notes.fed["others-0-0"][-1] == "others-new-0"
    deaf = Counts(delay=10**9)
    found = what_others_taught(deaf, histories(events), invented, 2, patience=0.01)
    assert (found["n"], found["never"]) == (0, 2)


def test_the_client_opens_again_what_the_server_closed_and_tells_refusals() -> None:
    with GorseConformance() as server:
        server.hang_up = True
        client = JsonClient(server.base)
        for _ in range(3):
            assert client.ask("GET", "/api/recommend/ann?n=10") == []
        with pytest.raises(RefusedError, match=r"GET /nowhere: 404: .*not found") as refused:
            client.ask("GET", "/nowhere")
        assert refused.value.status == 404
        client.close()
    assert not client.answers("/api/health/ready")


def test_gorse_is_told_and_asked_as_its_documents_say() -> None:
    events = stream(events=60)
    with GorseConformance() as server:
        gorse = Gorse(server.base)
        assert gorse.ready()
        gorse.add_items(films())
        assert set(server.items) == {item.item for item in films()}
        gorse.feed_many(events[:50])
        for event in events[50:]:
            gorse.feed(event)
        assert [row["ItemId"] for row in server.feedback] == [event.item for event in events]
        assert {row["FeedbackType"] for row in server.feedback} == {"like"}
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", server.feedback[0]["Timestamp"])
        found = own_feedback(gorse, [events[0].user], Events("own", events[-1].timestamp), 3, 9.0)
        assert (found["n"], found["unchanged"], found["moved_share"]) == (3, 0, 0.0)


def test_metarank_is_told_trained_and_asked_as_its_documents_say() -> None:
    events = stream(events=60)
    with MetarankConformance() as server:
        metarank = Metarank(server.base, train_every=20)
        assert metarank.ready()
        metarank.add_items(films())
        assert metarank.query("nobody") == []
        for event in events:
            metarank.feed(event)
        assert server.trainings == 3
        taken = {event.item for event in events if event.user == events[0].user}
        ranked = metarank.query(events[0].user)
        assert len(ranked) == 10
        assert not taken & set(ranked)


def test_a_metarank_that_is_not_ok_with_an_event_is_not_passed_over() -> None:
    class Grumpy(MetarankConformance):
        def answer(self, *request: Any) -> tuple[int, Any]:
            return 200, {"accepted": 0, "status": "error", "tookMillis": 1, "updated": 0}

    with Grumpy() as server, pytest.raises(RefusedError, match="error"):
        Metarank(server.base).feed(stream(events=1)[0])


@pytest.mark.skipif(not services.GORSE.exists(), reason="needs `make gorse`")
def test_the_real_gorse_takes_part() -> None:
    events = stream(events=300)
    with services.gorse(services.find_gorse()) as service:
        service.contender.add_items(films())
        service.feed_many(events)
        users = sorted({event.user for event in events})
        until(lambda: all(map(service.contender.query, users)), 60, "a list for everybody")
        found = own_feedback(
            service.contender, users, Events("own", events[-1].timestamp), 3, PATIENCE
        )
        assert (found["n"], found["unchanged"]) == (3, 0)
        assert service.resident_mb() > 1


def test_a_service_that_ends_as_it_starts_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with (
        log.open("wb") as output,
        Child(["/bin/sh", "-c", "echo no such port"], output=output) as it,
    ):
        it.process.wait()
        with pytest.raises(services.ServiceError, match=r"(?s)gorse did not .*no such port"):
            services.await_ready(Gorse("http://127.0.0.1:9"), [it], log)


def test_make_builds_the_gorse_that_the_table_names() -> None:
    makefile = (Path(__file__).parents[2] / "Makefile").read_text()
    assert f"GORSE_VERSION := {services.GORSE_VERSION}" in makefile


@pytest.fixture
def millrace(
    embedded: EmbeddedBroker, settings: Callable[..., Settings], tmp_path: Path
) -> Iterator[services.Service]:
    """A real worker on the embedded broker, asked over HTTP."""
    [port] = services.free_ports(1)
    path = EventPath(settings(topics={"partitions": 4}, web={"port": port}))
    contender = MillraceApi(
        f"http://127.0.0.1:{port}", lambda items: path.send_items(*items), settings="embedded"
    )
    with path.worker() as child:
        services.await_ready(contender, [child], tmp_path / "nothing is written there")

        def catch_up() -> None:
            path.answers(len(stream()))

        yield services.Service(
            contender, lambda events: path.send(*events), catch_up, [], path.settings
        )


@pytest.mark.parametrize("broker", ["embedded"], indirect=True)
def test_a_real_worker_is_fed_and_asked_over_http(millrace: services.Service) -> None:
    contender, history = millrace.contender, stream()
    contender.add_items(films())
    millrace.feed_many(history)
    millrace.catch_up()
    rest = [event for event in stream(seed=1, events=40) if event.item]
    found = prequential(contender, history, rest, rate=1e6)
    assert found["queries"] == found["popularity"]["queries"] > 10
    now = max(event.timestamp for event in (*history, *rest))
    users = sorted({event.user for event in history})
    own = own_feedback(contender, users, Events("own", now), 10, PATIENCE)
    assert (own["n"], own["unchanged"]) == (10, 0)
    others = what_others_taught(contender, histories(history), Events("o", now), 3, PATIENCE)
    assert (others["n"], others["never"]) == (3, 0)
    assert millrace.settings is not None
    names = [item.item for item in films()]
    told = topic_feedback(millrace.settings, users, names, Events("topic", now), 10)
    assert told["n"] == 10
    assert 0 < told["accepted_ms"]["p50"] <= told["accepted_ms"]["max"]
    assert told["floor_ms"]["p50"] > 0


def test_the_table_names_who_was_not_run_and_why() -> None:
    measured = {
        "name": "Counts", "settings": "counts", "ndcg@10": 0.1, "hr@10": 0.2, "queries": 7,
        "popularity": {"ndcg@10": 0.05, "hr@10": 0.1, "queries": 7}, "seconds": 1.0,
        "query_ms": {"p50": 1.0, "p99": 2.0, "max": 3.0}, "resident_mb": 80.0,
        "own": {
            "accepted_ms": {"p50": 1.0, "p99": 2.0, "max": 1234.0}, "n": 3, "unchanged": 1,
            "floor_ms": {"p50": 0.5, "p99": 0.6, "max": 0.7}, "moved_share": 1.0,
        },
        "others": {"accepted_ms": {}, "n": 0, "never": 2},
        "topic": {
            "accepted_ms": {"p50": 4.0, "p99": 5.0, "max": 6.0}, "n": 7,
            "floor_ms": {"p50": 0.1, "p99": 0.2, "max": 0.3},
        },
    }  # fmt: skip
    rows = [measured, {"name": "gorse", "settings": "not run (it is not built)"}]
    report = {
        "rows": [*rows, {"name": "Metarank", "settings": command.METARANK}], "history": 10,
        "events": 5, "rate": 20.0, "data": "a stream", "seed": 3, "version": "0", "machine": "one",
    }  # fmt: skip
    out = io.StringIO()
    command.print_tables(Console(width=200, file=out), report)
    text = out.getvalue()
    assert re.search(r"own feedback changes the answer +1.0 +2.0 +1,234 +3/4", text)
    assert re.search(r"the answer is on the output topic +4.0 +5.0 +6.0 +7", text)
    assert re.search(r"three others' new item is offered +never +never +never +0/2", text)
    assert "not run (it is not built)" in text
    assert command.METARANK in text
    assert "seed 3" in text
