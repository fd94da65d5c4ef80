"""The report: means over seeds, ratios, the paper's figures, and its tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.evaluation.holdout import ratings, split_by_user
from engine.evaluation.paper.report import over_seeds, report_of, seconds_to
from engine.evaluation.paper.run import PaperRun
from engine.evaluation.paper.serving import requests_of
from engine.evaluation.paper.tables import NOT_MEASURED, NOT_STATED, number, tables_of, warnings_of
from engine.evaluation.protocol import by_scores, own_items
from engine.evaluation.references import ItemMeanScorer
from engine.training import recipes
from tests.engine.builders import took
from tests.engine.evaluation.paper.stand_in import DATA, RATED, RECIPES, Trainer, recipe, run_of


@pytest.fixture
def report(finished: tuple[PaperRun, Trainer, Path]) -> dict[str, Any]:
    return report_of(finished[0], "synthetic")


def test_the_form_is_what_readers_rely_on(report: dict[str, Any]) -> None:
    report = json.loads(json.dumps(report, allow_nan=False))
    assert [row["recipe"] for row in report["rows"]] == ["gnn", "hybrid", "hybrid-distilled"]
    assert [row["recipe"] for row in report["references"]] == [
        "random order", "popularity", "item mean", "oracle",
    ]  # fmt: skip
    for row in [*report["rows"], *report["references"]]:
        for split in ("random", "temporal"):
            for part in ("all", "ten_or_more"):
                assert {"precision@10", "recall@10", "ndcg@10"} <= row["accuracy"][split][
                    part
                ].keys()
            assert 0 <= row["full_ranking"][split]["ndcg@10"] <= 1
    for row in report["rows"]:
        assert row["training_seconds"] > 0
        for kind in ("cold", "warm"):
            assert {"mean", "sd", "p50", "p99"} <= row["latency_ms"][kind].keys()
        assert row["prequential"]["gain"] == 0, "the stand-in's warm start changes nothing"
        assert row["error"] is None
    assert {"machine", "version", "data", "data_sha256", "seeds", "protocol"} <= report.keys()


def test_what_an_interrupted_run_has_is_reported(trainer: Trainer, tmp_path: Path) -> None:
    for calls in (0, 2, 5):
        trainer.reset()
        trainer.interrupt_at = calls
        run = run_of(trainer, tmp_path / str(calls), seeds=1)
        with pytest.raises(KeyboardInterrupt):
            list(run.run())
        report = report_of(run, "synthetic")
        assert not report["complete"]
        assert len(warnings_of(report)) == 1
        trained = [row["training_seconds"] is not None for row in report["rows"]]
        assert trained == [calls > row for row in range(3)]
        assert not any("seeds" in note for row in report["rows"] for note in row["notes"])
        assert all(len(row) == len(one.columns) for one in tables_of(report) for row in one.rows)


def test_a_row_of_fewer_seeds_says_so(trainer: Trainer, tmp_path: Path) -> None:
    trainer.interrupt_at = len(RECIPES) + 1  # the first row of the second seed is done
    run = run_of(trainer, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        list(run.run())
    first, second, _ = report_of(run, "synthetic")["rows"]
    said = "Its random split was measured with 1 of 2 seeds."
    assert said not in first["notes"]
    assert said in second["notes"]


def test_accuracy_is_the_mean_and_deviation_over_seeds(report: dict[str, Any]) -> None:
    rated = ratings(RATED, "synthetic")
    found = []
    for seed in (0, 1):
        split = split_by_user(rated, "random", seed)
        found.append(own_items(split, by_scores(ItemMeanScorer(split.train), seed))["all"])
    values = [one["ndcg@10"] for one in found]
    row = report["rows"][0]["accuracy"]["random"]["all"]
    # The stand-in's means are float32, so a tie more is possible.
    assert row["ndcg@10"] == pytest.approx(np.mean(values), abs=2e-3)
    assert row["ndcg@10_sd"] == pytest.approx(np.std(values, ddof=1), abs=2e-3)
    assert 0.3 < row["ndcg@10"] < 1


def test_training_time_as_a_share_of_hybrids(report: dict[str, Any]) -> None:
    gnn, hybrid, _ = report["rows"]
    assert hybrid["training_seconds"] == 2.5  # 2 and 3 seconds
    assert hybrid["training_seconds_sd"] == pytest.approx(0.7071, abs=1e-4)
    assert gnn["ratios"]["training_seconds"] == 0.5
    assert hybrid["seconds_to_quality"] == 2.5
    assert gnn["ratios"]["seconds_to_quality"] == 0.5


def test_seconds_to_a_quality() -> None:
    training = {
        "epoch_quality": [0.5, 0.7, 0.6], "epoch_seconds": [1.0, 2.0, 3.0], "start_seconds": 10.0,
    }  # fmt: skip
    assert seconds_to(0.7, training) == 12.0
    assert seconds_to(0.4, training) == 11.0
    assert seconds_to(0.8, training) is None


def test_over_seeds_by_hand() -> None:
    assert over_seeds([{"a": {"x": 1.0}}, {"a": {"x": 3.0}}]) == {
        "a": {"x": 2.0, "x_sd": pytest.approx(2**0.5)}
    }
    assert over_seeds([{"x": 1}]) == {"x": 1.0, "x_sd": None}
    assert over_seeds([{"x": float("nan")}]) == {"x": None, "x_sd": None}


TRAINING_TABLE = """
gnn 4.5, llm 7.2, hybrid 11.3, hybrid-int8 9.2, hybrid-distilled 8.4, hybrid-lora 3.8
"""
LATENCY_TABLE = """
gnn 25 4, llm 110 9, hybrid 140 12, hybrid-int8 95 7, hybrid-distilled 85 6, hybrid-deepspeed 70 5,
hybrid-fpga-deepspeed 45 3
"""
ACCURACY_TABLE = """
gnn .68 .53 .66, llm .65 .50 .64, hybrid .75 .58 .66, hybrid-int8 .76 .60 .70,
hybrid-distilled .77 .61 .71, hybrid-lora .78 .63 .72, hybrid-fpga-deepspeed .80 .65 .75
"""


def figures(table: str) -> dict[str, list[float]]:
    rows = [row.split() for row in table.split(",")]
    return {row[0]: [float(cell) for cell in row[1:]] for row in rows}


def test_the_papers_tables_are_there_in_full(report: dict[str, Any]) -> None:
    stated = report["published"]
    assert stated.keys() == report["paper_names"].keys() == set(recipes()) & stated.keys()
    accuracy = ("precision@10", "recall@10", "ndcg@10")
    found: list[dict[str, list[float]]] = [{}, {}, {}]
    for row_name, row in stated.items():
        for name, figure in row.items():
            table = ["training_hours", "latency_ms", accuracy[0]].index(
                accuracy[0] if name in accuracy else name
            )
            assert figure["source"] == f"arXiv 2507.01035, Table {table + 2}"
            deviation = [figure["sd"]] if "sd" in figure else []
            found[table].setdefault(row_name, []).extend([figure["value"], *deviation])
    wanted = [figures(table) for table in (TRAINING_TABLE, LATENCY_TABLE, ACCURACY_TABLE)]
    assert found == wanted
    assert stated["hybrid-lora"]["training_hours"]["ratio"] == pytest.approx(3.8 / 11.3)
    assert stated["hybrid"]["ndcg@10"]["ratio"] == 1.0


def test_the_papers_tables_stand_beside_ours(report: dict[str, Any]) -> None:
    report["rows"][0]["latency_ms"] = None
    report["rows"][0]["ratios"] |= {"cold_ms": None, "warm_ms": None}
    tables = {table.title: table for table in tables_of(report)}
    for table in tables.values():
        assert all(len(row) == len(table.columns) for row in table.rows)
    papers = [table for title, table in tables.items() if title.startswith("The paper's Table")]
    training, latency, accuracy = ({row[0]: row[1:] for row in one.rows} for one in papers)
    assert list(training) == list(latency) == list(report["published"])
    assert training["hybrid"] == ["11.3", "1.00", "2.5 ± 0.7", "1.00"]
    assert training["gnn"][1:] == ["0.40", "1.2 ± 0.4", "0.50"]
    assert training["hybrid-lora"] == ["3.8", "0.34", NOT_MEASURED, NOT_MEASURED]
    assert training["hybrid-deepspeed"][:2] == [NOT_STATED, ""]
    assert latency["gnn"] == ["25 ± 4", "0.18", NOT_MEASURED, "–", NOT_MEASURED, "–"]
    warm = report["rows"][1]["latency_ms"]["warm"]
    assert latency["hybrid"][4:] == [f"{warm['mean']:.2f} ± {warm['sd']:.2f}", "1.00"]
    ours = report["rows"][1]["accuracy"]["random"]["ten_or_more"]
    assert accuracy["hybrid"] == [
        ".75 / .58 / .66", "1.00 / 1.00 / 1.00",
        " / ".join(f"{ours[name]:.3f}"[1:] for name in ("precision@10", "recall@10", "ndcg@10")),
        "1.000 / 1.000 / 1.000",
    ]  # fmt: skip
    assert accuracy["hybrid-deepspeed"] == [NOT_STATED, "", NOT_MEASURED, NOT_MEASURED]
    assert accuracy["hybrid-fpga-deepspeed"] == [
        ".80 / .65 / .75", "1.07 / 1.12 / 1.14", NOT_MEASURED, NOT_MEASURED,
    ]  # fmt: skip
    assert accuracy["oracle"][:2] == ["", ""], "the paper has no references"
    assert accuracy["oracle"][2].endswith("1.000")


def test_a_row_that_is_ours_alone_comes_after_the_papers(trainer: Trainer, tmp_path: Path) -> None:
    rows = [recipe("own"), recipe("hybrid")]
    run = run_of(trainer, tmp_path, seeds=1, quick=True, recipes=rows)
    list(run.run())
    (training, *_) = tables_of(report_of(run, "synthetic"))
    assert training.rows[-1] == ["own", NOT_STATED, "", "1.0", "0.50"]


def test_ratios_are_to_hybrid_and_missing_without_it(report: dict[str, Any], trainer: Trainer,
    tmp_path: Path) -> None:  # fmt: skip
    for row in (*report["rows"], *report["references"]):
        own = row["accuracy"]["random"]["ten_or_more"]["ndcg@10"]
        base = report["rows"][1]["accuracy"]["random"]["ten_or_more"]["ndcg@10"]
        assert row["ratios"]["ndcg@10"] == own / base
    run = run_of(trainer, tmp_path, seeds=1, quick=True, recipes=[recipe("gnn")])
    list(run.run())
    (alone,) = report_of(run, "synthetic")["rows"]
    assert set(alone["ratios"].values()) == {None}


def test_a_number_and_its_deviation() -> None:
    assert number({"x": 0.8651, "x_sd": 0.0034}, "x") == ".865 ± .003"
    assert number({"x": 1.0, "x_sd": None}, "x") == "1.000"
    assert number({"x": None}, "x") == number(None, "x") == NOT_MEASURED


def test_requests_name_what_their_user_rated_last_and_no_text_repeats() -> None:
    train = [took(user, f"m{n}", at=n) for user in ("ann", "bob") for n in range(7)]
    asked = requests_of(train, list(DATA.items())[:2], 9)
    assert len({one.text for one in asked}) == len(asked) == 9
    assert {one.user for one in asked} == {"ann", "bob"}
    assert asked == requests_of(train, list(DATA.items())[:2], 9)
    assert asked[0].text == "m2; m3; m4; m5; m6 (1)"
