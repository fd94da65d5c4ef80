"""`millrace evaluate` over tables: what it says was read, and when nothing could be measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from streams.cli.app import app

GNN = ("--set", "engine.model=gnn")
START = 1_600_000_000


def evaluate(folder: Path, *more: str) -> Result:
    return CliRunner().invoke(app, ["evaluate", str(folder), *GNN, *more])


def report_of(folder: Path, *more: str) -> tuple[Result, dict[str, Any]]:
    file = folder.parent / "report.json"
    result = evaluate(folder, "--json", str(file), *more)
    return result, json.loads(file.read_text())


def table(folder: Path, *rows: str, header: str = "user,item,timestamp,kind") -> Path:
    folder.mkdir()
    (folder / "log.csv").write_text("\n".join((header, *rows)) + "\n")
    return folder


def test_the_report_says_what_was_read_and_what_was_left_out(tmp_path: Path) -> None:
    folder = table(
        tmp_path / "shop",
        f"ann,a,{START},view",
        f"ann,b,{START + 1},view",
        f"ann,a,{START + 2},purchase",  # again
        f"ann,c,{START + 3},dislike",
        f"bob,a,{START + 86_400},view",
        "bob,b,never,view",
    )
    result, report = report_of(folder)
    assert result.exit_code == 0
    named = ("events", "users", "items", "queries", "repeats", "dislikes", "malformed")
    assert [report[name] for name in named] == [5, 2, 3, 1, 1, 1, 1]
    assert report["span"] == {
        "first": "2020-09-13T12:26:40+00:00",
        "last": "2020-09-14T12:26:40+00:00",
    }
    assert report["with_repeats"]["engine"]["queries"] == 2
    told = " ".join(result.output.split())
    assert (
        "5 events of 2 users with 3 items, 2020-09-13 to 2020-09-14; 1 repeats are left out of all "
        "rows but those with repeats, 1 dislikes are no queries, 1 rows were malformed"
    ) in told
    assert "1 queries are too few to mean much" in told
    assert "with repeats: repeat last" in told


def test_a_list_of_what_was_taken_last_foretells_repeats(tmp_path: Path) -> None:
    rows = [f"u{n % 7},m{n % 7},{START + n},purchase" for n in range(140)]
    _, report = report_of(table(tmp_path / "again", *rows))
    assert (report["queries"], report["repeats"]) == (0, 133)
    repeats = report["with_repeats"]
    assert repeats["repeat_last"] == {"ndcg@10": 1.0, "hr@10": 1.0, "mrr@10": 1.0, "queries": 133}
    assert repeats["recent_popularity"]["ndcg@10"] < 1


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([], "no event could be read of log (log.csv"),
        (["ann,a,never,view"], "all 1 rows are malformed, the first is log.csv line 2: timestamp"),
        ([f"ann,a,{START},view", f"bob,b,{START},view"], "no user of log has a second event"),
    ],
    ids=["no row", "no good row", "nobody comes twice"],
)
def test_what_cannot_be_measured_ends_with_the_reason(
    tmp_path: Path, rows: list[str], told: str
) -> None:
    result = evaluate(table(tmp_path / "log", *rows))
    assert result.exit_code == 2
    assert told in " ".join(result.output.split())
    assert "NDCG" not in result.output
