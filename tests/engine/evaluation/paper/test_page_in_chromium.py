"""The page as Chromium draws it: its charts can be read, in light and dark, wide and narrow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from engine.evaluation.paper.page import page_of
from engine.evaluation.paper.published import PUBLISHED
from engine.evaluation.paper.report import report_of
from engine.training import recipes
from tests.chromium import chromium_fixture  # noqa: F401
from tests.conftest import ROOT
from tests.engine.evaluation.paper.stand_in import Trainer, recipe, run_of

SCREENSHOTS = ROOT / ".cache" / "screenshots"
FAULTS = """(least) => {
    const channels = (text) => text.match(/[\\d.]+/g).map(Number);
    const light = (text) => {
        const [r, g, b] = channels(text).slice(0, 3).map((value) => {
            const share = value / 255;
            return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const contrast = (one, other) => {
        const [low, high] = [light(one), light(other)].sort((a, b) => a - b);
        return (high + 0.05) / (low + 0.05);
    };
    const faults = [];
    for (const figure of document.querySelectorAll("figure")) {
        const back = getComputedStyle(figure).backgroundColor;
        const chart = figure.querySelector("svg");
        const name = chart.getAttribute("aria-label");
        const frame = chart.getBoundingClientRect();
        const scale = frame.width / chart.viewBox.baseVal.width;
        const boxes = [];
        for (const text of chart.querySelectorAll("text")) {
            const style = getComputedStyle(text);
            const box = text.getBoundingClientRect();
            const said = `${name}: ${text.textContent}`;
            if (contrast(style.fill, back) < 4.5) faults.push(`${said}: ${style.fill} on ${back}`);
            const size = parseFloat(style.fontSize) * scale;
            if (size < least) faults.push(`${said}: ${size} pixels`);
            if (box.left < frame.left - 1 || box.right > frame.right + 1 ||
                box.top < frame.top - 1 || box.bottom > frame.bottom + 1)
                faults.push(`${said}: cut off`);
            for (const [other, there] of boxes)
                if (box.left < other.right - 1 && other.left < box.right - 1 &&
                    box.top < other.bottom - 2 && other.top < box.bottom - 2)
                    faults.push(`${said}: over ${there}`);
            boxes.push([box, text.textContent]);
        }
        if (boxes.length < 10) faults.push(`${name}: ${boxes.length} texts`);
        for (const mark of chart.querySelectorAll("path, use")) {
            const style = getComputedStyle(mark);
            const drawn = [style.fill, style.stroke].filter((paint) => paint.startsWith("rgb("));
            const said = mark.getAttribute("style") ?? "";
            if (/--(first|second|paper)/.test(said) && drawn.every((p) => contrast(p, back) < 3))
                faults.push(`${name}: ${drawn} on ${back}`);
        }
    }
    return faults;
}"""
"""What cannot be read in the charts: WCAG 2.1's contrasts (4.5 of letters, 3 of marks), sizes."""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A report whose rows stand as far apart as the paper's, and as near to each other as ours."""
    rows = [recipe(name) for name in recipes()]
    run = run_of(Trainer(), tmp_path_factory.mktemp("paper"), seeds=1, quick=True, recipes=rows)
    list(run.run())
    made = report_of(run, "synthetic")
    for row in made["rows"]:
        stated = PUBLISHED.get(row["recipe"], {})
        if "latency_ms" in stated:
            row["latency_ms"]["cold"] |= {
                "mean": stated["latency_ms"]["value"], "sd": stated["latency_ms"]["sd"],
            }  # fmt: skip
        row["ratios"]["cold_ms"] = row["latency_ms"]["cold"]["mean"] / 140
        near = {"gnn": 0.832, "llm": 0.836, "hybrid-distilled": 0.837, "hybrid-lora": 0.841}
        row["accuracy"]["random"]["ten_or_more"]["ndcg@10"] = near.get(row["recipe"], 0.837)
    return made


@pytest.fixture(scope="module")
def file(report: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("page") / "paper.html"
    made.write_text(page_of(report))
    return made


@pytest.fixture
def opened(chromium: Browser, file: Path) -> Iterator[Any]:
    contexts = []

    def visit(scheme: str, width: int) -> Page:
        context = chromium.new_context(
            color_scheme=scheme, viewport={"width": width, "height": 900}, offline=True  # type: ignore[arg-type]
        )  # fmt: skip
        contexts.append(context)
        page = context.new_page()
        page.goto(file.as_uri())
        return page

    yield visit
    for context in contexts:
        context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "least"), [(1280, 9.0), (390, 8.0)])
def test_charts_can_be_read(opened: Any, scheme: str, width: int, least: float) -> None:
    page = opened(scheme, width)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"paper-{scheme}-{width}.png", full_page=False)
    assert page.locator("figure svg").count() == 6
    assert page.evaluate(FAULTS, least) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width, "it scrolls sideways"


def test_light_and_dark_are_light_and_dark(opened: Any) -> None:
    back = "getComputedStyle(document.body).backgroundColor"
    assert opened("light", 1280).evaluate(back) == "rgb(255, 255, 255)"
    assert opened("dark", 1280).evaluate(back) == "rgb(17, 21, 28)"


def test_the_check_sees_what_cannot_be_read(opened: Any) -> None:
    page = opened("light", 1280)
    page.add_style_tag(content=":root { --ink: #c0c4cc !important; --first: #eef1f5 !important; }")
    faults = page.evaluate(FAULTS, 10.0)
    assert any("cold: hybrid-lora: rgb" in fault for fault in faults)
    assert any(fault.startswith("training: rgb(238, 241, 245)") for fault in faults)
    assert any(fault.endswith(" pixels") for fault in page.evaluate(FAULTS, 40.0))
