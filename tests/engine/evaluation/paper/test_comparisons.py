"""Claims about rows: who is compared with whom, over which users, and what is concluded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.evaluation.paper.comparisons import claimed, comparisons_of
from engine.evaluation.paper.report import report_of
from engine.evaluation.paper.run import PaperRun
from engine.evaluation.paper.tables import tables_of
from tests.engine.evaluation.paper.stand_in import Trainer

USERS = [f"u{number}" for number in range(200)]


def measured(ndcg: float, seed: int, row: int, users: list[str] = USERS) -> dict[str, Any]:
    """Measures of users who differ much from each other, and of rows that differ little."""
    of_user = np.random.default_rng(seed).normal(0.7, 0.2, len(users))
    of_row = np.random.default_rng([seed, row]).normal(0.0, 0.02, len(users))
    own = np.repeat((of_user + of_row + ndcg)[:, None], 3, axis=1)
    many = [int(user[1:]) < 50 for user in users]
    return {"users": users, "ten_or_more": many, "own": own, "catalogue": 1 - own}


def rows(**better: float) -> dict[str, dict[int, dict[str, Any]]]:
    """Each row's advantage, with three seeds."""
    return {
        name: {seed: measured(more, seed, row) for seed in range(3)}
        for row, (name, more) in enumerate(better.items())
    }


def test_the_hybrid_claims_to_beat_its_parts_and_the_others_to_beat_it() -> None:
    found = comparisons_of(rows(gnn=0.0, llm=0.0, hybrid=0.0, own=0.0), "random")
    claims = {(one["better"], one["worse"]) for one in found}
    assert claims == {("hybrid", "gnn"), ("hybrid", "llm"), ("own", "hybrid")}
    assert len(found) == 3 * len(claims)
    assert comparisons_of(rows(gnn=0.0, llm=0.0), "random") == []


def test_small_differences_within_users_are_shown_or_denied() -> None:
    data = rows(gnn=-0.01, llm=0.0, hybrid=0.0, worse=-0.01)
    found = comparisons_of(data, "random")

    def verdicts(question: str) -> list[str]:
        return [one["measures"]["ndcg@10"]["verdict"] for one in found
                if one["question"] == question]  # fmt: skip

    assert verdicts("all") == verdicts("ten_or_more") == ["shown", "not shown", "denied"]
    assert verdicts("catalogue") == ["denied", "not shown", "shown"], "there the sign is the other"
    (first, *_) = found
    ndcg = first["measures"]["ndcg@10"]
    by_hand = [
        np.mean(data["hybrid"][seed]["own"][:, 2] - data["gnn"][seed]["own"][:, 2])
        for seed in range(3)
    ]
    assert ndcg["by_seed"] == pytest.approx(by_hand)
    assert ndcg["difference"] == pytest.approx(np.mean(by_hand))
    assert ndcg["low"] < ndcg["difference"] < ndcg["high"]
    assert ndcg["p"] <= ndcg["p_adjusted"]
    assert (first["users"], first["seeds"]) == (200, 3)
    assert next(one for one in found if one["question"] == "ten_or_more")["users"] == 50


def test_one_seed_that_says_the_opposite_leaves_a_claim_open() -> None:
    data = rows(gnn=-0.02, hybrid=0.0)
    data["gnn"][2] = measured(0.005, 2, 0)
    (own, *_) = comparisons_of(data, "random")
    ndcg = own["measures"]["ndcg@10"]
    assert ndcg["p_adjusted"] < 0.05
    assert ndcg["by_seed"][2] < 0 < ndcg["low"]
    assert ndcg["verdict"] == "not shown"


def test_only_users_and_seeds_of_both_rows_count() -> None:
    data = rows(gnn=0.0, hybrid=0.0)
    del data["gnn"][2]
    data["hybrid"][1] = measured(0.0, 1, 1, USERS[:80])
    data["hybrid"][0] = measured(0.0, 0, 1, USERS[:90])
    (own, *_) = comparisons_of(data, "random")
    assert (own["users"], own["seeds"]) == (90, 2)


def test_the_papers_own_differences() -> None:
    assert claimed("hybrid", "gnn") == pytest.approx(
        {"precision@10": 0.07, "recall@10": 0.05, "ndcg@10": 0.0}
    )
    assert claimed("own", "hybrid") == {}


def test_a_run_compares_its_rows_over_the_users_that_were_asked(
    finished: tuple[PaperRun, Trainer, Path],
) -> None:
    report = report_of(finished[0], "synthetic")
    found = report["comparisons"]
    assert {one["split"] for one in found} == {"random", "temporal"}
    assert {one["seeds"] for one in found} == {2}
    asked = report["rows"][0]["accuracy"]["temporal"]["all"]["users"]
    assert {
        one["users"] for one in found if (one["split"], one["question"]) == ("temporal", "all")
    } == {asked}
    # The stand-in trains all rows alike.
    assert {one["measures"]["ndcg@10"]["verdict"] for one in found} == {"not shown"}
    claims = next(one for one in tables_of(report) if one.title.startswith("Claims, random"))
    assert claims.rows[0] == [
        "hybrid > gnn", "+.07 / +.05 / +.00",
        *["not shown: +.0000 [+.0000, +.0000], p = 1.000"] * 3,
    ]  # fmt: skip
