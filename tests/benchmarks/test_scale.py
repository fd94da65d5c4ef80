"""The scale benchmark in small: what it fills, and what it reports."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from rich.console import Console

from benchmarks.scale import bytes_per_user, interactions, measure_dataset, measure_size
from engine import EngineSettings


def test_a_row_says_what_was_measured() -> None:
    row = measure_size(400, EngineSettings(), Console(quiet=True))
    assert (row["items"], row["users"], row["events_before"]) == (400, 400, 4000)
    assert 0 < row["total_us"]["p50"] <= row["total_us"]["p99"]
    assert row["bytes_per_user"] == bytes_per_user(EngineSettings())
    assert (row["exact"], row["recall_at_10"]) == (True, 1)


def test_a_row_of_named_candidates_says_how_much_of_the_best_they_have() -> None:
    settings = EngineSettings(exact_items=100, candidates=100)
    row = measure_size(1_200, settings, Console(quiet=True))
    assert not row["exact"]
    assert 0.6 < row["recall_at_10"] < 1


def test_a_data_set_is_measured_event_by_event_and_in_batches(tmp_path: Path) -> None:
    lines = [f"{n % 5}\t{n % 7}\t{1 + n % 5}\t{880_000_000 + n}" for n in range(300)]
    (tmp_path / "u.data").write_text("\n".join(lines) + "\n")
    row = measure_dataset(tmp_path, EngineSettings(model="gnn"), Console(quiet=True))
    assert (row["items"], row["users"]) == (7, 5)
    assert 0 < row["total_us"]["p50"] <= row["total_us"]["p99"]
    assert row["batch_events_per_second"] > 0


def test_the_history_is_of_real_like_degrees() -> None:
    stream = list(interactions(np.random.default_rng(0), 2000, 20_000))
    for side in ("user", "item"):
        _, degrees = np.unique([getattr(event, side) for event in stream], return_counts=True)
        degrees = np.sort(degrees)[::-1]
        assert degrees[:20].sum() > 0.03 * len(stream)
        assert degrees[0] > 10 * np.median(degrees)
