"""The part of an engine's state that does not depend on how its users' events interleave.

Events of one partition come in one order; those of different partitions interleave freely, so two
workers number users and items differently and learn different weights. What each user took, and
how often each item was taken, is the same whatever the interleaving: names stand for numbers here,
so that two engines can be compared.
"""

from __future__ import annotations

from typing import Any

from engine.recommender import Recommender


def commuting_state(engine: Recommender) -> dict[str, Any]:
    """What two engines that were told the same, in whatever interleaving, hold alike.

    Returns
    -------
    dict
        ``user NAME``: the user's edges that the graph keeps, latest first, as (item, weight,
        time in ms); how many there ever were; items taken, in order, with what each was counted
        with; those of them that may not come again; items disliked. ``item NAME``: edges ever made;
        the weighted count of interactions.
    """
    state: dict[str, Any] = {}
    items = engine.items.names
    graph = engine.graph
    for number, name in enumerate(engine.users.names):
        if not name:  # its user left or was forgotten
            continue
        edges = graph.users.recent(number, graph.users.length)
        taken = engine.taken.of(number), engine.taken.weights_of(number)
        state[f"user {name}"] = (
            [(items[e["id"]], round(float(e["weight"]), 3), int(e["time"])) for e in edges],
            int(graph.users.degree[number]),
            [(items[item], round(float(weight), 3)) for item, weight in zip(*taken, strict=True)],
            [items[item] for item in engine.taken.final_of(number)],
            [items[item] for item in engine.disliked.of(number)],
        )
    for number, name in enumerate(items):
        # Weights are tenths: sums in another order differ by their rounding alone.
        count = round(float(engine.popularity.counts[number]), 1)
        state[f"item {name}"] = (int(graph.items.degree[number]), count)
    return state


def differing(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """The users and items that two such states do not hold alike, sorted."""
    return sorted(name for name in one | other if one.get(name) != other.get(name))
