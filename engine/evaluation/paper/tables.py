"""The report as tables of text, for the terminal and for the page alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

NOT_STATED = "not stated here"
NOT_MEASURED = "–"
MEASURES = ("precision@10", "recall@10", "ndcg@10")


class Table(NamedTuple):
    """A titled table; the first column names the row."""

    title: str
    note: str
    columns: list[str]
    rows: list[list[str]]


def warnings_of(report: Mapping[str, Any]) -> list[str]:
    """What a reader must know before the figures."""
    warnings = []
    if report["quick"]:
        warnings.append(
            "A quick run: few epochs, one seed, the random split alone. Its figures show that "
            "every row runs, not what it reaches."
        )
    if not report["complete"]:
        warnings.append("This run was interrupted: what is missing is still to be measured.")
    return warnings


def tables_of(report: Mapping[str, Any]) -> list[Table]:
    """Accuracy on both splits, the whole catalogue, training and latency."""
    accuracy = [
        _accuracy(report, split, part)
        for split in ("random", "temporal")
        for part in ("all", "ten_or_more")
    ]
    return [*accuracy, _catalogue(report), _online(report), _training(report), _latency(report)]


def _accuracy(report: Mapping[str, Any], split: str, part: str) -> Table:
    rows = []
    for row in [*report["references"], *report["rows"]]:
        found = (row["accuracy"][split] or {}).get(part)
        rows.append(
            [row["recipe"], *(number(found, name) for name in MEASURES), _paper_accuracy(row)]
        )
    users = "all users" if part == "all" else "users with ten or more held-out items"
    return Table(
        f"Accuracy, {split} split, {users}",
        "The order of the user's own held-out items; relevant from a rating of 4."
        + (" The paper's figures can be compared with this slice alone." if part != "all" else ""),
        ["", "P@10", "R@10", "NDCG@10", "paper P/R/NDCG"],
        rows,
    )


def _catalogue(report: Mapping[str, Any]) -> Table:
    rows = [
        [
            row["recipe"],
            *(
                number(row["full_ranking"][split], name)
                for split in ("random", "temporal")
                for name in ("recall@10", "ndcg@10")
            ),
        ]
        for row in [*report["references"], *report["rows"]]
    ]
    return Table(
        "Whole catalogue",
        "All items that the user did not rate in training compete for ten places.",
        ["", "R@10 random", "NDCG@10 random", "R@10 temporal", "NDCG@10 temporal"],
        rows,
    )


def _online(report: Mapping[str, Any]) -> Table:
    rows = []
    for row in report["rows"]:
        online = row["prequential"] or {}
        gain = online.get("gain")
        rows.append(
            [
                row["recipe"],
                number(online, "ndcg@10", 4),
                number(online.get("without"), "ndcg@10", 4),
                NOT_MEASURED if gain is None else f"{gain:+.1%}",
            ]
        )
    for row in report["references"]:
        if row["prequential"]:
            rows.append([row["recipe"], number(row["prequential"], "ndcg@10", 4), "", ""])
    return Table(
        "Warm start of the online engine",
        "Prequential NDCG@10 over the second half by time, with a model that was trained on the "
        "first half and without; the engine learnt the first half online in both cases.",
        ["", "NDCG@10", "without", "gain"],
        rows,
    )


def _training(report: Mapping[str, Any]) -> Table:
    rows = []
    for row in report["rows"]:
        memory = row["memory_mb_per_rank"]
        hours, ratio = _paper(row, "training_hours", " h"), _paper(row, "training_ratio")
        rows.append(
            [
                row["recipe"],
                _seconds(row["training_seconds"], row["training_seconds_sd"]),
                _plain(row["training_seconds_ratio"], ".2f"),
                _seconds(row["seconds_to_quality"], None),
                _plain(row["seconds_to_quality_ratio"], ".2f"),
                _plain(row["epochs"], "d"),
                ", ".join(f"{one:,.0f}" for one in memory) if memory else NOT_MEASURED,
                hours if ratio == NOT_STATED else f"{hours}, × {ratio}",
            ]
        )
    return Table(
        "Training",
        "Seconds at the recipe's epochs, and to equal quality (– where that was not reached); "
        "× is the share of hybrid's. What a row builds on (a teacher, what it quantises) counts.",
        ["", "s", "×", "s to quality", "×", "epochs", "MB by rank", "paper"],
        rows,
    )


def _latency(report: Mapping[str, Any]) -> Table:
    rows = []
    for row in report["rows"]:
        found = row["latency_ms"] or {}
        cells = []
        for kind in ("cold", "warm"):
            one = found.get(kind)
            cells += (
                [f"{one['mean']:.2f} ± {one['sd']:.2f}", f"{one['p99']:.2f}", f"{one['cpu']:.2f}"]
                if one
                else [NOT_MEASURED] * 3
            )
        rows.append([row["recipe"], *cells, _paper(row, "latency_ms", " ms")])
    return Table(
        "Latency of one request, ms",
        f"{report['protocol']['latency']}. CPU: mean CPU time, which others' work does not add to.",
        ["", "cold", "p99", "CPU", "warm", "p99", "CPU", "paper"],
        rows,
    )


def number(found: Mapping[str, Any] | None, name: str, digits: int = 3) -> str:
    """A measure with its deviation, as in `.865 ± .003`."""
    if not found or found.get(name) is None:
        return NOT_MEASURED
    deviation = found.get(f"{name}_sd")
    text = _short(found[name], digits)
    return text if deviation is None else f"{text} ± {_short(deviation, digits)}"


def _short(value: float, digits: int) -> str:
    return f"{value:.{digits}f}".removeprefix("0")


def _seconds(value: float | None, deviation: float | None) -> str:
    if value is None:
        return NOT_MEASURED
    return f"{value:,.1f}" + ("" if deviation is None else f" ± {deviation:,.1f}")


def _plain(value: float | None, form: str) -> str:
    return NOT_MEASURED if value is None else format(value, form)


def _paper_accuracy(row: Mapping[str, Any]) -> str:
    cells = [_paper(row, name) for name in MEASURES]
    return cells[0] if len(set(cells)) == 1 else " / ".join(cells)


def _paper(row: Mapping[str, Any], name: str, unit: str = "") -> str:
    """What the paper states; a reference is not in the paper at all."""
    if "error" not in row:
        return ""
    stated = (row["paper"] or {}).get(name)
    if stated is None:
        return NOT_STATED
    value: float | Sequence[float] = stated["value"]
    if isinstance(value, Sequence):
        return "–".join(f"{one:g}" for one in value) + unit
    return f"{value:g}{unit}" if unit else _short(value, 2)
