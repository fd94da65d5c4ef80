"""`millrace evaluate --page`: the report as one file of HTML, for whoever wants to see it.

The charts are drawn by uPlot, which is written into the file: it needs nothing beside itself.
"""

from __future__ import annotations

import json
from html import escape
from importlib.resources import files
from typing import Any

_CHARTS = (
    ("Quality: mean NDCG@10 of the queries of a window", "", (
        ("ndcg@10", "Millrace", "#2563eb"),
        ("popularity", "most popular", "#9ca3af"),
        ("recent_popularity", "popular lately", "#d97706"),
    )),
    ("Time for an event", "µs", (("p50", "p50", "#2563eb"), ("p99", "p99", "#d97706"))),
    ("Coverage: different items shown so far", "", (("items_shown", "items", "#2563eb"),)),
)  # fmt: skip
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { text-align: right; padding: .25rem 1rem .25rem 0; }
th:first-child, td:first-child { text-align: left; }
.u-legend { font-size: .85rem; }
"""
_SCRIPT = """
for (const chart of DATA.charts) {
  const node = document.createElement("section");
  const heading = document.createElement("h2");
  heading.textContent = chart.title;
  node.append(heading);
  document.body.append(node);
  const series = chart.series.map(([name, colour]) => ({ label: name, stroke: colour, width: 2 }));
  const value = (_, raw) => raw === null ? "" : String(raw);
  const axis = { label: chart.unit, size: 70 };
  new uPlot({
    width: Math.min(900, node.clientWidth || 900), height: 280, scales: { x: { time: false } },
    series: [{ label: "events" }, ...series.map((each) => ({ ...each, value, spanGaps: true }))],
    axes: [{}, axis],
  }, [DATA.events, ...chart.values], node);
}
"""


def page_of(report: dict[str, Any]) -> str:
    """The page of a report of `engine.evaluation.evaluate.evaluate_dataset`."""
    windows = [
        quality | latency
        for quality, latency in zip(
            report["over_time"], report["latency_us_over_time"], strict=True
        )
    ]
    charts = [
        {
            "title": title,
            "unit": unit,
            "series": [(label, colour) for _, label, colour in series],
            "values": [[window[name] for window in windows] for name, _, _ in series],
        }
        for title, unit, series in _CHARTS
    ]
    data = {"events": [window["events"] for window in windows], "charts": charts}
    static = files("streams.web").joinpath("static")
    script = static.joinpath("uPlot.iife.min.js").read_text()
    return "\n".join(
        (
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(report['data'])}</title>",
            f"<style>{static.joinpath('uPlot.min.css').read_text()}{_STYLE}</style></head><body>",
            f"<h1>Millrace on {escape(report['data'])}</h1>",
            _told(report),
            _table(report),
            f"<script>{script}</script>",
            f"<script>const DATA = {_embedded(data)};{_SCRIPT}</script>",
            "</body></html>\n",
        )
    )


def _told(report: dict[str, Any]) -> str:
    better = report["ndcg@10"] / max(report["baselines"]["popularity"]["ndcg@10"], 1e-9)
    share = f"{report['coverage@10']:.0%} of the items were shown to somebody"
    return (
        f"<p>{report['events']:,} events of {report['users']:,} users with {report['items']:,} "
        "items. Each event was ranked before it was learnt, by a list of what was new to its user. "
        f"The NDCG@10 is {report['ndcg@10']:.4f} ± {1.96 * report['standard_error']:.4f}, "
        f"{better:,.1f} times that of the most popular items; {share}.</p>"
    )


def _table(report: dict[str, Any]) -> str:
    rows = {"Millrace": report, "Millrace, second half": report["second_half"]}
    rows |= {name.replace("_", " "): row for name, row in report["baselines"].items()}
    lines = [
        f"<tr><td>{escape(name)}</td><td>{row['ndcg@10']:.4f}</td><td>{row['hr@10']:.4f}</td>"
        f"<td>{row['mrr@10']:.4f}</td><td>{row['queries']:,}</td></tr>"
        for name, row in rows.items()
    ]
    head = "<tr><th></th><th>NDCG@10</th><th>Hit rate@10</th><th>MRR@10</th><th>queries</th></tr>"
    return f"<table>{head}{''.join(lines)}</table>"


def _embedded(data: Any) -> str:
    """JSON that may stand in a script: nothing in it can end the element."""
    return json.dumps(data).replace("<", "\\u003c")
