"""The report as tables of text, for the terminal and for the page alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from engine.evaluation.paper.comparisons import QUESTIONS, claimed
from engine.evaluation.paper.published import BASE, COMPARED, MEASURES

NOT_STATED = "not stated"
NOT_MEASURED = "–"


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
    """The paper's three tables beside ours, then all that was measured, in detail."""
    accuracy = [
        _accuracy(report, split, part)
        for split in ("random", "temporal")
        for part in ("all", "ten_or_more")
    ]
    papers = [_paper_training(report), _paper_latency(report), _paper_accuracy(report)]
    claims = [_claims(report, split) for split in ("random", "temporal")]
    claims = [table for table in claims if table.rows]
    rest = [_catalogue(report), _online(report), _training(report), _latency(report)]
    return [*papers, *claims, *accuracy, *rest]


def _paper_rows(report: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """The paper's rows in its order, measured here or not, then those that are ours alone."""
    measured = {row["recipe"]: row for row in report["rows"]}
    return [(name, measured.get(name, {})) for name in {**report["published"], **measured}]


def _paper_training(report: Mapping[str, Any]) -> Table:
    rows = [
        [
            name,
            *_stated(report, name, "training_hours"),
            _seconds(row.get("training_seconds"), row.get("training_seconds_sd")),
            _own_ratio(row, "training_seconds"),
        ]
        for name, row in _paper_rows(report)
    ]
    return Table(
        "The paper's Table 2: training time",
        f"× is the share of {BASE}'s, in the paper's column of the paper's {BASE}, in ours of "
        "ours. Hardware differs, so only × can be compared.",
        ["", "paper, h", "×", "ours, s", "×"],
        rows,
    )


def _paper_latency(report: Mapping[str, Any]) -> Table:
    rows = []
    for name, row in _paper_rows(report):
        found = row.get("latency_ms") or {}
        cells = []
        for kind in ("cold", "warm"):
            one = found.get(kind)
            cells += [
                f"{one['mean']:.2f} ± {one['sd']:.2f}" if one else NOT_MEASURED,
                _own_ratio(row, f"{kind}_ms"),
            ]
        rows.append([name, *_stated(report, name, "latency_ms"), *cells])
    return Table(
        "The paper's Table 3: latency of one request",
        "Cold, with a text encoded in the path, is what the paper seems to mean; warm is how "
        f"Millrace serves. × is the share of {BASE}'s.",
        ["", "paper, ms", "×", "cold, ms", "×", "warm, ms", "×"],
        rows,
    )


def _paper_accuracy(report: Mapping[str, Any]) -> Table:
    rows = [[row["recipe"], "", "", *_own_accuracy(row)] for row in report["references"]]
    for name, row in _paper_rows(report):
        stated = [_stated(report, name, measure) for measure in MEASURES]
        rows.append(
            [name, *(_slashed(cells) for cells in zip(*stated, strict=True)), *_own_accuracy(row)]
        )
    return Table(
        "The paper's Table 4: P@10 / R@10 / NDCG@10",
        "Ours: random split, users with ten or more held-out items, the only ones with whom the "
        f"paper's figures can be compared; deviations are below. × is the share of {BASE}'s.",
        ["", "paper", "×", "ours", "×"],
        rows,
    )


def _own_accuracy(row: Mapping[str, Any]) -> tuple[str, str]:
    split, part = COMPARED
    found = (row["accuracy"][split] or {}).get(part, {}) if row else {}
    return (
        _slashed(_plain(found.get(name), ".3f").removeprefix("0") for name in MEASURES),
        _slashed(_own_ratio(row, name) for name in MEASURES),
    )


def _slashed(cells: Iterable[str]) -> str:
    """Cells in one; only one of them where all say that there is nothing."""
    found = list(cells)
    return found[0] if set(found) in ({NOT_STATED}, {NOT_MEASURED}, {""}) else " / ".join(found)


def _claims(report: Mapping[str, Any], split: str) -> Table:
    """The paper's claims, each with our difference and whether it is shown."""
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for one in report["comparisons"]:
        if one["split"] == split:
            claim = cells.setdefault((one["better"], one["worse"]), {})
            claim[one["question"]] = _difference(one["measures"]["ndcg@10"])
    rows = []
    for (better, worse), found in cells.items():
        stated = claimed(better, worse)
        rows.append(
            [
                f"{better} > {worse}",
                _slashed(_signed(stated[name], 2) if stated else NOT_STATED for name in MEASURES),
                *(found.get(question, NOT_MEASURED) for question in QUESTIONS),
            ]
        )
    return Table(
        f"Claims, {split} split: difference of NDCG@10",
        report["protocol"]["comparisons"],
        ["", "paper P/R/NDCG", "all users", "ten or more items", "whole catalogue"],
        rows,
    )


def _difference(one: Mapping[str, Any]) -> str:
    interval = f"[{_signed(one['low'], 4)}, {_signed(one['high'], 4)}]"
    p = "< .001" if one["p_adjusted"] < 0.001 else f"= {_short(one['p_adjusted'], 3)}"
    return f"{one['verdict']}: {_signed(one['difference'], 4)} {interval}, p {p}"


def _signed(value: float, digits: int) -> str:
    text = _short(abs(value), digits)
    return f"{'−' if value < 0 and float(text) else '+'}{text}"


def _accuracy(report: Mapping[str, Any], split: str, part: str) -> Table:
    rows = []
    for row in [*report["references"], *report["rows"]]:
        found = (row["accuracy"][split] or {}).get(part)
        rows.append([row["recipe"], *(number(found, name) for name in MEASURES)])
    users = "all users" if part == "all" else "users with ten or more held-out items"
    return Table(
        f"Accuracy, {split} split, {users}",
        "The order of the user's own held-out items; relevant from a rating of 4.",
        ["", "P@10", "R@10", "NDCG@10"],
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
        rows.append(
            [
                row["recipe"],
                _seconds(row["training_seconds"], row["training_seconds_sd"]),
                _own_ratio(row, "training_seconds"),
                _seconds(row["seconds_to_quality"], None),
                _own_ratio(row, "seconds_to_quality"),
                _plain(row["epochs"], "d"),
                ", ".join(f"{one:,.0f}" for one in memory) if memory else NOT_MEASURED,
            ]
        )
    return Table(
        "Training",
        "Seconds at the recipe's epochs, and to equal quality (– where that was not reached); "
        "× is the share of hybrid's. What a row builds on (a teacher, what it quantises) counts.",
        ["", "s", "×", "s to quality", "×", "epochs", "MB by rank"],
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
        rows.append([row["recipe"], *cells])
    return Table(
        "Latency of one request, ms",
        f"{report['protocol']['latency']}. CPU: mean CPU time, which others' work does not add to.",
        ["", "cold", "p99", "CPU", "warm", "p99", "CPU"],
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


def _own_ratio(row: Mapping[str, Any], name: str) -> str:
    # Rows differ by thousandths of an accuracy, by hundredths of all else.
    return _plain(row["ratios"][name] if row else None, ".3f" if name in MEASURES else ".2f")


def _stated(report: Mapping[str, Any], recipe: str, name: str) -> tuple[str, str]:
    """What the paper states of a recipe, and its share of the paper's hybrid."""
    figure = report["published"].get(recipe, {}).get(name)
    if figure is None:
        return NOT_STATED, ""
    value = _short(figure["value"], 2) if name in MEASURES else f"{figure['value']:g}"
    deviation = f" ± {figure['sd']:g}" if "sd" in figure else ""
    return value + deviation, f"{figure['ratio']:.2f}"
