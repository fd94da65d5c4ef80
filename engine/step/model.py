"""The model's passes: score the candidates, tell of the best, learn from what was taken.

Kernels that others call with `Tables` (`engine.step.tables`); `engine.step.events` puts them
together to a step.
"""

from __future__ import annotations

import numpy as np

from engine.compiled import kernel, part
from engine.features.context import context_of
from engine.features.cooccurrence import gather_cooccurrence, gather_disliked, without
from engine.features.feature import GRAPH_PART, TEXT_PART
from engine.features.head import (
    EXCLUDED,
    combine,
    dot_rows,
    expected_features,
    expected_vector,
    feature_weights,
    learn_bias,
    softmax,
    strongest_part,
    top_k,
)
from engine.features.item_codes import (
    OUTPUTS,
    PERSONAL_OUTPUTS,
    SECOND_HOPS,
    TEXT_VECTORS,
    expected_row,
    multiply,
)
from engine.features.newton import learn_weights
from engine.features.popularity import (
    EVENTS,
    current_popularity,
    popularity_features,
    recent_shares,
    stage_of,
)
from engine.features.repeats import gather_repeats
from engine.features.table import READS_TIME, fill_own, row
from engine.features.transitions import strongest_sources
from engine.features.user_items import REPEATABLE
from engine.graph import NODES
from engine.propagation.embeddings import learn_tables
from engine.step.tables import Columns
from engine.text.taste import direction, learn_maps

DIRECTED, DISLIKED = row("directed"), row("disliked")
GRAPH, PERSONAL, SECOND_HOP = row("graph"), row("personal"), row("second_hop")
COSINE, AGAIN = row("cosine"), row("again")
POPULAR, STAGE = row("popular"), row("stage")
TEXT, NEW_TEXT = row("text"), row("new_text")
TRENDING, SIMILAR_TEXT = -1, -2
"""Why an item is recommended, where it is not for another item."""
_FEW = np.float32(5.0)
_ITEM = NODES - 1
_WHOLE = np.float32(1.0)


@kernel
def _newness(count):  # type: ignore[no-untyped-def]
    return _FEW / (_FEW + count)


@kernel
def _pull(weight):  # type: ignore[no-untyped-def]
    """How much of the loss's gradient reaches an embedding whose product has a weight.

    All of it from a tenth on, so that embeddings are learnt as fast where the head trusts them
    little; less below, and backwards below zero: else they would run away from what is taken.
    """
    return max(-_WHOLE, min(_WHOLE, weight * np.float32(10.0)))


@kernel
def holds_contest(s, user, now):  # type: ignore[no-untyped-def]
    """Whether the scratch holds a user's contest as it would be scored at that time."""
    return s.kept[0] == user and (not READS_TIME or s.kept[2] == now)


@kernel
def score_contest(t, user, history, n, exact, now):  # type: ignore[no-untyped-def]
    """Score n candidates for a user with that history (int32[m], most recent first), at a time.

    With `exact` they are the first n items, else the first n of `scratch.candidates`. Fills in the
    scratch, which then holds this contest.
    """
    s, p, e = t.scratch, t.popularity, t.embeddings
    stage, share = stage_of(t.contexts.lengths[user])
    candidates, position = t.every[:n], t.every
    # The rows of all items are scored from their codes.
    columns = Columns(
        p.features, p.stage_ratio, p.counts, t.head.bias, t.vectors, e.outputs,
        e.personal_outputs, e.second_hop,
    )  # fmt: skip
    if not exact:
        candidates, position, columns = s.candidates[:n], t.position, s.gathered
        place(t.position, candidates)
        _gather(t, candidates, stage)
        stage = 0  # what is gathered of the stages is this one and the next
    # Called in one place: what it calls is optimised as a whole, and takes long to compile.
    _score(t, user, history, candidates, position, exact, now, stage, share, columns)
    if not exact:
        take_away(t.position, candidates)
    s.kept[0], s.kept[1], s.kept[2] = user, n, now


@part
def _gather(t, candidates, stage):  # type: ignore[no-untyped-def]
    """Copy what is scored of the candidates to `scratch.gathered`."""
    g, e = t.scratch.gathered, t.embeddings
    current_popularity(t.popularity, candidates, len(candidates), stage, g.popular, g.stage_ratio)
    for c in range(len(candidates)):
        j = candidates[c]
        g.counts[c] = t.popularity.counts[j]
        g.bias[c] = t.head.bias[j]
        for d in range(g.vectors.shape[1]):
            g.vectors[c, d] = t.vectors[j, d]
        for d in range(g.outputs.shape[1]):
            g.outputs[c, d] = e.outputs[j, d]
            g.personal_outputs[c, d] = e.personal_outputs[j, d]
            g.second_hop[c, d] = e.second_hop[j, d]


@part
def _score(  # type: ignore[no-untyped-def]
    t, user, history, candidates, position, exact, now, stage, share, columns
):
    """Fill in all features of the candidates for a user, and combine them.

    `position` finds an item among the candidates; the columns are theirs.
    """
    n = len(candidates)
    s, e, active = t.scratch, t.embeddings, t.head.active
    features, scores = s.features, s.scores
    if active[GRAPH] > 0:
        liked = s.liked[: without(history, t.disliked, user, s.liked)]
        gather_cooccurrence(
            t.transitions, history, liked, t.popularity.counts, t.popularity.clock[EVENTS],
            columns.counts[:n], position, s.cooccurrence, features[DIRECTED:DISLIKED],
            features[COSINE:AGAIN],
        )  # fmt: skip
        gather_disliked(t.transitions, t.disliked, user, position, features[DISLIKED, :n])
    if active[AGAIN] > 0:
        gather_repeats(t.users, t.taken, user, position, n, features[AGAIN:POPULAR])
    context_of(t.contexts, t.users, user, s.context)
    feature_weights(t.head, s.context, s.weights)
    popularity_features(
        columns.popular, columns.stage_ratio, stage, np.float32(share), n,
        features[POPULAR : STAGE + 1],
    )  # fmt: skip
    fill_own(t.own, candidates, exact, now, features)
    if active[TEXT] > 0:
        towards = s.vector[0, : columns.vectors.shape[1]]
        direction(t.taste, user, towards)
        _multiply(t, TEXT_VECTORS, columns.vectors, towards, n, exact, features[TEXT])
        # Of an item that few have taken the text says more than the graph does.
        for j in range(n):
            features[NEW_TEXT, j] = features[TEXT, j] * _newness(columns.counts[j])
    if active[GRAPH] > 0:
        _multiply(t, OUTPUTS, columns.outputs, e.users[user], n, exact, features[GRAPH])
        _multiply(
            t, PERSONAL_OUTPUTS, columns.personal_outputs, e.personal[user], n, exact,
            features[PERSONAL],
        )  # fmt: skip
        _multiply(
            t, SECOND_HOPS, columns.second_hop, e.directions[user], n, exact, features[SECOND_HOP]
        )
    combine(features, s.weights, columns.bias, n, scores)
    exclude(t.hidden, t.taken, user, candidates, position, scores)


@part
def _multiply(t, part, rows, vector, n, exact, out):  # type: ignore[no-untyped-def]
    """Multiply the rows of n candidates with a vector; those of all items are read in 8 bits."""
    if exact:
        multiply(t.codes, part, vector, n, out)
    else:
        dot_rows(rows, vector, n, out)


@kernel
def place(position, candidates):  # type: ignore[no-untyped-def]
    """Write the positions of candidates (int32[n]) to `position`, until `take_away`."""
    for c in range(len(candidates)):
        position[candidates[c]] = c


@kernel
def take_away(position, candidates):  # type: ignore[no-untyped-def]
    """Undo `place`."""
    for c in range(len(candidates)):
        position[candidates[c]] = -1


@kernel
def exclude(hidden, taken, user, candidates, position, scores):  # type: ignore[no-untyped-def]
    """Mark hidden items, and those that the user has taken for good, as not to be recommended.

    `user` is -1 for somebody unknown; `position` finds an item among the candidates.
    """
    for c in range(len(candidates)):
        if hidden[candidates[c]]:
            scores[c] = EXCLUDED
    if user < 0:
        return
    first = taken.start[user]
    for slot in range(first, first + taken.length[user]):
        entry = taken.entries[slot]
        c = position[entry & _ITEM]
        if c >= 0 and c < len(candidates) and entry & REPEATABLE == 0:
            scores[c] = EXCLUDED


@kernel
def tell(t, history, n, exact, best, told):  # type: ignore[no-untyped-def]
    """Tell of the candidates at the positions `best` (int32[k]) of the contest: float64[3, >= k].

    The number; the score in ten-thousandths, for here a division may be inexact; why: the item of
    the history that it is taken around most if the graph spoke most, else `TRENDING` or
    `SIMILAR_TEXT`.
    """
    s = t.scratch
    candidates = t.every[:n] if exact else s.candidates[:n]
    numbers = s.sources[: len(best)]
    for i in range(len(best)):
        numbers[i] = candidates[best[i]]
        told[0, i] = numbers[i]
        told[1, i] = np.rint(s.scores[best[i]] * 1e4)
    strongest_sources(t.transitions, history, numbers, t.departed, numbers)
    for i in range(len(best)):
        part = strongest_part(s.features, s.weights, t.head.active, best[i])
        told[2, i] = TRENDING
        if part == TEXT_PART:
            told[2, i] = SIMILAR_TEXT
        elif part == GRAPH_PART and numbers[i] >= 0:
            told[2, i] = numbers[i]


@part
def tell_best(t, history, n, exact, k, told):  # type: ignore[no-untyped-def]
    """`tell` of the k best; returns how many there are."""
    found = top_k(t.scratch.scores[:n], k, t.scratch.best)
    tell(t, history, n, exact, t.scratch.best[:found], told)
    return found


@part
def score_trending(t, user, candidates, position, scores):  # type: ignore[no-untyped-def]
    """Score candidates (int32[n]) for somebody without history: float32[n]; see `exclude`."""
    recent_shares(t.popularity, candidates, len(candidates), scores)
    exclude(t.hidden, t.taken, user, candidates, position, scores)
    if len(t.not_for_strangers) > 0:
        for c in range(len(candidates)):
            if t.not_for_strangers[candidates[c]]:
                scores[c] = EXCLUDED


@part
def tell_trending(t, user, n, k, told):  # type: ignore[no-untyped-def]
    """`tell` of the k best of the first n items by `score_trending`; returns how many there are."""
    s = t.scratch
    s.kept[0] = -1  # the scores are overwritten
    candidates = t.every[:n]
    score_trending(t, user, candidates, t.every, s.scores[:n])
    found = top_k(s.scores[:n], k, s.best)
    for i in range(found):
        told[0, i] = candidates[s.best[i]]
        told[1, i] = np.rint(s.scores[s.best[i]] * 1e4)
        told[2, i] = TRENDING
    return found


@part
def learn(t, user, history, target, n, exact):  # type: ignore[no-untyped-def]
    """One step of the softmax cross-entropy: on the head, the taste's maps and the embeddings.

    On the contest that the scratch holds, of n candidates; `target` is the position of what was
    taken.
    """
    s = t.scratch
    candidates = t.every[:n] if exact else s.candidates[:n]
    features, probabilities = s.features, s.probabilities[:n]
    softmax(s.scores[:n], probabilities)
    expected_features(features, probabilities, s.errors)
    for k in range(len(s.errors)):
        s.errors[k] -= features[k, target]
    if t.head.active[TEXT] > 0:
        counts = t.popularity.counts if exact else s.gathered.counts
        for c in range(n):
            s.share[c] = s.weights[TEXT] + s.weights[NEW_TEXT] * _newness(counts[c])
        taken = s.share[target]
        for c in range(n):
            s.share[c] *= probabilities[c]
        error = s.vector[0, : t.vectors.shape[1]]
        if exact:
            expected_row(t.codes, TEXT_VECTORS, s.share, n, error)
        else:
            expected_vector(s.gathered.vectors, s.share[:n], error)
        for d in range(len(error)):
            error[d] -= taken * t.vectors[candidates[target], d]
        learn_maps(t.taste, user, error)
    learn_weights(t.head, s.errors, s.context, s.newton)
    learn_bias(t.head, candidates, exact, probabilities, target)
    learn_tables(
        t.embeddings, t.codes, user, history, candidates, probabilities, target,
        _pull(s.weights[GRAPH]), _pull(s.weights[PERSONAL]), s.vector, s.drawn,
    )  # fmt: skip
