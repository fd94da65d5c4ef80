"""The report as one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from engine.evaluation.paper.charts import charts_of
from engine.evaluation.paper.tables import Table, tables_of, warnings_of

STYLE = """
:root { color-scheme: light dark; --ink: #1d2330; --faint: #9aa3b2; --back: #ffffff;
  --card: #f4f6f9; --first: #1f6feb; --second: #c2410c; --paper: #7c3aed; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ef; --faint: #6b7484; --back: #11151c;
  --card: #1a202a; --first: #6cb0ff; --second: #ff9b5e; --paper: #c4a1ff; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 1rem; background: var(--back);
  color: var(--ink); font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; line-height: 1.25; } h2 { font-size: 1.15rem; margin: 2rem 0 .25rem; }
p, li { max-width: 48rem; } small, figcaption, .note { color: var(--ink); opacity: .8; }
figcaption, .note { font-size: .875rem; }
.charts { display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); }
figure { margin: 0; padding: .75rem; background: var(--card); border-radius: .5rem; }
figure svg { width: 100%; height: auto; display: block; }
figure svg text { font-family: inherit !important; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }
th, td { padding: .3rem .75rem .3rem 0; text-align: right; white-space: nowrap;
  border-bottom: 1px solid color-mix(in srgb, var(--faint) 45%, transparent); }
th:first-child, td:first-child { text-align: left; }
td.long { white-space: normal; min-width: 12rem; }
.warning { padding: .75rem; border: 2px solid var(--second); border-radius: .5rem; }
"""


_LONG = 36
"""Characters of a table's cell above which it takes several lines."""


def page_of(report: Mapping[str, Any]) -> str:
    """The whole page. Charts and style are inside it; it names no outside address.

    Raises
    ------
    TrainingError
        If what draws the charts is not installed.
    """
    title = f"{report['paper']}, measured by Millrace"
    charts = "".join(
        f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"
        for caption, svg in charts_of(report)
    )
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>",
            f"<h1>{escape(title)}</h1>",
            *(f'<p class="warning">{escape(text)}</p>' for text in warnings_of(report)),
            f'<div class="charts">{charts}</div>',
            *map(_table, tables_of(report)),
            "<h2>Where we differ from the paper, and why</h2>",
            _list(report["differences"]),
            "<h2>How it was measured</h2>",
            _terms({name.replace("_", " "): text for name, text in report["protocol"].items()}),
            "<h2>Notes on the rows</h2>",
            _terms({row["recipe"]: _notes(row) for row in report["rows"]}),
            "<h2>What the paper states, and where</h2>",
            _list(_stated(report)),
            f'<p class="note">{escape(_origin(report))}</p>',
            "</body></html>\n",
        ]
    )


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in table.columns)
    rows = "".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in table.rows)
    return (
        f'<h2>{escape(table.title)}</h2><p class="note">{escape(table.note)}</p>'
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
        "</div>"
    )


def _cell(text: str) -> str:
    return f"<td{' class=long' if len(text) > _LONG else ''}>{escape(text)}</td>"


def _list(lines: list[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"


def _terms(pairs: Mapping[str, str]) -> str:
    return (
        "<ul>"
        + "".join(f"<li><b>{escape(term)}</b>: {escape(text)}</li>" for term, text in pairs.items())
        + "</ul>"
    )


def _notes(row: Mapping[str, Any]) -> str:
    lines = [row["description"], *row["notes"]]
    if row["error"]:
        lines.append(f"Not measured: {row['error']}")
    return " ".join(line if line.endswith(".") else f"{line}." for line in lines if line)


def _stated(report: Mapping[str, Any]) -> list[str]:
    """Every figure of the paper, with what it says beside it elsewhere."""
    lines = []
    for recipe, figures in report["published"].items():
        by_source: dict[str, list[str]] = {}
        for name, figure in figures.items():
            deviation = f" ± {figure['sd']:g}" if "sd" in figure else ""
            note = f" ({figure['note']})" if "note" in figure else ""
            shown = f"{name.replace('_', ' ')} {figure['value']:g}{deviation}{note}"
            by_source.setdefault(figure["source"], []).append(shown)
        stated = "; ".join(f"{source}: {', '.join(found)}" for source, found in by_source.items())
        lines.append(f'{recipe} is its "{report["paper_names"][recipe]}". {stated}.')
    return lines


def _origin(report: Mapping[str, Any]) -> str:
    seeds = ", ".join(str(seed) for seed in report["seeds"])
    packages = ", ".join(f"{name} {version}" for name, version in report["packages"].items())
    return (
        f"Data: {report['data']}, SHA-256 {report['data_sha256']}. Seeds: {seeds}. "
        f"Millrace {report['version']}. Machine: {report['machine']}. {packages}."
    )
