"""The step: what one interaction does to all that is known, compiled for a batch of them.

`observe` is an event from top to bottom: learn from what would have been answered, note what was
taken, the graph, propagation, the text, the answer. `engine.step.calls` is how it is called.
"""

from __future__ import annotations

import numpy as np

from engine.compiled import part
from engine.features import user_items
from engine.features.context import move_levels
from engine.features.dislikes import judge
from engine.features.faded import mark_of
from engine.features.item_codes import SECOND_HOPS, encode
from engine.features.popularity import EVENTS, QUALITY, recent_level, record_popularity
from engine.features.table import record_own, row
from engine.features.transitions import (
    NOTED,
    note_transitions,
    purge_transitions,
    record_transitions,
    slots_needed,
)
from engine.features.user_items import REPEATABLE
from engine.graph import NODES, WEIGHTS, count_later, insert_edge, purge_row, recent_ids
from engine.propagation.embeddings import propagate
from engine.state.eviction import touch
from engine.step.clock import lap
from engine.step.model import (
    holds_contest,
    learn,
    score_contest,
    tell_best,
    tell_trending,
)
from engine.text.taste import read

EVENT = np.dtype(
    [
        ("time", np.int64),
        ("value", np.float64),
        ("user", np.int32),
        ("item", np.int32),
        ("known", np.int32),
        ("units", np.uint8),
        ("judgement", np.int8),
        ("rated", np.bool_),
        ("introduced", np.bool_),
        ("repeatable", np.bool_),
        ("answer", np.bool_),
        ("teaches", np.bool_),
    ],
    align=True,
)
"""An interaction in numbers.

time
    In ms since the epoch.
value
    Its rating, where `rated`.
user, item
    Their numbers.
known
    How many items there are, this event's included.
units
    The weight of its kind in units of 1 / 255; 0 makes no edge.
judgement
    -1: the user dislikes the item; 1: they like it, which takes a dislike back; 0: neither.
introduced
    Whether nobody had named the item before.
repeatable
    Whether the item may be shown to the user again, as far as this kind of event goes.
answer
    Whether it is to be answered.
teaches
    Whether items learn from it. Else only its user's rows change, and the items' rows of the graph:
    what it taught is known already (`engine.sharing`).
"""
STAGES = ("learn", "graph", "propagate", "text", "rank")
LEARN, GRAPH, PROPAGATE, TEXT, RANK = map(np.int64, range(len(STAGES)))
_NOWHERE = np.int64(-1)
_LATEST = np.int64(0)
_TEXT_ROW = row("text")
_ITEM = NODES - 1


@part
def observe(t, events, first, history, n, exact, k, told, found, stages):  # type: ignore[no-untyped-def]
    """Take in the events from `first` on, and answer each that asks for it.

    As `engine.step.calls.observe_events`, which says what the arguments are, where n is -1: every
    item competes. With n candidates it ends with what `take_in` does, and the rest is the caller's.
    """
    clock = t.scratch.clock
    lap(clock, stages[0], _NOWHERE)
    for e in range(first, len(events)):
        event = events[e]
        # As wide as the interpreter's numbers: for each width, what is called is compiled again.
        user, item = np.int64(event.user), np.int64(event.item)
        if not has_room(t, event, history):
            return e
        take_in(t, event, history, n if n >= 0 else np.int64(event.known), exact, stages[e])
        if n >= 0:
            continue
        if event.units > 0:
            propagate(t.users, t.items, t.embeddings, user, item)
            encode(t.codes, SECOND_HOPS, item, t.embeddings.second_hop[item])
        lap(clock, stages[e], PROPAGATE)
        if event.units > 0 and t.head.active[_TEXT_ROW] > 0:
            later = count_later(t.users, user, event.time)
            read(t.taste, user, t.vectors[item], later)
        lap(clock, stages[e], TEXT)
        if event.answer:
            found[e] = answer(t, event, history, exact, k, told[e])
        lap(clock, stages[e], RANK)
    return len(events)


@part
def has_room(t, event, history):  # type: ignore[no-untyped-def]
    """Whether the arrays have room for what an event may add; see `observe`."""
    user, demand = np.int64(event.user), t.scratch.demand
    later = count_later(t.users, user, event.time)
    demand[0] = slots_needed(t.transitions, history, later)
    demand[1] = user_items.block_needed(t.taken, user)
    demand[2] = user_items.block_needed(t.disliked, user)
    demand[3] = NOTED + later if len(t.journal.pairs) > 0 else 0
    return (
        t.transitions.top[0] + demand[0] <= len(t.transitions.items)
        and t.taken.top[0] + demand[1] <= len(t.taken.entries)
        and t.disliked.top[0] + demand[2] <= len(t.disliked.entries)
        and t.journal.top[0] + demand[3] <= len(t.journal.pairs)
    )


@part
def take_in(t, event, most, n, exact, stages):  # type: ignore[no-untyped-def]
    """Learn from an event, and note it; `n` candidates compete, `exact` as in `score_contest`.

    An item that its own event made known could not have been shown: that it was taken would teach
    that what is new and unpopular is taken.
    """
    user, item, s = np.int64(event.user), np.int64(event.item), t.scratch
    weight = event.units / WEIGHTS
    touch(t.user_order, user)
    touch(t.item_order, item)
    if event.introduced:
        t.popularity.first[item] = t.popularity.clock[EVENTS]
    purge(t, user, item)
    slot = user_items.find(t.taken, user, item)
    counted = np.int64(-1) if slot < 0 else user_items.units_at(t.taken, slot)
    again = slot >= 0 and t.taken.entries[slot] & REPEATABLE != 0
    mark = np.int64(0) if slot < 0 else t.taken.counted[slot]
    later = count_later(t.users, user, event.time)
    history = s.history[: recent_ids(t.users, user, most, later, s.history)]
    taken = event.units > 0 and (counted < 0 or again)
    if event.teaches and taken and not event.introduced and len(history) > 0:
        # The last contest is what an answer was made of, unless that knew what came later.
        if later > 0 or not holds_contest(s, user, event.time):
            score_contest(t, user, history, n, exact, event.time)
        target = _place(s, item, s.kept[1], exact)
        # What did not compete teaches nothing: put among the candidates by hand it would teach
        # that what is taken is what nothing speaks for.
        if target >= 0:
            learn(t, user, history, target, s.kept[1], exact)
    s.kept[0] = -1
    # What was disliked first and taken later is counted then; what comes again, each time.
    new = (counted <= 0 or again) and (event.units > 0 or counted < 0)
    repeatable = event.repeatable and (counted < 0 or again)
    if new:
        units = np.int64(event.units) + max(counted, 0)
        user_items.put(t.taken, user, item, units, repeatable)
    elif again and not repeatable:
        t.taken.entries[slot] &= ~np.int64(REPEATABLE)
    judge(t.disliked, user, item, event.judgement)
    lap(s.clock, stages, LEARN)
    if event.units > 0:
        insert_edge(t.users, user, item, event.units, event.time)
        insert_edge(t.items, item, user, event.units, event.time)
        if new:
            _count(t, event, history, weight, later, mark)
            if event.teaches and later > 0:
                _count_before(t, user, item, later, most)
    lap(s.clock, stages, GRAPH)


@part
def _place(s, item, n, exact):  # type: ignore[no-untyped-def]
    """Where an item is among the contest's n candidates; -1 if nowhere."""
    if exact:
        return np.int64(item) if item < n else np.int64(-1)
    target = np.searchsorted(s.candidates[:n], item)
    return target if target < n and s.candidates[target] == item else np.int64(-1)


@part
def _count(t, event, history, weight, later, mark):  # type: ignore[no-untyped-def]
    """Count what a user took for the first time, in transitions, popularity and context.

    mark : of what they were counted with at the item before, if it is not the first time.
    """
    user, item, p = np.int64(event.user), np.int64(event.item), t.popularity
    level = recent_level(p, item)
    length = max(0, t.contexts.lengths[user] - later)
    events = p.clock[EVENTS] + 1
    if event.teaches:
        record_transitions(t.transitions, history, item, weight, _LATEST, t.position)
        note_transitions(t.journal, history, item, weight, _LATEST)
        record_own(t.own, item, weight, event.time, mark, events)
        record_popularity(p, item, length, event.known, weight, event.rated, event.value, mark)
    user_items.mark_latest(t.taken, user, mark_of(events, event.units))
    move_levels(t.contexts, user, level, p.features[QUALITY, item], later)


@part
def _count_before(t, user, item, later, most):  # type: ignore[no-untyped-def]
    """Count that the last `later` items of the user's row followed one that is told late."""
    order = t.scratch.history
    held = recent_ids(t.users, user, len(order), 0, order)
    source = t.scratch.sources[:1]
    source[0] = item
    for at in range(later):
        other = order[at]
        between = later - 1 - at
        slot = user_items.find(t.taken, user, other)
        units = 0 if slot < 0 else user_items.units_at(t.taken, slot)
        # Only its first time was counted.
        first = True
        for before in range(at + 1, held):
            if order[before] == other:
                first = False
        if units > 0 and between < most and first:
            record_transitions(t.transitions, source, other, units / WEIGHTS, between, t.position)
            note_transitions(t.journal, source, other, units / WEIGHTS, between)


@part
def answer(t, event, most, exact, k, told):  # type: ignore[no-untyped-def]
    """Tell of the k best items for an event's user, all competing; returns how many there are."""
    s, user, n = t.scratch, np.int64(event.user), np.int64(event.known)
    history = s.history[: recent_ids(t.users, user, most, 0, s.history)]
    if len(history) == 0:  # of somebody known all that they took may have left
        return tell_trending(t, user, n, k, told)
    if not holds_contest(s, user, event.time):
        score_contest(t, user, history, n, exact, event.time)
    return tell_best(t, history, s.kept[1], exact, k, told)


@part
def purge(t, user, item):  # type: ignore[no-untyped-def]
    """Drop what left from the rows that an event of a user on an item (or -1) will use."""
    now = t.departures[0]
    if now == 0:
        return
    since = t.purged[user]
    if since < now:
        t.purged[user] = now
        purge_row(t.users, user, t.departed, since)
        user_items.purge(t.taken, user, t.departed, since)
        user_items.purge(t.disliked, user, t.departed, since)
    rows = t.scratch.history
    held = recent_ids(t.users, user, len(rows), 0, rows)
    purge_transitions(t.transitions, rows, held, t.departed, now)
    first = t.disliked.start[user]
    for at in range(t.disliked.length[user]):
        rows[0] = t.disliked.entries[first + at] & _ITEM
        purge_transitions(t.transitions, rows, 1, t.departed, now)
    if item >= 0:
        rows[0] = item
        purge_transitions(t.transitions, rows, 1, t.departed, now)
