"""No guarded stream ranks below its named tolerance (`benchmarks.streams.guard`)."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.streams import guard
from benchmarks.streams.guard import TOLERANCES, Tolerance, failures, measured

SHARED = Path(__file__).parents[3] / "shared" / "data"


LONG = {"films", "music", "groceries", "clicks"}
"""Scenarios of 5 to 10 s of CPU; `films` are MovieLens 100K, which test_quality.py has whole."""


@pytest.mark.parametrize(
    "tolerance",
    [
        pytest.param(one, id=one.scenario, marks=pytest.mark.long if one.scenario in LONG else ())
        for one in TOLERANCES
    ],
)
def test_a_stream_is_within_its_tolerance(tolerance: Tolerance) -> None:
    row = measured(tolerance, SHARED)
    if row is None:
        pytest.skip(f"{tolerance.data} is not in ../shared/data")
    assert row["queries"] > 1_000
    assert failures(tolerance, row) == []


def test_every_tolerance_can_fail() -> None:
    names = {one.scenario for one in TOLERANCES}
    assert len(names) == len(TOLERANCES)
    assert names >= LONG
    for one in TOLERANCES:
        assert 0 < one.ndcg < one.ratio
        row = {"ratio": one.ratio - 0.01, "millrace": one.ndcg - 0.001, "best_peer_name": "a peer"}
        ratio, ndcg = failures(one, row)
        assert one.scenario in ratio
        assert "a peer" in ratio
        assert str(one.ndcg) in ndcg
        assert failures(one, row | {"ratio": one.ratio, "millrace": one.ndcg}) == []
    assert failures(TOLERANCES[0], row | {"ratio": None, "millrace": 1.0})


def test_the_command_names_what_fails_and_what_is_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    passes = Tolerance("low", "", 300, 0.01, 0.001)
    monkeypatch.setattr(guard, "TOLERANCES", (passes, Tolerance("gone", "gone", 300, 1, 1)))
    assert guard.main([str(tmp_path)]) == 0
    assert "left out  gone" in capsys.readouterr().out
    monkeypatch.setattr(guard, "TOLERANCES", (passes, Tolerance("high", "", 300, 99.0, 0.001)))
    assert guard.main([]) == 1
    told = capsys.readouterr().out
    assert "pass  low" in told
    assert "FAIL  high" in told
