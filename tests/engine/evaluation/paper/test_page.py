"""The page and its charts: one file that needs nothing else."""

from __future__ import annotations

import re
from io import StringIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from engine.evaluation.paper.charts import charts_of, front
from engine.evaluation.paper.page import page_of
from engine.evaluation.paper.report import report_of
from engine.evaluation.paper.run import PaperRun
from engine.evaluation.paper.tables import tables_of
from engine.evaluation.paper.terminal import print_report
from tests.engine.evaluation.paper.stand_in import Trainer

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def report(finished: tuple[PaperRun, Trainer, Path]) -> dict[str, Any]:
    made = report_of(finished[0], "<data> & more") | {"quick": True, "complete": False}
    made["rows"][0] |= {"error": "it needs a board", "latency_ms": None}
    return made


def test_the_page_holds_all_and_asks_for_nothing(report: dict[str, Any]) -> None:
    page = page_of(report)
    outside = re.findall(r'(?:src|href)="(?!#)[^"]*"|url\((?!#)[^)]*\)|@import', page)
    assert outside == []
    assert page.count("<svg") == page.count("<figure>") == 6
    for row in report["rows"]:
        named = [one for one in tables_of(report) if not one.title.startswith("Claims")]
        assert page.count(f"<td>{row['recipe']}</td>") == len(named)
    assert page.count("<td>hybrid &gt; gnn</td>") == 2
    assert "&lt;data&gt; &amp; more" in page
    assert "<data>" not in page
    assert "it needs a board" in page
    assert "A quick run" in page
    assert "was interrupted" in page
    for line in report["differences"]:
        assert line.replace("'", "&#x27;") in page
    assert "prefers-color-scheme: dark" in page
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    for name in re.findall(r'xlink:href="#([^"]+)"', page):
        assert name in ids


def test_charts_are_drawn_from_the_report(report: dict[str, Any]) -> None:
    for caption, svg in charts_of(report):
        texts = {text.text for text in ElementTree.fromstring(svg).iter(f"{SVG}text")}
        assert "hybrid-distilled" in texts, caption
        assert ("hybrid" in texts) == ("less that of hybrid" not in caption), caption
        if "paper" not in caption and "less that" not in caption:
            assert "gnn" not in texts, "a row that was not measured"
        assert "var(--ink)" in svg
        assert re.findall(r"#[0-9a-f]{6}\b", svg) == [], "colours are the page's, dark or light"


@pytest.mark.long
def test_a_page_without_anything_to_chart_is_a_page(report: dict[str, Any]) -> None:
    for row in report["rows"]:
        row |= {"latency_ms": None, "training_seconds": None}
        for measures in row["accuracy"].values():
            measures["ten_or_more"] = {
                name: None if "@" in name else 0 for name in measures["ten_or_more"]
            }
    page = page_of(report)
    assert page.count("<svg") == 6
    assert page.count("<td>–</td>") > 20


@given(st.lists(st.tuples(st.integers(1, 20), st.integers(0, 20)), min_size=1, max_size=12))
def test_the_front_is_what_no_other_beats(points: list[tuple[int, int]]) -> None:
    kept = front([(float(x), float(y)) for x, y in points])
    beaten = {
        one
        for one in points
        if any(x <= one[0] and y >= one[1] and (x, y) != one for x, y in points)
    }
    assert {points[place] for place in kept} == set(points) - beaten


def test_the_terminal_shows_the_same_tables(report: dict[str, Any]) -> None:
    console = Console(width=100, record=True, file=StringIO())
    print_report(console, report)
    shown = console.export_text()
    assert "A quick run" in shown
    assert "gnn was not measured: it needs a board" in shown
    assert "not stated" in shown
    assert "The paper's Table 4" in shown
    assert "hybrid-distilled > hybrid" in shown
    assert "seeds 0, 1" in shown
