"""`millrace paper`, as its users type it, where it ends before anything is trained."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from streams.cli.app import app
from tests.engine.evaluation.paper.stand_in import RATED


def paper(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["paper", *arguments])


def told(result: Result) -> str:
    assert "Traceback" not in result.stderr
    return " ".join(result.stderr.split())


def test_a_recipe_that_is_none_is_named(tmp_path: Path) -> None:
    result = paper("--synthetic", "50", "--recipe", "gnm", "--work", str(tmp_path))
    assert result.exit_code == 2
    assert "gnm" in told(result)


def test_a_data_set_without_ratings_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    rows = "\n".join(f"{user}::{item}::x::{at}" for user, item, at in [(1, 2, 978300760)])
    (tmp_path / "data" / "ratings.dat").write_text(rows + "\n")
    (tmp_path / "data" / "movies.dat").write_text("2::A film (1990)::Drama\n")
    result = paper(str(tmp_path / "data"), "--work", str(tmp_path / "work"), "--recipe", "gnn")
    assert result.exit_code == 2
    assert "data: no interaction has a rating" in told(result)


@pytest.mark.parametrize("arguments", [["--seeds", "0"], []])
def test_flags_that_do_not_fit_are_refused(arguments: list[str], tmp_path: Path) -> None:
    result = paper(*arguments, "--work", str(tmp_path))
    assert result.exit_code == 2
    assert not any(tmp_path.iterdir())


def test_a_recipe_is_trained_measured_and_told(tmp_path: Path) -> None:
    pytest.importorskip("dgl", reason="needs the extra train")
    data = tmp_path / "ratings"
    data.mkdir()
    (data / "ratings.csv").write_text(
        "userId,movieId,rating,timestamp\n"
        + "".join(f"{one.user[5:]},{one.item[5:]},{one.value},{one.timestamp // 1000}\n"
                  for one in RATED)
    )  # fmt: skip
    files = ["--work", str(tmp_path / "work"), "--json", str(tmp_path / "paper.json"),
             "--page", str(tmp_path / "paper.html")]  # fmt: skip
    result = paper(str(data), "--quick", "--recipe", "gnn", *files)
    assert result.exit_code == 0, result.output
    assert "A quick run" in result.stdout
    report = json.loads((tmp_path / "paper.json").read_text())
    (row,) = report["rows"]
    assert report["complete"]
    assert row["training_seconds"] > 0
    assert row["latency_ms"]["warm"]["requests"] == 100
    by_chance = report["references"][0]["accuracy"]["random"]["all"]["users"]
    assert row["accuracy"]["random"]["all"]["users"] == by_chance > 10
    assert "<svg" in (tmp_path / "paper.html").read_text()
    again = paper(str(data), "--quick", "--recipe", "gnn", *files)
    assert json.loads((tmp_path / "paper.json").read_text()) == report, "nothing is measured again"
    assert again.stdout == result.stdout
