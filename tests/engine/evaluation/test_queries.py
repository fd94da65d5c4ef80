"""What a query is, looked up in a slow way."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine import Interaction
from engine.evaluation.queries import Queries, prequential
from tests.engine.builders import took

KINDS = ("view", "purchase", "dislike", "ignore", "forget")
EVENTS = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from("wxyz"), st.sampled_from(KINDS)), max_size=40
).map(lambda rows: [took(user, item, n, kind=kind) for n, (user, item, kind) in enumerate(rows)])


def asked(events: list[Interaction]) -> list[str]:
    """What each asks, by looking at all that its user did before."""
    found = []
    for place, event in enumerate(events):
        own = [e for e in events[:place] if e.user == event.user and e.kind != "ignore"]
        forgets = [n for n, e in enumerate(own) if e.kind == "forget"]
        had = {e.item for e in own[forgets[-1] + 1 if forgets else 0 :]}
        if event.kind in ("forget", "ignore"):
            found.append("nothing")
        elif event.kind == "dislike":
            found.append("dislike")
        else:
            found.append("first" if not had else "repeat" if event.item in had else "query")
    return found


@given(EVENTS)
def test_what_each_event_asks(events: list[Interaction]) -> None:
    steps = list(prequential(events, lambda _: ["w"], lambda _: None))
    assert [step.asks for step in steps] == asked(events)
    assert [step.ranked is not None for step in steps] == [one == "query" for one in asked(events)]


@given(EVENTS, st.integers(1, 2))
def test_who_did_nothing_for_longest_makes_room(events: list[Interaction], most: int) -> None:
    queries, latest = Queries(most), list[str]()
    for event in events:
        queries.note(event.user, event.item, event.kind)
        if event.kind == "ignore":
            continue
        latest = [user for user in latest if user != event.user]
        if event.kind != "forget":
            latest = [*latest, event.user][-most:]
        assert [user for user in "ab" if user in queries] == sorted(latest)


def test_a_list_is_made_before_its_event_is_learnt() -> None:
    told: list[str] = []
    events = [took("ann", item, n) for n, item in enumerate("abc")]
    steps = prequential(events, lambda _: list(told), lambda event: told.append(event.item or ""))
    assert [step.ranked for step in steps] == [None, ["a"], ["a", "b"]]
