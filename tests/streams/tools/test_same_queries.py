"""All who measure count the same queries: a dislike is no take for any of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import msgspec
import pytest
from msgspec import structs

from benchmarks import peers
from benchmarks.contenders import Popularity
from engine import Interaction
from engine.evaluation.prequential import PrequentialEvaluator
from engine.evaluation.warm_start import SecondHalf
from engine.recommender import Recommender
from streams.messages.schemas import encode
from streams.tools.answer_stats import Tally
from streams.tools.torture.state import following_ndcg
from tests.engine.builders import WITHOUT_TEXT, took
from tests.streams.conftest import FIRST_MS
from tests.streams.web.test_feed import Fed


def of_evaluate(events: list[Interaction]) -> int:
    evaluator = PrequentialEvaluator(WITHOUT_TEXT)
    list(evaluator.run(events))
    return int(evaluator.report()["queries"])


def applied(events: list[Interaction]) -> Fed:
    """A worker's pipeline that was sent the events as messages."""
    fed = Fed()
    for event in events:
        fed.send(encode(structs.replace(event, timestamp=FIRST_MS)))
    assert not fed.pipeline.counts.dead_letters
    return fed


def of_page(events: list[Interaction]) -> int:
    fed = applied(events)
    fed.pass_seconds(1)
    return fed.feed.figures().queries


def of_demo(events: list[Interaction]) -> int:
    """Of the answers that a worker writes."""
    fed, demo = applied(events), Tally()
    for output in fed.partitions[0].writer.queue.send():
        demo.add(msgspec.json.decode(output.value or b""))
    assert demo.recommendations == len(events)
    return int(demo.report()["queries"])


def of_warm_start(events: list[Interaction]) -> int:
    second = SecondHalf([])
    list(second.run(Recommender(WITHOUT_TEXT), events))
    return second.engine.queries


def of_torture(events: list[Interaction]) -> int:
    return following_ndcg(Recommender(WITHOUT_TEXT), [], events).queries


def of_peers(events: list[Interaction]) -> int:
    return int(peers.measure(Popularity(), events)["queries"])


@pytest.mark.parametrize(
    "measure", [of_evaluate, of_page, of_demo, of_warm_start, of_torture, of_peers]
)
def test_all_who_measure_count_the_same_queries(
    measure: Callable[[list[Interaction]], int],
) -> None:
    seen = partial(took, kind="view")
    events = [
        seen("ann", "a", 0),
        seen("ann", "b", 1),  # a query
        took("ann", "c", 2, kind="dislike"),
        seen("ann", "c", 3),  # they had it
        seen("ann", "b", 4),  # again
        took("ann", "d", 5, kind="ignore"),
        seen("ann", "d", 6),  # a query
        took("bob", "a", 7, kind="dislike"),
        seen("bob", "b", 8),  # a query, of somebody who disliked something
        seen("bob", "a", 9),
        took("ann", "a", 10, kind="forget"),
        seen("ann", "b", 11),
        seen("ann", "a", 12),  # a query
    ]
    assert measure(events) == 4
