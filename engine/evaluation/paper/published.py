"""Every figure of Tables 2 to 4 of arXiv 2507.01035, by recipe, and where ours differ and why."""

from __future__ import annotations

from typing import Any

PAPER = "arXiv 2507.01035"
TRAINING, LATENCY, ACCURACY = (f"{PAPER}, Table {number}" for number in (2, 3, 4))
BASE = "hybrid"
"""The row that the others are divided by and compared with."""
MEASURES = ("precision@10", "recall@10", "ndcg@10")
COMPARED = ("random", "ten_or_more")
"""Split and users whose accuracy can be compared with the paper's."""

Figure = dict[str, Any]
"""`value`, `source`, the deviation `sd` where the paper states one, a `note` where its text or a
figure of it says something else."""


def _hours(value: float) -> dict[str, Figure]:
    return {"training_hours": {"value": value, "source": TRAINING}}


def _latency(value: float, sd: float) -> dict[str, Figure]:
    return {"latency_ms": {"value": value, "sd": sd, "source": LATENCY}}


def _accuracy(*values: float) -> dict[str, Figure]:
    return {
        name: {"value": value, "source": ACCURACY}
        for name, value in zip(MEASURES, values, strict=True)
    }


PUBLISHED: dict[str, dict[str, Figure]] = {
    "gnn": _hours(4.5) | _latency(25, 4) | _accuracy(0.68, 0.53, 0.66),
    "llm": _hours(7.2) | _latency(110, 9) | _accuracy(0.65, 0.50, 0.64),
    "hybrid": _hours(11.3) | _latency(140, 12) | _accuracy(0.75, 0.58, 0.66),
    "hybrid-int8": _hours(9.2) | _latency(95, 7) | _accuracy(0.76, 0.60, 0.70),
    "hybrid-distilled": _hours(8.4) | _latency(85, 6) | _accuracy(0.77, 0.61, 0.71),
    "hybrid-lora": _hours(3.8) | _accuracy(0.78, 0.63, 0.72),
    "hybrid-deepspeed": _latency(70, 5),
    "hybrid-fpga-deepspeed": _latency(45, 3) | _accuracy(0.80, 0.65, 0.75),
}
PUBLISHED["hybrid-fpga-deepspeed"]["latency_ms"]["note"] = "the abstract says 40 to 60"
PUBLISHED["hybrid-fpga-deepspeed"]["ndcg@10"]["note"] = (
    "a figure of the paper says .74; the abstract's gain of 13.6 % is this over the hybrid's .66"
)

PAPER_NAMES = {
    "gnn": "GNN only",
    "llm": "LLM only",
    "hybrid": "Hybrid (unoptimised)",
    "hybrid-int8": "Hybrid + quantisation",
    "hybrid-distilled": "Hybrid + distillation",
    "hybrid-lora": "Hybrid + LoRA",
    "hybrid-deepspeed": "Hybrid + DeepSpeed",
    "hybrid-fpga-deepspeed": "Hybrid + FPGA + DeepSpeed",
}
"""What the paper calls each row."""


def published() -> dict[str, dict[str, Figure]]:
    """All figures by recipe, each with its `ratio` to the hybrid's."""
    base = PUBLISHED[BASE]
    return {
        recipe: {
            name: figure | {"ratio": figure["value"] / base[name]["value"]}
            for name, figure in figures.items()
        }
        for recipe, figures in PUBLISHED.items()
    }


DIFFERENCES = (
    "Hardware. Ours is the machine named with the figures: CPUs alone, no GPU, no FPGA card. "
    "Milliseconds and hours are therefore no reproduction; ratios between rows of one run are "
    "what can be compared.",
    "Data set. Ours is the one named with the figures; we do not know which rows of it the paper "
    "used.",
    "Protocol. The paper does not state its split, its candidates or what is relevant. We rank "
    "each user's own held-out items (a fifth, at random or the last), relevant from a rating of "
    "4, and print what a random order, popularity, the item mean and an oracle reach beside it. "
    "Over all users a precision of .80 lies above the oracle, because many users have fewer than "
    "ten test items: only users with ten or more can be compared.",
    "Equation 4. One linear layer on the concatenated user and item embeddings cannot "
    "personalise: the user's part moves the scores of all items alike. Ours has products of the "
    "two parts.",
    "FPGA. No board was at hand: the overlay runs as simulated RTL, bit-exact, and its time on a "
    "device is simulated. The latency of that row is that of the simulation where the row says so.",
    "DeepSpeed. Its ranks are processes on this machine's CPUs, which share cores: they show that "
    "the recipe runs and how memory divides, not that it is faster.",
    "Software. The paper names R 4.4.2; everything here is Python.",
)
"""Where Millrace differs from the paper, and why; printed with the figures."""
