"""The page of `millrace evaluate`: drawn by a browser from one file, with nothing but it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright
from typer.testing import CliRunner

from engine.datasets import Synthetic
from engine.evaluation.over_time import MOST_WINDOWS, latency_over_time, quality_over_time
from engine.evaluation.prequential import PrequentialEvaluator
from engine.settings import EngineSettings
from streams.cli.app import app
from streams.tools.evaluation_page import page_of


def test_windows_add_up_to_the_whole() -> None:
    evaluator = PrequentialEvaluator(EngineSettings(model="gnn"))
    for _ in evaluator.run(Synthetic(events=400, users=20, items=30).interactions()):
        pass
    report = evaluator.report()
    windows = report["over_time"]
    assert [window["events"] for window in windows][-1] == report["events"]
    assert len(windows) == MOST_WINDOWS
    shown = [window["items_shown"] for window in windows]
    assert shown == sorted(shown)
    assert shown[-1] == round(report["coverage@10"] * report["items"])
    assert len(report["latency_us_over_time"]) == MOST_WINDOWS
    assert all(window["p50"] <= window["p99"] for window in report["latency_us_over_time"])
    asked = [gain for _, gain, _, _ in evaluator._gains]
    assert sum(asked) / len(asked) == pytest.approx(report["ndcg@10"], abs=1e-5)


def test_few_events_and_none_have_windows_too() -> None:
    assert quality_over_time([], [], 0) == latency_over_time([]) == []
    [one] = quality_over_time([], [], 1)
    assert (one["events"], one["ndcg@10"], one["items_shown"]) == (1, None, 0)
    assert latency_over_time([5_000]) == [{"events": 1, "p50": 5.0, "p99": 5.0}]


@pytest.mark.skipif(not shutil.which("chromium"), reason="there is no chromium")
def test_a_browser_draws_it(tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    command = ["evaluate", "--synthetic", "400", "--set", "engine.model=gnn", "--page", str(file)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        page = browser.new_page()
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda asked: wrong.append(asked.url))
        page.goto(file.as_uri())
        assert page.locator("canvas").count() == 3
        assert page.locator("table").first.inner_text().startswith("\tNDCG@10")
        browser.close()
    assert wrong == [file.as_uri()]


def test_names_of_data_are_text() -> None:
    measures = {"ndcg@10": 0.1, "hr@10": 0.2, "mrr@10": 0.1, "queries": 7}
    evil = "</script><script>alert(1)</script>"
    report = measures | {
        "data": evil, "events": 9, "users": 2, "items": 3, "coverage@10": 0.5,
        "standard_error": 0.01, "second_half": measures,
        "baselines": {"popularity": measures, "recent_popularity": measures}, "over_time": [],
        "latency_us_over_time": [],
    }  # fmt: skip
    assert evil not in page_of(report)
