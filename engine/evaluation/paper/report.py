"""The report that `--json` writes: results of all steps, as means and deviations over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from engine.evaluation.holdout import SHARE
from engine.evaluation.paper.comparisons import METHOD, comparisons_of
from engine.evaluation.paper.plan import PARTS, Part
from engine.evaluation.paper.published import (
    BASE,
    COMPARED,
    DIFFERENCES,
    MEASURES,
    PAPER,
    PAPER_NAMES,
    published,
)
from engine.evaluation.paper.run import REFERENCES, PaperRun
from engine.evaluation.paper.serving import TITLES
from engine.evaluation.protocol import MANY, RELEVANT
from engine.evaluation.provenance import provenance, versions
from engine.training import Recipe

ENOUGH = 0.99
"""Equal quality: this share of the best validation NDCG@10 of `BASE`."""
PROTOCOL = {
    "split": f"{SHARE:.0%} of each user's ratings held out, at random (by seed) or the last ones",
    "accuracy": f"only the user's own held-out items are ranked; relevant: rating >= {RELEVANT:g}; "
    "users without a relevant one are left out; P@10 divides by ten; ties in a random order",
    "ten_or_more": f"users with at least {MANY} held-out items, relevant or not",
    "full_ranking": "all items of the catalogue that the user did not rate in training compete",
    "prequential": "the online engine over the second half by time, every event ranked before it "
    "is learnt, begun with a model that was trained on the first half, or with none; it learnt the "
    "first half online in both cases, with embeddings as wide",
    "comparisons": METHOD,
    "random_order": "the exact expectation over all orders",
    "training": "on the training part alone; a model that is tested takes no early stopping and "
    f"sees no test data. Time to equal quality: until {ENOUGH:.0%} of {BASE}'s best NDCG@10 on a "
    "tenth of each user's training part, which is held out for that",
    "latency": f"Cold: one request whose text (the last {TITLES} titles of the user) is encoded in "
    "the path; warm: the item side precomputed. One process, one thread, one request at a time; "
    "the rows in turns, in a new random order for each request",
}


def over_seeds(values: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Means of nested numbers, each with its deviation (`…_sd`, null for one seed) beside it."""
    out: dict[str, Any] = {}
    for name, first in values[0].items():
        if isinstance(first, Mapping):
            out[name] = over_seeds([value[name] for value in values])
        else:
            out |= _mean(name, [float(value[name]) for value in values])
    return out


def _mean(name: str, sample: Sequence[float]) -> dict[str, float | None]:
    mean = float(np.mean(sample))
    sd = float(np.std(sample, ddof=1)) if len(sample) > 1 else None
    # JSON has no NaN: a slice without users has no measures.
    return {name: None if np.isnan(mean) else mean, f"{name}_sd": sd}


def seconds_to(target: float, training: Mapping[str, Any]) -> float | None:
    """Seconds until the first epoch whose validation NDCG@10 is enough, with what the training
    builds on; None: never."""
    for quality, seconds in zip(training["epoch_quality"], training["epoch_seconds"], strict=True):
        if quality >= target:
            return float(seconds + training["start_seconds"])
    return None


def report_of(run: PaperRun, source: str) -> dict[str, Any]:
    """What was measured so far, by row, beside the paper's figures; what is missing is null."""
    rows = [_row(run, recipe) for recipe in run.recipes]
    references = _references(run)
    base = next((_figures(row) for row in rows if row["recipe"] == BASE), {})
    for row in (*rows, *references):
        row["ratios"] = {
            name: _ratio(value, base.get(name)) for name, value in _figures(row).items()
        }
    return {
        "paper": PAPER,
        "published": published(),
        "paper_names": PAPER_NAMES,
        "rows": rows,
        "references": references,
        "comparisons": [
            *_comparisons(run, "random"),
            *_comparisons(run, "temporal"),
        ],
        "quick": run.amounts.quick,
        "complete": run.complete,
        "seeds": list(range(run.amounts.seeds)),
        "protocol": PROTOCOL,
        "differences": list(DIFFERENCES),
        "data_sha256": run.data_hash,
        "packages": versions(),
        **provenance(source, 0),
    }


def _comparisons(run: PaperRun, split: Part) -> list[dict[str, Any]]:
    by_user: dict[str, dict[int, Any]] = {}
    for recipe in run.recipes:
        for seed in range(run.amounts.seeds):
            found = run.trained.get((recipe.name, split, seed))
            if found is not None:
                by_user.setdefault(recipe.name, {})[seed] = found["by_user"]
    return comparisons_of(by_user, split)


def _figures(row: Mapping[str, Any]) -> dict[str, float | None]:
    """What a row is compared by: training time, latency, accuracy in the slice `COMPARED`."""
    split, part = COMPARED
    accuracy = (row["accuracy"][split] or {}).get(part, {})
    latency = row["latency_ms"] or {}
    return {
        "training_seconds": row["training_seconds"],
        "seconds_to_quality": row["seconds_to_quality"],
        **{f"{kind}_ms": latency[kind]["mean"] if latency else None for kind in ("cold", "warm")},
        **{name: accuracy.get(name) for name in MEASURES},
    }


def _ratio(value: float | None, base: float | None) -> float | None:
    return value / base if value is not None and base else None


def _row(run: PaperRun, recipe: Recipe) -> dict[str, Any]:
    name = recipe.name
    found = {
        part: [run.trained[name, part, seed] for seed in range(run.amounts.seeds)
               if (name, part, seed) in run.trained]
        for part in PARTS
    }  # fmt: skip
    trainings = [one["training"] for one in found["random"]]
    wholes = [one["seconds"] + one["start_seconds"] for one in trainings]
    seconds = _mean("training_seconds", wholes) if trainings else {}
    return {
        "recipe": name,
        "description": recipe.description,
        "training_seconds": seconds.get("training_seconds"),
        "training_seconds_sd": seconds.get("training_seconds_sd"),
        "start_seconds": trainings[0]["start_seconds"] if trainings else None,
        "seconds_to_quality": _seconds_to_quality(run, name),
        "epochs": trainings[0]["epochs"] if trainings else None,
        "memory_mb_per_rank": trainings[0]["memory_mb_per_rank"] if trainings else None,
        "latency_ms": run.latencies.get(name),
        "accuracy": _both(found["random"], found["temporal"], "accuracy"),
        "full_ranking": _both(found["random"], found["temporal"], "full_ranking"),
        "prequential": _prequential(
            run, recipe, [one["prequential"] for one in found["first_half"]]
        ),
        "notes": [
            *(trainings[0]["notes"] if trainings else ()),
            *_serving_notes(recipe),
            *_missing_seeds(len(trainings), run.amounts.seeds),
        ],
        "error": run.failures.get(name),
    }


def _serving_notes(recipe: Recipe) -> list[str]:
    notes = []
    if recipe.text is None:
        notes.append("It reads no text: a cold request is a warm one.")
    if recipe.serving.aggregator == "pynq":
        notes.append(
            "The board is simulated: latencies are those of the simulation, not of a device."
        )
    return notes


def _missing_seeds(measured: int, seeds: int) -> list[str]:
    """What an interrupted run has to say of a row beside rows of more seeds."""
    if not 0 < measured < seeds:
        return []
    return [f"Its random split was measured with {measured} of {seeds} seeds."]


def _seconds_to_quality(run: PaperRun, name: str) -> float | None:
    """Mean over seeds; None if the quality was not reached with each of them."""
    reached = []
    for seed in range(run.amounts.seeds):
        base = run.trained.get((BASE, "validated", seed))
        own = run.trained.get((name, "validated", seed))
        if base is None or own is None or not base["training"]["epoch_quality"]:
            return None
        target = ENOUGH * max(base["training"]["epoch_quality"])
        reached.append(seconds_to(target, own["training"]))
    done = [seconds for seconds in reached if seconds is not None]
    return float(np.mean(done)) if len(done) == len(reached) else None


def _both(
    random: Sequence[dict[str, Any]], temporal: Sequence[dict[str, Any]], name: str
) -> dict[str, Any]:
    return {
        "random": over_seeds([one[name] for one in random]) if random else None,
        "temporal": over_seeds([one[name] for one in temporal]) if temporal else None,
    }


def _prequential(
    run: PaperRun, recipe: Recipe, found: Sequence[dict[str, Any]]
) -> dict[str, Any] | None:
    if not found:
        return None
    with_model = over_seeds([one["engine"] for one in found])
    without = run.online[recipe.take_dimensions]["engine"]
    gain = with_model["ndcg@10"] / without["ndcg@10"] - 1 if without["ndcg@10"] else None
    return {**with_model, "without": without, "gain": gain}


def _references(run: PaperRun) -> list[dict[str, Any]]:
    popularity = next((one["popularity"] for one in run.online.values()), None)
    rows = []
    for name in REFERENCES:
        random, temporal = (
            [found[name] for (split, _), found in run.references.items() if split == how]
            for how in ("random", "temporal")
        )
        rows.append(
            {
                "recipe": name,
                "training_seconds": None,
                "seconds_to_quality": None,
                "latency_ms": None,
                "accuracy": _both(random, temporal, "accuracy"),
                "full_ranking": _both(random, temporal, "full_ranking"),
                "prequential": popularity if name == "popularity" else None,
            }
        )
    return rows
