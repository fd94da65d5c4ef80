"""The whole step in plain numpy and dictionaries, from the formulas of docs/ranking.md.

An event at a time, every item competing, in float64. What it shares with the engine are the values
that are drawn at random, and the items' vectors.
"""

from __future__ import annotations

from collections import defaultdict
from math import log, log2, sqrt

import numpy as np
from numpy.typing import NDArray

from engine import EngineSettings, Interaction, Recommender
from engine.features.context import CONTEXT_NAMES
from engine.features.newton import prior
from engine.features.table import FEATURE_NAMES, INITIAL_WEIGHTS, LEARNT
from tests.engine.reference import NEAR, TransitionsReference

Vector = NDArray[np.float64]
KINDS = {"purchase": 1.0, "rating": 1.0, "cart": 0.8, "click": 0.6, "view": 0.4, "dislike": 0.0}
STAGES, FANOUT, NEGATIVES = 16, 32, 96
PLACE = {name: row for row, name in enumerate(FEATURE_NAMES)}


class StepReference:
    """Begins as `engine`, which knows its items and has observed nothing."""

    def __init__(self, engine: Recommender) -> None:
        self.settings: EngineSettings = engine.settings
        self.names = list(engine.items.names)
        n, d = len(self.names), self.settings.dimensions
        e = engine.embeddings
        self.inputs = e.inputs[:, :n].astype(np.float64)
        self.outputs, self.personal_outputs = (
            table[:n].astype(np.float64) for table in (e.outputs, e.personal_outputs)
        )
        self.second_hop = np.zeros((n, d))
        self.accumulated = np.ones((4, n))
        self.vectors = engine.vectors.vectors[:n].astype(np.float64)
        width = self.vectors.shape[1]
        self.maps, self.maps_accumulated = np.stack([np.eye(width)] * 2), np.ones((2, width, width))
        self.weights = np.zeros((len(FEATURE_NAMES), len(CONTEXT_NAMES)))
        self.weights[:, 0] = INITIAL_WEIGHTS
        self.covariance = prior().reshape(self.weights.size, self.weights.size).copy()
        self.variances = self.covariance.diagonal().copy()
        self.latest: dict[int, dict[str, tuple[int, float]]] = defaultdict(dict)
        self.bias, self.bias_accumulated = np.zeros(n), np.ones(n)
        self.transitions = TransitionsReference()
        self.counts, self.first = np.zeros(n), np.zeros(n)
        self.by_stage, self.stage_total = np.zeros((STAGES, n)), np.zeros(STAGES)
        self.popular, self.stage_ratio = np.zeros((4, n)), np.zeros((STAGES, n))
        self.ratings: list[float] = []
        self.standardised: dict[int, list[float]] = defaultdict(list)
        self.events = self.cursor = self.steps = 0
        self.takers: dict[int, list[tuple[str, float]]] = defaultdict(list)
        self.taken: dict[str, dict[int, float]] = defaultdict(dict)
        self.repeatable: dict[str, set[int]] = defaultdict(set)
        self.edges: dict[str, list[tuple[int, float, int]]] = defaultdict(list)
        self.disliked: dict[str, list[int]] = defaultdict(list)
        self.levels: dict[str, Vector] = {}
        self.lengths: dict[str, int] = defaultdict(int)
        self.profiles: dict[str, Vector] = defaultdict(lambda: np.zeros((2, width)))
        self.users: dict[str, Vector] = defaultdict(lambda: np.zeros(d))
        self.personal: dict[str, Vector] = defaultdict(lambda: np.zeros(d))
        self.accumulated_users: dict[str, float] = defaultdict(lambda: 1.0)

    # ------------------------------------------------------------------ scores

    def scores(self, user: str) -> dict[str, float]:
        """Of every item that may be shown to a user with a history."""
        total = self.bias + self._weights(user) @ self._features(user)
        return {name: total[j] for j, name in enumerate(self.names) if j not in self._final(user)}

    def history(self, user: str) -> list[int]:
        return [item for item, _, _ in self.edges[user]][::-1][: self.settings.history]

    def _final(self, user: str) -> set[int]:
        return self.taken[user].keys() - self.repeatable[user]

    def _weights(self, user: str) -> Vector:
        return self.weights @ self._context(user)

    def _context(self, user: str) -> Vector:
        times = [time for _, _, time in self.edges[user]][::-1][:20]
        session = 0
        for q, time in enumerate(times[1:], 1):
            if times[0] - time > 60_000 * q:
                break
            session += 1
        popularity, quality = self.levels.get(user, np.zeros(2))
        length = log(self.lengths[user] + 1) / 3 - 1
        return np.array([1, length, (popularity - 5) / 2, log(session + 1) - 1, quality])

    def _features(self, user: str) -> Vector:
        n = len(self.names)
        f = np.zeros((len(FEATURE_NAMES), n))
        names = ("directed", "symmetric", "saturating")
        counts = self.counts.tolist()
        found = self.transitions.scores(self.history(user), counts, self.events, n)
        for name, row in zip(names, found, strict=True):
            f[PLACE[name]] = row
        for source in self.disliked[user]:
            around = [self.transitions.weights.get((source, j), [0.0, 0.0])[1] for j in range(n)]
            f[PLACE["disliked"]] = np.maximum(
                f[PLACE["disliked"]], np.array(around) / max(*around, 1e-9)
            )
        near = self.history(user)[:NEAR]
        liked = [item for item in near if item not in self.disliked[user]]
        for name, row in self._cooccurrence(liked).items():
            f[PLACE[name]] = row
        if "all" not in self.settings.excludes:
            self._repeats(user, f)
        f[PLACE["surging"]] = [self._faded(j, self.settings.surging_half_life) for j in range(n)]
        f[PLACE["graph"]] = _in_8_bits(self.outputs) @ self.users[user]
        f[PLACE["personal"]] = _in_8_bits(self.personal_outputs) @ self.personal[user]
        f[PLACE["second_hop"]] = _in_8_bits(self.second_hop) @ self._direction(user)
        for name, row in zip(("popular", "trending", "age", "quality"), self.popular, strict=True):
            f[PLACE[name]] = row
        stage, share = _stage(self.lengths[user])
        f[PLACE["stage"]] = (1 - share) * self.stage_ratio[stage] + share * self.stage_ratio[
            stage + 1
        ]
        f[PLACE["text"]] = _in_8_bits(self.vectors) @ self._taste(user)
        f[PLACE["new_text"]] = f[PLACE["text"]] * 5 / (5 + self.counts)
        return f

    def _repeats(self, user: str, f: Vector) -> None:
        held = self.edges[user][::-1][: self.settings.neighbours]
        gap = (held[0][2] - held[-1][2]) / max(len(held) - 1, 1) + 1 if held else 1.0
        for j in {item for item, _, _ in held}:
            places = [q for q, (item, _, _) in enumerate(held) if item == j]
            since = (held[0][2] - held[places[0]][2]) / gap
            f[PLACE["again"], j] = 1
            f[PLACE["again_often"], j] = log(len(places))
            f[PLACE["again_rank"], j] = log(1 + places[0])
            f[PLACE["again_time"], j] = log(1 + since)

    def _cooccurrence(self, liked: list[int]) -> dict[str, Vector]:
        n, around = len(self.names), self.transitions.weights
        cosine, lift, follows = np.zeros(n), np.zeros(n), np.zeros(n)
        for q, i in enumerate(liked):
            long = np.array([around.get((i, j), [0.0, 0.0])[1] for j in range(n)]) * 0.8**q
            cosine += long / np.sqrt((self.counts[i] + 1) * (self.counts + 1))
            lift += long / ((self.counts[i] + 5) * (self.counts + 5))
        if liked:
            after = np.array([around.get((liked[0], j), [0.0, 0.0])[0] for j in range(n)])
            follows = after / (1 + after.sum())
        return {
            "cosine": np.log(1 + 100 * cosine),
            "lift": np.log(1 + (self.events + 1) * lift),
            "follows": np.log(1 + 1000 * follows),
        }

    def _taste(self, user: str) -> Vector:
        short, long = self.profiles[user]
        return self.maps[0] @ short + self.maps[1] @ long

    def _direction(self, user: str) -> Vector:
        return self.personal[user] / sqrt(self.personal[user] @ self.personal[user] + 1e-6)

    # ------------------------------------------------------------------ an event

    def observe(self, event: Interaction) -> None:
        user, item = event.user, self.names.index(event.item or "")
        weight = KINDS[event.kind]
        history = self.history(user)
        value = event.value if event.kind == "rating" else None
        known = self.taken[user].get(item)
        if weight > 0 and (known is None or item in self.repeatable[user]) and history:
            self._learn(user, item, history)
        again = item in self.repeatable[user]
        new = (not known or again) and (weight > 0 or known is None)
        if new:
            self.taken[user].pop(item, None)
            self.taken[user][item] = weight + (known or 0.0)
        if event.kind == "dislike" or event.kind in self.settings.excludes:
            self.repeatable[user].discard(item)
        elif known is None and "all" not in self.settings.excludes:
            self.repeatable[user].add(item)
        low = value is not None and value <= self.settings.low_value
        if event.kind == "dislike" or low or value is not None:
            self.disliked[user] = [other for other in self.disliked[user] if other != item]
        if event.kind == "dislike" or low:
            self.disliked[user] = [*self.disliked[user], item][-8:]
        if weight == 0:
            return
        self.edges[user].append((item, weight, event.timestamp))
        self.takers[item].append((user, weight))
        if new:
            self.transitions.record(history, item, weight)
            level = self._faded(item, self.settings.trending_half_life)
            self._count(user, item, weight, value)
            moved = np.array([level, self.popular[3, item]])
            if self.lengths[user]:
                keep = np.array([0.7, 0.3])
                moved = keep * self.levels[user] + (1 - keep) * moved
            self.levels[user] = moved
            self.lengths[user] += 1
        self._propagate(user, item)
        keep = np.array([[0.6], [0.95]])
        self.profiles[user] = keep * self.profiles[user] + (1 - keep) * self.vectors[item]

    def _faded(self, item: int, half_life: int) -> float:
        """The log share of an item in counts that fade: of each user the latest event."""
        latest = self.latest[item].values()
        left = sum(weight * 0.5 ** ((self.events - at) / half_life) for at, weight in latest)
        return self._log_share(left * log(2) / half_life)

    def _count(self, user: str, item: int, weight: float, value: float | None) -> None:
        self.events += 1
        self.latest[item][user] = self.events, weight
        if self.counts[item] == 0:
            self.first[item] = self.events
        if value is not None:
            self.ratings.append(value)
            deviation = np.std(self.ratings, ddof=1) if len(self.ratings) > 1 else 0.0
            off = (value - np.mean(self.ratings)) / deviation if deviation > 0 else 0.0
            self.standardised[item].append(float(np.clip(off, -3, 3)))
            own = self.standardised[item]
            self.popular[3, item] = sum(own) / (len(own) + 5)
        self.counts[item] += weight
        stage, share = _stage(self.lengths[user])
        for at, part in ((stage, 1 - share), (stage + 1, share)):
            self.by_stage[at, item] += weight * part
            self.stage_total[at] += weight * part
        self._refresh(item, range(STAGES))
        for _ in range(len(self.names) // 32 + 1):
            self._refresh(self.cursor, (stage, stage + 1))
            self.cursor = (self.cursor + 1) % len(self.names)

    def _refresh(self, item: int, stages: range | tuple[int, ...]) -> None:
        share = self.counts[item] / (self.events + 1)
        age = log((self.events - self.first[item]) / 100 + 1)
        recent = self._faded(item, self.settings.trending_half_life)
        self.popular[:3, item] = self._log_share(share), recent, age
        for stage in stages:
            ratio = 1.0
            if self.stage_total[stage] > 0:
                own = (self.by_stage[stage, item] + 5 * share) / (self.stage_total[stage] + 5)
                ratio = (own + 1e-6) / (share + 1e-6)
            self.stage_ratio[stage, item] = log(ratio)

    @staticmethod
    def _log_share(share: float) -> float:
        return log(share + 1e-5) + 11.5

    def _propagate(self, user: str, item: int) -> None:
        own = self.edges[user][::-1][:FANOUT]
        self.users[user] = np.zeros(self.settings.dimensions)
        for table, decay in enumerate((0.9, 0.5)):
            weights = np.array([w * decay**q for q, (_, w, _) in enumerate(own)])
            rows = self.inputs[table, [j for j, _, _ in own]]
            self.users[user] += weights @ rows / weights.sum() / (1 - decay)
        takers = self.takers[item][::-1][:FANOUT]
        weights = np.array([w * 0.97**q for q, (_, w) in enumerate(takers)])
        mean = weights @ np.stack([self._direction(u) for u, _ in takers]) / weights.sum()
        whole = (1 - 0.97 ** len(takers)) / (1 - 0.97)
        self.second_hop[item] = 3 * whole / (whole + 2) * mean

    def _learn(self, user: str, item: int, history: list[int]) -> None:
        features, weights, context = self._features(user), self._weights(user), self._context(user)
        scores = self.bias + weights @ features
        scores[list(self._final(user))] = -np.inf
        p = np.exp(scores - scores.max())
        p /= p.sum()
        error = p.copy()
        error[item] -= 1
        newness = 5 / (5 + self.counts)
        by_text = weights[PLACE["text"]] + weights[PLACE["new_text"]] * newness
        gradient = (p * by_text) @ _in_8_bits(self.vectors) - by_text[item] * self.vectors[item]
        for table, profile in enumerate(self.profiles[user]):
            g = np.outer(gradient, profile)
            self.maps_accumulated[table] += g * g
            self.maps[table] -= self.settings.text_rate * g / np.sqrt(self.maps_accumulated[table])
        g = np.outer(features @ error, context) * np.array(LEARNT)[:, None]
        flat = g.reshape(-1)
        moved = self.covariance @ flat
        self.covariance -= np.outer(moved, moved) / (1 + flat @ moved)
        self.weights -= (moved / (1 + flat @ moved)).reshape(g.shape)
        left = np.maximum(0, self.variances - self.covariance.diagonal())
        self.covariance += np.diag(self.settings.weight_drift * left)
        self.bias_accumulated += error * error
        self.bias -= self.settings.bias_rate * error / np.sqrt(self.bias_accumulated)
        pulls = weights[PLACE["graph"]], weights[PLACE["personal"]]
        self._learn_tables(user, item, history, p, pulls)

    def _learn_tables(
        self, user: str, item: int, history: list[int], p: Vector, pulls: tuple[float, float]
    ) -> None:
        self.steps += 1
        rate = self.settings.embedding_rate
        draw = self.steps * 0.6180339887498949 % 1.0
        sums = np.cumsum(p.astype(np.float32).astype(np.float64))
        at = [(draw + number) / NEGATIVES for number in range(NEGATIVES)]
        negatives = [int(np.searchsorted(sums, threshold, "right")) for threshold in at]
        rows = [(item, p[item] - 1)]
        rows += [(j, (1 - p[item]) / NEGATIVES) for j in negatives if j < len(p) and j != item]
        graph, personal = (np.clip(10 * pull, -1, 1) for pull in pulls)
        both = (
            (self.outputs, self.users[user], 2, 0.0, graph),
            (self.personal_outputs, self.personal[user], 3, 0.01, personal),
        )
        gradients = []
        for table, vector, place, least, pull in both:
            gradient = np.zeros(len(vector))
            energy = vector @ vector / len(vector) + least
            for j, whole in rows:
                error = whole * pull
                self.accumulated[place, j] += error * error * energy
                gradient += error * table[j]
                table[j] -= rate * error / sqrt(self.accumulated[place, j]) * vector
            gradients.append(gradient)
        gradient, own = gradients
        energy = gradient @ gradient / len(gradient)
        for q, j in enumerate(history[:FANOUT]):
            for table, decay in enumerate((0.9, 0.5)):
                fade = decay**q
                if table == 0 or fade > 1e-3:
                    self.accumulated[table, j] += fade * fade * energy
                    step = rate * fade / sqrt(self.accumulated[table, j])
                    self.inputs[table, j] -= step * gradient
        self.accumulated_users[user] += own @ own / len(own)
        step = rate / sqrt(self.accumulated_users[user])
        self.personal[user] = self.personal[user] - step * own


def _stage(length: int) -> tuple[int, float]:
    position = min(log2(length + 1), STAGES - 1.001)
    return int(position), position - int(position)


def _in_8_bits(rows: Vector) -> Vector:
    """Rows as scoring reads them: 127 steps to the largest number of each, on either side."""
    steps = np.maximum(np.abs(rows).max(axis=1, keepdims=True), 1e-30) / 127
    return np.rint(rows / steps) * steps
