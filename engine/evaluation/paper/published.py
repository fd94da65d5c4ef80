"""What arXiv 2507.01035 states of each configuration, as far as a source is at hand.

Only its abstract is publicly quoted word for word; the rest of what is here was taken from the
tables by those who set this project its task. What neither gives is left out and never guessed.
"""

from __future__ import annotations

from typing import Any

PAPER = "arXiv 2507.01035"
ABSTRACT = f"{PAPER}, abstract"
TABLES = f"{PAPER}, Tables 2 to 4, as quoted in this project's task"

PUBLISHED: dict[str, dict[str, dict[str, Any]]] = {
    "hybrid": {
        "training_hours": {"value": 11.3, "source": TABLES},
    },
    "hybrid-int8": {
        "latency_ms": {"value": 95.0, "source": TABLES},
    },
    "hybrid-distilled": {
        "latency_ms": {"value": 85.0, "source": TABLES},
    },
    "hybrid-lora": {
        "training_hours": {"value": 3.8, "source": ABSTRACT},
    },
    "hybrid-fpga-deepspeed": {
        "latency_ms": {"value": [40.0, 60.0], "source": ABSTRACT},
        "precision@10": {"value": 0.80, "source": TABLES},
        "recall@10": {"value": 0.65, "source": TABLES},
        "ndcg@10": {"value": 0.75, "source": ABSTRACT},
        "accuracy_gain_percent": {"value": 13.6, "source": ABSTRACT},
    },
}
"""By recipe: figures by name, each with its value (a list is a range) and its source."""

TRAINING_RATIO = {"hybrid-lora": 3.8 / 11.3}
"""Training time as a share of `hybrid`'s: both figures above."""

DIFFERENCES = (
    "Hardware. Ours is the machine named with the figures: CPUs alone, no GPU, no FPGA card. "
    "Milliseconds and hours are therefore no reproduction; ratios between rows of one run are "
    "what can be compared.",
    "Data set. The one named with the figures; which of its rows the paper used, it does not say "
    "in what is at hand.",
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
