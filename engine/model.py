"""The model's two compiled passes: score every item for a user; learn from what the user took.

Each is one kernel made of the parts' kernels: at a hundred microseconds an event, a call into
compiled code for every part would cost as much as the work.
"""

from __future__ import annotations

import numpy as np

from engine.compiled import kernel
from engine.head import (
    GRAPH,
    POPULAR,
    TEXT,
    combine,
    dot_rows,
    expected_features,
    expected_vector,
    feature_weights,
    learn_weights,
)
from engine.popularity import popularity_features
from engine.text.taste import direction, learn_maps


@kernel
def score_items(  # type: ignore[no-untyped-def]
    features, popular, stage_ratio, stage, share, vectors, maps, profile, outputs, user,
    head_weights, context, excluded, seen, n,
):  # fmt: skip
    """Fill in all features but the transitions', and combine them.

    Returns
    -------
    float32[n], float32[8]
        The score of each of the first n items, and the feature weights that they were given.
    """
    popularity_features(popular, stage_ratio, stage, share, n, features[POPULAR:TEXT])
    dot_rows(vectors, direction(maps, profile), n, features[TEXT])
    dot_rows(outputs, user, n, features[GRAPH])
    weights = feature_weights(head_weights, context)
    return combine(features, weights, excluded, seen, n), weights


@kernel
def learn_head_and_taste(  # type: ignore[no-untyped-def]
    features, weights, vectors, probabilities, item, head_weights, head_accumulated, context,
    maps, maps_accumulated, profile,
):  # fmt: skip
    """One step of the softmax cross-entropy on the head's weights and the taste's maps."""
    error = expected_features(features, probabilities)
    text_error = expected_vector(vectors, probabilities)
    for k in range(len(error)):
        error[k] -= features[k, item]
    for d in range(len(text_error)):
        text_error[d] = np.float32(weights[TEXT] * (text_error[d] - vectors[item, d]))
    learn_weights(head_weights, head_accumulated, error, context)
    learn_maps(maps, maps_accumulated, profile, text_error)
