"""The model's two compiled passes: score the candidates for a user; learn from what they took.

Each is one kernel made of the parts' kernels: at a hundred microseconds an event, a call into
compiled code for every part would cost as much as the work.
"""

from __future__ import annotations

import numpy as np

from engine.compiled import kernel
from engine.features.head import (
    EXCLUDED,
    GRAPH,
    NEW_TEXT,
    PERSONAL,
    POPULAR,
    SECOND_HOP,
    TEXT,
    combine,
    dot_rows,
    expected_features,
    expected_vector,
    feature_weights,
    learn_bias,
    learn_weights,
)
from engine.features.popularity import popularity_features
from engine.text.taste import direction, learn_maps

_FEW = np.float32(5.0)


@kernel
def _newness(count):  # type: ignore[no-untyped-def]
    return _FEW / (_FEW + count)


@kernel
def score_candidates(  # type: ignore[no-untyped-def]
    features, counts, popular, stage_ratio, stage, share, vectors, outputs, personal_outputs,
    second_hop, bias, maps, profile, user, personal, own_direction, head_weights, active, context,
    candidates, position, hidden, seen,
):  # fmt: skip
    """Fill in all features but the transitions', and combine them.

    Rows of `counts` to `bias` are the n candidates'; `hidden` (bool[items]) and `seen` (int32)
    are of item numbers, which `position` finds among the candidates.

    Returns
    -------
    float32[n], float32[14]
        The score of each candidate, and the feature weights that they were given.
    """
    n = len(candidates)
    weights = feature_weights(head_weights, context)
    for k in range(len(weights)):
        weights[k] *= active[k]
    popularity_features(popular, stage_ratio, stage, share, n, features[POPULAR:TEXT])
    if active[TEXT] > 0:
        dot_rows(vectors, direction(maps, profile), n, features[TEXT])
        # Of an item that few have taken the text says more than the graph does.
        for j in range(n):
            features[NEW_TEXT, j] = features[TEXT, j] * _newness(counts[j])
    if active[GRAPH] > 0:
        dot_rows(outputs, user, n, features[GRAPH])
        dot_rows(personal_outputs, personal, n, features[PERSONAL])
        dot_rows(second_hop, own_direction, n, features[SECOND_HOP])
    scores = combine(features, weights, bias, n)
    exclude(scores, candidates, position, hidden, seen)
    return scores, weights


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
def learn_head_and_taste(  # type: ignore[no-untyped-def]
    features, weights, counts, vectors, candidates, probabilities, target, head_weights,
    head_accumulated, active, bias, bias_accumulated, context, maps, maps_accumulated, profile,
):  # fmt: skip
    """One step of the softmax cross-entropy on the head and on the taste's maps."""
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
        learn_maps(maps, maps_accumulated, profile, text_error)
    learn_weights(head_weights, head_accumulated, active, error, context)
    learn_bias(bias, bias_accumulated, candidates, probabilities, target)
