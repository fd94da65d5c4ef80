"""The page's charts, as SVG that takes the colours of the page it stands in."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from engine.training import TrainingError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Colours that nothing else in a chart has, each for a variable of the page's style sheet.
INK, FAINT, FIRST, SECOND, PAPER = "#010101", "#020202", "#030303", "#040404", "#050505"
_VARIABLES = {
    INK: "var(--ink)", FAINT: "var(--faint)", FIRST: "var(--first)", SECOND: "var(--second)",
    PAPER: "var(--paper)",
}  # fmt: skip
# Inches at 72 units each: narrow, so that a phone need not shrink the letters.
_WIDTH, _HEIGHT = 5.0, 3.6
SLICE = ("random", "ten_or_more")
"""Split and users of the accuracy charts: what the paper's figures can be compared with."""


def charts_of(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(caption, SVG) of each chart.

    Raises
    ------
    TrainingError
        If matplotlib is missing; the message names the extra.
    """
    rows = [row for row in report["rows"] if not row["error"]]
    return [
        ("Training time, s, with its deviation over seeds", _svg("training", _training, rows)),
        ("Latency of one request, ms, with its deviation", _svg("latency", _latency, rows)),
        (
            "NDCG@10, users with ten or more held-out items, random split; dashed: references",
            _svg("accuracy", lambda axes, rows: _accuracy(axes, rows, report["references"]), rows),
        ),
        (
            "Cold latency and NDCG@10: rows on the line are beaten by no other in both",
            _svg("front", _front, rows),
        ),
    ]


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Places of the points (latency, accuracy) that no other beats in both, by latency."""
    order = sorted(range(len(points)), key=lambda place: (points[place][0], -points[place][1]))
    best, kept = float("-inf"), []
    for place in order:
        if points[place][1] > best:
            best = points[place][1]
            kept.append(place)
    return kept


Draw = Callable[["Axes", Sequence[Mapping[str, Any]]], None]


def _svg(name: str, draw: Draw, rows: Sequence[Mapping[str, Any]]) -> str:
    try:
        import matplotlib  # noqa: PLC0415
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError as error:
        raise TrainingError("the page's charts need matplotlib: pip install '.[paper]'") from error

    style: Any = {
        "svg.fonttype": "none", "svg.hashsalt": name, "font.size": 9, "text.color": INK,
        "axes.labelcolor": INK, "axes.edgecolor": FAINT, "xtick.color": INK, "ytick.color": INK,
        "grid.color": FAINT, "axes.spines.top": False, "axes.spines.right": False,
    }  # fmt: skip
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(_WIDTH, _HEIGHT), layout="constrained")
        axes = figure.add_subplot()
        draw(axes, rows)
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    return _coloured(file.getvalue(), name)


def _coloured(svg: str, name: str) -> str:
    """Without the XML header, colours as variables, ids that no other chart of the page has."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, variable)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(xlink:href="#|url\(#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r' (width|height)="[\d.]+pt"', "", svg, count=2)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{name}" ', 1)


def _bars(axes: Axes, names: Sequence[str]) -> list[int]:
    places = list(range(len(names)))
    axes.set_yticks(places, names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(axis="x", alpha=0.4, linewidth=0.5)
    axes.set_axisbelow(True)
    return places


def _training(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    rows = [row for row in rows if row["training_seconds"] is not None]
    places = _bars(axes, [row["recipe"] for row in rows])
    axes.barh(
        places,
        [row["training_seconds"] for row in rows],
        xerr=[row["training_seconds_sd"] or 0 for row in rows],
        color=FIRST, ecolor=INK, height=0.6,
    )  # fmt: skip
    for place, row in zip(places, rows, strict=True):
        if row["training_seconds_ratio"] is not None:
            axes.annotate(
                f" × {row['training_seconds_ratio']:.2f}",
                (row["training_seconds"] + (row["training_seconds_sd"] or 0), place),
                va="center",
            )
    axes.margins(x=0.3)
    axes.set_xlabel("s (× hybrid)")


def _latency(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    rows = [row for row in rows if row["latency_ms"]]
    places = _bars(axes, [row["recipe"] for row in rows])
    for kind, shift, colour in (("cold", -0.2, FIRST), ("warm", 0.2, SECOND)):
        found = [row["latency_ms"][kind] for row in rows]
        means = [one["mean"] for one in found]
        # On a logarithmic axis a deviation beyond the mean has no lower end.
        lower = [min(one["sd"], 0.9 * one["mean"]) for one in found]
        axes.errorbar(
            means, [place + shift for place in places], xerr=[lower, [one["sd"] for one in found]],
            fmt="o", color=colour, label=kind, markersize=4, capsize=2,
        )  # fmt: skip
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("ms (logarithmic)")
    if rows:
        axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=2)


def _slice(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Measures of a row; a small data set may have no user with ten held-out items."""
    found: Mapping[str, Any] = (row["accuracy"][SLICE[0]] or {}).get(SLICE[1], {"ndcg@10": None})
    return found


def _accuracy(
    axes: Axes, rows: Sequence[Mapping[str, Any]], references: Sequence[Mapping[str, Any]]
) -> None:
    rows = [row for row in rows if _slice(row)["ndcg@10"] is not None]
    places = _bars(axes, [row["recipe"] for row in rows])
    found = [_slice(row) for row in rows]
    axes.errorbar(
        [one["ndcg@10"] for one in found], places,
        xerr=[one["ndcg@10_sd"] or 0 for one in found],
        fmt="o", color=FIRST, markersize=5, capsize=2, label="measured",
    )  # fmt: skip
    stated = [
        (place, (row["paper"] or {})["ndcg@10"]["value"])
        for place, row in zip(places, rows, strict=True)
        if "ndcg@10" in (row["paper"] or {})
    ]
    if stated:
        axes.scatter(
            [value for _, value in stated], [place for place, _ in stated],
            marker="x", color=PAPER, label="paper",
        )  # fmt: skip
    for reference in references:
        value = _slice(reference)["ndcg@10"]
        if value is not None and reference["recipe"] != "oracle":  # it is 1, by definition
            axes.axvline(value, color=FAINT, linestyle="--", linewidth=1)
            axes.annotate(
                reference["recipe"], (value, 0), xycoords=("data", "axes fraction"),
                xytext=(2, 3), textcoords="offset points", rotation=90, fontsize=8,
            )  # fmt: skip
    axes.set_xlabel("NDCG@10")
    if rows:
        axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=2)


def _front(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    rows = [row for row in rows if row["latency_ms"] and _slice(row)["ndcg@10"] is not None]
    points = [(row["latency_ms"]["cold"]["mean"], _slice(row)["ndcg@10"]) for row in rows]
    best = front(points)
    axes.plot(
        [points[place][0] for place in best], [points[place][1] for place in best],
        color=SECOND, linewidth=1, drawstyle="steps-post",
    )  # fmt: skip
    axes.set_xscale("log")
    axes.margins(x=0.2, y=0.15)
    slowest = max((latency for latency, _ in points), default=1.0)
    for row, point in zip(rows, points, strict=True):
        axes.scatter(*point, color=FIRST, s=20)
        left = point[0] > slowest / 3  # room for its name is on the left
        axes.annotate(
            row["recipe"], point, xytext=(-5 if left else 5, 3), textcoords="offset points",
            fontsize=8, ha="right" if left else "left",
        )  # fmt: skip
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("cold, ms (logarithmic)")
    axes.set_ylabel("NDCG@10")
