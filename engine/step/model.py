"""The model's compiled passes: score the candidates, explain the best, learn from what was taken.

Each is one kernel made of the parts' kernels: at a hundred microseconds an event, a call into
compiled code for every part would cost as much as the work.
"""

from __future__ import annotations

import numpy as np

from engine.compiled import kernel
from engine.features.context import context_of
from engine.features.head import (
    EXCLUDED,
    combine,
    dot_rows,
    expected_features,
    expected_vector,
    feature_weights,
    learn_bias,
    learn_weights,
    softmax,
    strongest_part,
    top_k,
)
from engine.features.popularity import popularity_features
from engine.features.table import row
from engine.features.transitions import gather_around, gather_transitions, strongest_sources
from engine.propagation.embeddings import learn_tables
from engine.text.taste import direction, learn_maps

DIRECTED, DISLIKED = row("directed"), row("disliked")
GRAPH, PERSONAL, SECOND_HOP = row("graph"), row("personal"), row("second_hop")
POPULAR, STAGE = row("popular"), row("stage")
TEXT, NEW_TEXT = row("text"), row("new_text")
_FEW = np.float32(5.0)


@kernel
def _newness(count):  # type: ignore[no-untyped-def]
    return _FEW / (_FEW + count)


@kernel
def score_candidates(  # type: ignore[no-untyped-def]
    features, scores, weights, context, user, history, disliked, seen, candidates, position,
    hidden, lengths, levels, times, degrees, slots, slot_weights, starts, row_degrees, left,
    purged, item_counts, events, counts, popular, stage_ratio, stage, share, vectors, outputs,
    personal_outputs, second_hop, bias, maps, profiles, users, personal, directions, head_weights,
    active,
):  # fmt: skip
    """Fill in all features of the candidates for a user, and combine them.

    Tables from `lengths` to `degrees` and from `profiles` to `directions` are of all users, those
    from `starts` to `item_counts` and `hidden` (bool[items]) of all items, those from `counts` to
    `bias` of the n candidates. `history`, `disliked` and `seen` (int32) hold item numbers, which
    `position` finds among the candidates.

    Writes
    ------
    features : float32[14, >= n]
    scores : float32[n]
    weights : float32[14]
        What the features were weighted with.
    context : float32[5]
    """
    n = len(candidates)
    if active[GRAPH] > 0:
        gather_transitions(
            slots, slot_weights, starts, row_degrees, history, item_counts, events, candidates,
            position, features[DIRECTED:DISLIKED],
        )  # fmt: skip
        gather_around(
            slots, slot_weights, starts, row_degrees, disliked, position, left, purged,
            features[DISLIKED, :n],
        )  # fmt: skip
    context[:] = context_of(lengths[user], levels[user], times[user], degrees[user])
    feature_weights(head_weights, active, context, weights)
    popularity_features(popular, stage_ratio, stage, share, n, features[POPULAR : STAGE + 1])
    if active[TEXT] > 0:
        dot_rows(vectors, direction(maps, profiles[user]), n, features[TEXT])
        # Of an item that few have taken the text says more than the graph does.
        for j in range(n):
            features[NEW_TEXT, j] = features[TEXT, j] * _newness(counts[j])
    if active[GRAPH] > 0:
        dot_rows(outputs, users[user], n, features[GRAPH])
        dot_rows(personal_outputs, personal[user], n, features[PERSONAL])
        dot_rows(second_hop, directions[user], n, features[SECOND_HOP])
    combine(features, weights, bias, n, scores)
    exclude(scores, candidates, position, hidden, seen)


@kernel
def explain(  # type: ignore[no-untyped-def]
    best, scores, features, weights, active, candidates, slots, slot_weights, starts, row_degrees,
    history, marks, left, purged,
):  # fmt: skip
    """What is told of the candidates at the positions `best` (int32[k]): float64[4, k].

    The number, the score rounded to four digits, the part of the model that spoke most, and the
    item of the history (or -1) that it is taken around most.
    """
    told = np.empty((4, len(best)))
    numbers = np.empty(len(best), np.int32)
    parts = strongest_part(features, weights, active, best)
    for i in range(len(best)):
        numbers[i] = candidates[best[i]]
        told[0, i] = numbers[i]
        told[1, i] = np.rint(scores[best[i]] * 1e4) / 1e4
        told[2, i] = parts[i]
    told[3] = strongest_sources(
        slots, slot_weights, starts, row_degrees, history, numbers, marks, left, purged
    )
    return told


@kernel
def best_explained(  # type: ignore[no-untyped-def]
    k, scores, features, weights, active, candidates, slots, slot_weights, starts, row_degrees,
    history, marks, left, purged,
):  # fmt: skip
    """`explain` of the k best."""
    return explain(
        top_k(scores, k), scores, features, weights, active, candidates, slots, slot_weights,
        starts, row_degrees, history, marks, left, purged,
    )  # fmt: skip


@kernel
def exclude(scores, candidates, position, hidden, seen):  # type: ignore[no-untyped-def]
    """Mark hidden items and those that the user has taken as not to be recommended."""
    for c in range(len(candidates)):
        if hidden[candidates[c]]:
            scores[c] = EXCLUDED
    for s in range(len(seen)):
        c = position[seen[s]]
        if c >= 0:
            scores[c] = EXCLUDED


@kernel
def learn_step(  # type: ignore[no-untyped-def]
    features, scores, weights, context, user, history, target, counts, vectors, candidates,
    head_weights, head_accumulated, active, bias, bias_accumulated, maps, maps_accumulated,
    profiles, inputs, outputs, personal_outputs, accumulated, users, personal, directions,
    accumulated_users, draw,
):  # fmt: skip
    """One step of the softmax cross-entropy: on the head, the taste's maps and the embeddings."""
    probabilities = softmax(scores)
    error = expected_features(features, probabilities)
    for k in range(len(error)):
        error[k] -= features[k, target]
    if active[TEXT] > 0:
        share = np.empty(len(candidates), np.float32)
        for c in range(len(candidates)):
            share[c] = weights[TEXT] + weights[NEW_TEXT] * _newness(counts[candidates[c]])
        text_error = expected_vector(vectors, probabilities * share)
        for d in range(len(text_error)):
            text_error[d] -= share[target] * vectors[target, d]
        learn_maps(maps, maps_accumulated, profiles[user], text_error)
    learn_weights(head_weights, head_accumulated, active, error, context)
    learn_bias(bias, bias_accumulated, candidates, probabilities, target)
    learn_tables(
        inputs, outputs, personal_outputs, accumulated, users[user], personal[user],
        directions[user], accumulated_users[user : user + 1], history, candidates, probabilities,
        target, draw,
    )  # fmt: skip
