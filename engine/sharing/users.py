"""The user side: users move from one engine to another, with all that belongs to them.

Items are known by name in both. A move changes nothing of what the users taught; the target is
meant to know that, by the deltas of whoever had them.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from engine.compiled import kernel
from engine.engine_state import Knowledge
from engine.features.user_items import UserItems, find_block
from engine.graph import NODES, insert_edge
from engine.text.taste import read

_ITEM = NODES - 1


def move_users(source: Knowledge, target: Knowledge, names: Iterable[str]) -> None:
    """Give an engine the users of another, in this order of use; nobody leaves the source.

    Their histories, items taken and disliked, contexts and personal embeddings are copied. Their
    taste is read again from the items of their history, for text vectors of two engines stand in
    two bases; what they wrote themselves is not in it. One whom the source does not know is passed
    over; whatever the target knows of one is replaced.

    Raises
    ------
    ValueError
        If the engines' settings differ where they shape the state.
    """
    if differing := source.settings.differing_shape(target.settings):
        raise ValueError(f"the engines differ in engine.{', engine.'.join(differing)}")
    numbers = target.items.find_all(source.items.names)
    knows_all = bool((numbers >= 0).all())
    target.forget_contest()
    for name in names:
        user = source.users.find(name)
        if user is not None:
            source.purge(user)
            if not knows_all:
                _meet_items(source, target, user, numbers)
            if (known := target.users.find(name)) is not None:
                target.clear_user(known)
            _move(source, target, user, target.number_user(name), numbers)


def _meet_items(
    source: Knowledge, target: Knowledge, user: int, numbers: NDArray[np.int32]
) -> None:
    """Make the items of a user known to the target."""
    held = np.concatenate(
        [source.graph.users.recent_ids(user, source.graph.users.length),
         source.taken.of(user), source.disliked.of(user)]
    )  # fmt: skip
    for item in np.unique(held[numbers[held] < 0]).tolist():
        numbers[item] = target.meet_item(source.items.names[item])


def _move(
    source: Knowledge, target: Knowledge, user: int, number: int, numbers: NDArray[np.int32]
) -> None:
    _move_items(source.taken, target.taken, user, number, numbers)
    _move_items(source.disliked, target.disliked, user, number, numbers)
    one, other = source.graph.users.arrays, target.graph.users.arrays
    _move_row(one, user, other, number, numbers)
    _tell_items(other, number, target.graph.items.arrays)
    if target.reads_text:
        _read_again(other, number, target.taste.arrays, target.vectors.vectors)
    mine, theirs = source.contexts.arrays, target.contexts.arrays
    theirs.lengths[number], theirs.levels[number] = mine.lengths[user], mine.levels[user]
    learnt, here = source.embeddings.arrays, target.embeddings.arrays
    here.users[number], here.personal[number] = learnt.users[user], learnt.personal[user]
    here.directions[number] = learnt.directions[user]
    here.accumulated_users[number] = learnt.accumulated_users[user]
    target.embeddings.aggregator.changed("directions", np.array([number], np.int32))
    target.homes[number] = source.homes[user]
    target.use_user(number)


def _move_items(
    source: UserItems, target: UserItems, user: int, number: int, numbers: NDArray[np.int32]
) -> None:
    target.make_room(2 * max(int(source.capacity[user]), 1))
    _move_list(source.arrays, user, target.arrays, number, numbers)


@kernel
def _move_list(source, user, target, number, numbers):  # type: ignore[no-untyped-def]
    length = source.length[user]
    find_block(target, number, length)
    first, start = source.start[user], target.start[number]
    for slot in range(length):
        entry = source.entries[first + slot]
        target.entries[start + slot] = entry & ~np.int64(_ITEM) | np.int64(numbers[entry & _ITEM])
        # Events are numbered alike in engines that share their items.
        target.counted[start + slot] = source.counted[first + slot]
    target.length[number] = length


@kernel
def _move_row(source, user, target, number, numbers):  # type: ignore[no-untyped-def]
    length = source.edges.shape[1]
    for slot in range(min(source.degree[user], length)):
        edge = source.edges[user, slot]
        item = np.uint32(numbers[edge & np.uint32(_ITEM)])
        target.edges[number, slot] = edge & ~np.uint32(_ITEM) | item
        target.times[number, slot] = source.times[user, slot]
    target.degree[number] = source.degree[user]


@kernel
def _tell_items(users, number, items):  # type: ignore[no-untyped-def]
    """Add the user to the rows of the items of their history, in their places by time."""
    length, degree = users.edges.shape[1], users.degree[number]
    for n in range(degree - min(degree, length), degree):
        edge = users.edges[number, n % length]
        units = edge >> np.uint32(24)
        if units > 0:
            item = np.int64(edge & np.uint32(_ITEM))
            insert_edge(items, item, number, units, users.times[number, n % length])


@kernel
def _read_again(users, number, taste, vectors):  # type: ignore[no-untyped-def]
    """Add the text of each item of the user's history, oldest first, to their taste."""
    length, degree = users.edges.shape[1], users.degree[number]
    for n in range(degree - min(degree, length), degree):
        edge = users.edges[number, n % length]
        if edge >> np.uint32(24) > 0:
            read(taste, number, vectors[edge & np.uint32(_ITEM)], 0)
