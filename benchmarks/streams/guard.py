"""The small, fast form of `benchmarks.streams` that guards CI: named tolerances for each stream.

    python -m benchmarks.streams.guard [FOLDER]

A guarded stream's ratio to its best peer, and Millrace's own NDCG@10 over the second half, may not
fall below its tolerance. Streams whose data is not there are named as left out; the invented ones
always run. Millrace reads no texts here, and peers of other libraries are not asked for.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.streams.measuring import stream_row
from engine import EngineSettings
from engine.datasets import Dataset, Synthetic, open_dataset

SETTINGS = EngineSettings(model="gnn")


@dataclass(frozen=True)
class Tolerance:
    """What a stream must at least give.

    Attributes
    ----------
    scenario
        Its name, which stays.
    data
        A folder within that of the data sets; empty of an invented stream.
    events
        The first of these are measured.
    ratio, ndcg
        The lowest that pass: some 3 % below what was measured when they were set.
    seed
        Of the order of ties, and of an invented stream.
    """

    scenario: str
    data: str
    events: int
    ratio: float
    ndcg: float
    seed: int = 0

    def dataset(self, folder: Path | None) -> Dataset | None:
        """The stream, or None if its data is not there."""
        if not self.data:
            return Synthetic(events=self.events, seed=self.seed)
        if folder is None or not (folder / self.data).exists():
            return None
        return open_dataset(folder / self.data, seed=self.seed)


TOLERANCES: tuple[Tolerance, ...] = (
    Tolerance("invented", "", 3_000, 1.11, 0.214),
    Tolerance("invented, another seed", "", 3_000, 0.99, 0.197, seed=1),
    Tolerance("films", "ml-100k", 4_000, 1.74, 0.094),
    Tolerance("clicks", "yoochoose", 4_000, 0.85, 0.123),
    Tolerance("groceries", "groceries", 6_000, 0.88, 0.157),
    Tolerance("gift cards", "amazon-gift-cards", 3_000, 0.92, 0.186),
    Tolerance("music", "lastfm-recbole", 4_000, 0.95, 0.07),
)


def measured(tolerance: Tolerance, folder: Path | None) -> dict[str, Any] | None:
    """The row of a guarded stream (`measuring.stream_row`); None if its data is not there."""
    dataset = tolerance.dataset(folder)
    if dataset is None:
        return None
    return stream_row(dataset, SETTINGS, limit=tolerance.events, libraries=False)


def failures(tolerance: Tolerance, row: dict[str, Any]) -> list[str]:
    """What fell below a stream's tolerance, in words."""
    name, found = tolerance.scenario, []
    if row["ratio"] is None or row["ratio"] < tolerance.ratio:
        found.append(
            f"{name}: {row['ratio']} of {row['best_peer_name']}, at least {tolerance.ratio} is "
            "expected"
        )
    if row["millrace"] < tolerance.ndcg:
        found.append(f"{name}: NDCG@10 {row['millrace']}, at least {tolerance.ndcg} is expected")
    return found


def main(arguments: Sequence[str]) -> int:
    """Measure all guarded streams; returns 1 if one fell below its tolerance."""
    folder = Path(arguments[0]) if arguments else None
    failed = 0
    for tolerance in TOLERANCES:
        row = measured(tolerance, folder)
        if row is None:
            print(f"left out  {tolerance.scenario}: no {tolerance.data}")
            continue
        wrong = failures(tolerance, row)
        failed += bool(wrong)
        print(
            f"{'FAIL' if wrong else 'pass'}  {tolerance.scenario}: NDCG@10 {row['millrace']:.4f} "
            f"(at least {tolerance.ndcg}), {row['ratio']} of {row['best_peer_name']} (at least "
            f"{tolerance.ratio}), {row['queries']:,} queries"
        )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
