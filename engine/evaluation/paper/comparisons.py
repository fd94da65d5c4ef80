"""What the paper claims of its rows, each claim shown or denied by a paired test over users."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.evaluation.paired import DRAWS, LEVEL, holm, paired
from engine.evaluation.paper.published import BASE, MEASURES, PUBLISHED

PARTS_OF_BASE = ("gnn", "llm")
"""Rows that the hybrid claims to be better than; every other row claims to be better than it."""
QUESTIONS = ("all", "ten_or_more", "catalogue")
"""The user's own held-out items, of all users and of those with ten or more; all items."""
SHOWN, DENIED, NEITHER = "shown", "denied", "not shown"
METHOD = (
    f"Differences are of the same users on the same splits, averaged over seeds within each user. "
    f"p: two-sided paired randomisation test over users ({DRAWS:,} random sign flips, numpy), "
    "adjusted by Holm's method for the claims of a column. Interval: "
    f"{LEVEL:.0%}, bootstrap over users ({DRAWS:,} resamples). A claim is {SHOWN} if the adjusted "
    f"p is below {1 - LEVEL:.2f} and the difference has the claimed sign with every seed, {DENIED} "
    f"if it has the other sign with every seed, else {NEITHER}. The test is over users: what "
    "another training by another seed would change is only in the condition on the seeds."
)

UserMeasures = Mapping[str, Any]
"""What a training's `by_user` holds: `users`, `ten_or_more` (bool by user), and the measures
(float[users, 3]) `own` and `catalogue`."""


def comparisons_of(
    by_user: Mapping[str, Mapping[int, UserMeasures]], split: str
) -> list[dict[str, Any]]:
    """One entry for each claim and question, in the order of the rows.

    Parameters
    ----------
    by_user
        Measures of each user, by recipe and seed.
    split
        That they are of.
    """
    claims = [
        (BASE, name) if name in PARTS_OF_BASE else (name, BASE)
        for name in by_user
        if name != BASE and by_user.get(BASE)
    ]
    found: list[dict[str, Any]] = []
    for question in QUESTIONS:
        entries = []
        for better, worse in claims:
            compared = _compared(by_user[better], by_user[worse], question)
            if compared is not None:
                what = {"better": better, "worse": worse, "split": split, "question": question}
                entries.append(what | compared)
        _decide(entries)
        found += entries
    return found


def _compared(
    better: Mapping[int, UserMeasures], worse: Mapping[int, UserMeasures], question: str
) -> dict[str, Any] | None:
    """The differences of two rows, or None without a user who was asked with both."""
    seeds = sorted(better.keys() & worse.keys())
    of_user: dict[str, list[NDArray[np.float64]]] = {}
    of_seed = []
    for seed in seeds:
        one, other = _by_name(better[seed], question), _by_name(worse[seed], question)
        differences = {user: one[user] - other[user] for user in one.keys() & other.keys()}
        for user in sorted(differences):
            of_user.setdefault(user, []).append(differences[user])
        if differences:
            of_seed.append(np.mean(list(differences.values()), axis=0))
    if not of_user:
        return None
    found = paired(np.array([np.mean(own, axis=0) for own in of_user.values()]))
    return {
        "users": len(of_user),
        "seeds": len(of_seed),
        "measures": {
            name: {
                "difference": float(found.mean[place]),
                "low": float(found.low[place]),
                "high": float(found.high[place]),
                "p": float(found.p[place]),
                "by_seed": [float(values[place]) for values in of_seed],
            }
            for place, name in enumerate(MEASURES)
        },
    }


def _by_name(measures: UserMeasures, question: str) -> dict[str, NDArray[np.float64]]:
    values = np.asarray(measures["catalogue" if question == "catalogue" else "own"])
    wanted = measures["ten_or_more"] if question == "ten_or_more" else [True] * len(values)
    return {
        user: value
        for user, value, asked in zip(measures["users"], values, wanted, strict=True)
        if asked
    }


def _decide(entries: Sequence[dict[str, Any]]) -> None:
    """Add the adjusted p and the verdict to each measure of a question's claims."""
    for name in MEASURES:
        own = [entry["measures"][name] for entry in entries]
        for one, adjusted in zip(own, holm([one["p"] for one in own]), strict=True):
            one["p_adjusted"] = adjusted
            certain = adjusted < 1 - LEVEL
            if certain and min(one["by_seed"]) > 0:
                one["verdict"] = SHOWN
            elif certain and max(one["by_seed"]) < 0:
                one["verdict"] = DENIED
            else:
                one["verdict"] = NEITHER


def claimed(better: str, worse: str) -> dict[str, float]:
    """The paper's own differences by measure; nothing where it does not state both rows."""
    one, other = PUBLISHED.get(better, {}), PUBLISHED.get(worse, {})
    return {
        name: one[name]["value"] - other[name]["value"]
        for name in MEASURES
        if name in one and name in other
    }
