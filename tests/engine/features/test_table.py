"""The table of features: what it says is what the engine does, and what the docs show."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from engine import EngineSettings, Recommender
from engine.features.table import (
    FEATURE_NAMES,
    INITIAL_WEIGHTS,
    PART_NAMES,
    PART_ROWS,
    TABLE,
    markdown,
    part_rows,
    row,
)
from tests.engine.builders import known, mixed

RANKING = Path(__file__).parents[3] / "docs" / "ranking.md"


def test_the_docs_show_the_table() -> None:
    assert markdown() in RANKING.read_text(), "docs/ranking.md: python -m engine.features.table"


def test_names_are_unique_and_say_their_row() -> None:
    assert [row(name) for name in FEATURE_NAMES] == list(range(len(TABLE)))
    with pytest.raises(ValueError, match="not in tuple"):
        row("hour")


def test_the_rows_of_a_part_are_next_to_each_other() -> None:
    for part, (first, end) in enumerate(PART_ROWS):
        assert {feature.part for feature in TABLE[first:end]} == {part}
    assert (PART_ROWS[0][0], PART_ROWS[-1][1]) == (0, len(TABLE))
    for wrong in (TABLE[1:] + TABLE[:1], TABLE[::-1], TABLE[: PART_ROWS[-1][0]]):
        with pytest.raises(ValueError, match=PART_NAMES[0]):
            part_rows(wrong)


@pytest.mark.parametrize("feature", TABLE, ids=FEATURE_NAMES)
def test_the_kernel_that_is_named_is_there(feature) -> None:  # type: ignore[no-untyped-def]
    module, _, name = feature.kernel.rpartition(".")
    assert callable(getattr(import_module(f"engine.{module}"), name))


def test_a_new_engine_has_the_initial_weights_in_the_constant_context() -> None:
    weights = Recommender(EngineSettings()).head.weights
    assert weights[:, 0].tolist() == list(INITIAL_WEIGHTS)
    assert not weights[:, 1:].any()


def test_features_stay_within_the_range_and_fixed_weights_fixed() -> None:
    made = known(EngineSettings(excludes=["purchase"]))
    low = np.array([feature.low for feature in TABLE], np.float32)[:, None]
    high = np.array([feature.high for feature in TABLE], np.float32)[:, None]
    looked_at = 0
    for event in mixed(events=300):
        made.observe(event)
        user, candidates, _ = made.scratch.kept.tolist()
        if user >= 0:
            features = made.scratch.features[:, :candidates]
            assert np.isfinite(features).all()
            outside = ((features < low) | (features > high)).any(1)
            assert not outside.any(), [n for n, o in zip(FEATURE_NAMES, outside, strict=True) if o]
            looked_at += 1
    assert looked_at > 200
    moved = (made.head.weights[:, 0] != INITIAL_WEIGHTS).tolist()
    assert moved == [feature.learnt for feature in TABLE]
