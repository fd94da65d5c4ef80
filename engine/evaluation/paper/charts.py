"""The page's charts, as SVG that takes the colours of the page it stands in."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from engine.evaluation.paper.published import BASE, COMPARED
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
_LINE = 11.0
"""Points between two lines of labels."""


def charts_of(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(caption, SVG) of each chart.

    Raises
    ------
    TrainingError
        If matplotlib is missing; the message names the extra.
    """
    rows = [row for row in report["rows"] if not row["error"]]
    drawn: list[tuple[str, str, Draw]] = [
        (
            "training",
            f"Training time as a share of {BASE}'s: ours and the paper's",
            lambda axes: _ratios(axes, report, "training_seconds", "training_hours"),
        ),
        (
            "cold",
            f"Cold latency as a share of {BASE}'s: ours and the paper's",
            lambda axes: _ratios(axes, report, "cold_ms", "latency_ms"),
        ),
        (
            "latency",
            "Latency of one request, ms, with its deviation",
            lambda axes: _latency(axes, rows),
        ),
        (
            "accuracy",
            "NDCG@10, users with ten or more held-out items, random split; dashed: references",
            lambda axes: _accuracy(axes, rows, report),
        ),
        (
            "differences",
            f"NDCG@10 less that of {BASE}, random split, with the 95 % interval over users",
            lambda axes: _differences(axes, report["comparisons"]),
        ),
        (
            "front",
            "Cold latency and NDCG@10: rows on the line are beaten by no other in both",
            lambda axes: _front(axes, rows),
        ),
    ]
    return [(caption, _svg(name, draw)) for name, caption, draw in drawn]


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Places of the points (latency, accuracy) that no other beats in both, by latency."""
    order = sorted(range(len(points)), key=lambda place: (points[place][0], -points[place][1]))
    best, kept = float("-inf"), []
    for place in order:
        if points[place][1] > best:
            best = points[place][1]
            kept.append(place)
    return kept


Draw = Callable[["Axes"], None]


def _svg(name: str, draw: Draw) -> str:
    try:
        import matplotlib  # noqa: PLC0415
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError as error:
        raise TrainingError("the page's charts need matplotlib: pip install '.[paper]'") from error

    style: Any = {
        "svg.fonttype": "none", "svg.hashsalt": name, "font.size": 10, "text.color": INK,
        "axes.labelcolor": INK, "axes.edgecolor": FAINT, "xtick.color": INK, "ytick.color": INK,
        "grid.color": FAINT, "axes.spines.top": False, "axes.spines.right": False,
    }  # fmt: skip
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(_WIDTH, _HEIGHT), layout="constrained")
        axes = figure.add_subplot()
        draw(axes)
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


def _ratios(axes: Axes, report: Mapping[str, Any], own: str, stated: str) -> None:
    """Bars of ours and of the paper's, each as a share of its hybrid's."""
    measured = {row["recipe"]: row["ratios"][own] for row in report["rows"] if not row["error"]}
    paper = {
        name: figures[stated]["ratio"]
        for name, figures in report["published"].items()
        if stated in figures
    }
    names = [name for name in {**report["published"], **measured}
             if name in paper or measured.get(name) is not None]  # fmt: skip
    _bars(axes, names)
    for label, shift, colour, values in (
        ("ours", -0.2, FIRST, measured), ("paper", 0.2, PAPER, paper)
    ):  # fmt: skip
        ratios = [(place + shift, values.get(name)) for place, name in enumerate(names)]
        found = [(place, value) for place, value in ratios if value is not None]
        axes.barh(
            [place for place, _ in found], [value for _, value in found],
            color=colour, height=0.36, label=label,
        )  # fmt: skip
        for place, value in found:
            axes.annotate(
                f"{value:.2f}", (value, place), xytext=(3, 0), textcoords="offset points",
                va="center", fontsize=9,
            )  # fmt: skip
    axes.margins(x=0.15)
    axes.set_xlabel(f"× {BASE}")
    _legend(axes)


def _legend(axes: Axes) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=2)


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
    _legend(axes)


def _slice(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Measures of a row; a small data set may have no user with ten held-out items."""
    split, part = COMPARED
    found: Mapping[str, Any] = (row["accuracy"][split] or {}).get(part, {"ndcg@10": None})
    return found


def _accuracy(axes: Axes, rows: Sequence[Mapping[str, Any]], report: Mapping[str, Any]) -> None:
    rows = [row for row in rows if _slice(row)["ndcg@10"] is not None]
    places = _bars(axes, [row["recipe"] for row in rows])
    found = [_slice(row) for row in rows]
    axes.errorbar(
        [one["ndcg@10"] for one in found], places,
        xerr=[one["ndcg@10_sd"] or 0 for one in found],
        fmt="o", color=FIRST, markersize=5, capsize=2, label="measured",
    )  # fmt: skip
    figures = [report["published"].get(row["recipe"], {}).get("ndcg@10") for row in rows]
    stated = [(place, one["value"]) for place, one in zip(places, figures, strict=True) if one]
    axes.scatter(
        [value for _, value in stated], [place for place, _ in stated],
        marker="x", color=PAPER, label="paper",
    )  # fmt: skip
    for reference in report["references"]:
        value = _slice(reference)["ndcg@10"]
        if value is not None and reference["recipe"] != "oracle":  # it is 1, by definition
            axes.axvline(value, color=FAINT, linestyle="--", linewidth=1)
            axes.annotate(
                reference["recipe"], (value, 0), xycoords=("data", "axes fraction"),
                xytext=(2, 3), textcoords="offset points", rotation=90, fontsize=9,
            )  # fmt: skip
    axes.set_xlabel("NDCG@10")
    _legend(axes)


def _differences(axes: Axes, comparisons: Sequence[Mapping[str, Any]]) -> None:
    """Of each row to the base, whichever of the two claims to be better."""
    found: dict[str, dict[str, tuple[float, float, float]]] = {}
    for one in comparisons:
        if one["split"] == COMPARED[0]:
            ndcg = one["measures"]["ndcg@10"]
            values = ndcg["difference"], ndcg["low"], ndcg["high"]
            if one["better"] == BASE:
                values = -values[0], -values[2], -values[1]
            row = one["worse"] if one["better"] == BASE else one["better"]
            found.setdefault(row, {})[one["question"]] = values
    _bars(axes, list(found))
    for label, question, shift, colour in (
        ("all users", "all", -0.15, FIRST), ("ten or more items", COMPARED[1], 0.15, SECOND)
    ):  # fmt: skip
        own = [(place + shift, row.get(question)) for place, row in enumerate(found.values())]
        drawn = [(place, values) for place, values in own if values is not None]
        axes.errorbar(
            [value for _, (value, _, _) in drawn], [place for place, _ in drawn],
            xerr=[[value - low for _, (value, low, _) in drawn],
                  [high - value for _, (value, _, high) in drawn]],
            fmt="o", color=colour, markersize=4, capsize=2, label=label,
        )  # fmt: skip
    axes.axvline(0.0, color=INK, linewidth=0.8)
    axes.locator_params(axis="x", nbins=5)
    axes.set_xlabel(f"NDCG@10 less {BASE}'s")
    if found:
        _legend(axes)


def _front(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    rows = [row for row in rows if row["latency_ms"] and _slice(row)["ndcg@10"] is not None]
    points = [(row["latency_ms"]["cold"]["mean"], _slice(row)["ndcg@10"]) for row in rows]
    best = front(points)
    axes.plot(
        [points[place][0] for place in best], [points[place][1] for place in best],
        color=SECOND, linewidth=1, drawstyle="steps-post",
    )  # fmt: skip
    axes.set_xscale("log")
    axes.margins(x=0.2)
    slowest = max((latency for latency, _ in points), default=1.0)
    heights = _apart(axes, [quality for _, quality in points])
    for row, point, height in zip(rows, points, heights, strict=True):
        axes.scatter(*point, color=FIRST, s=20)
        left = point[0] > slowest / 3  # room for its name is on the left
        axes.annotate(
            row["recipe"], point, xytext=(-12 if left else 12, height), textcoords="offset points",
            fontsize=9, ha="right" if left else "left", va="center",
            arrowprops={"arrowstyle": "-", "color": FAINT, "linewidth": 0.7},
        )  # fmt: skip
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("cold, ms (logarithmic)")
    axes.set_ylabel("NDCG@10")


def _apart(axes: Axes, values: Sequence[float]) -> list[float]:
    """How far above its value each label stands, in points, so that no two share a line."""
    if not values:
        return []
    room = 0.15 * (max(values) - min(values)) or 0.01
    low, high = min(values) - room, max(values) + room
    axes.set_ylim(low, high)
    scale = 0.7 * 72 * _HEIGHT / (high - low)  # the axes are at least so high
    shifts, lowest = [0.0] * len(values), float("-inf")
    for place in sorted(range(len(values)), key=lambda place: values[place]):
        lowest = max((values[place] - low) * scale, lowest + _LINE)
        shifts[place] = lowest - (values[place] - low) * scale
    middle = (max(shifts) + min(shifts)) / 2  # as much below as above
    return [shift - middle for shift in shifts]
