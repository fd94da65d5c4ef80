"""A model's digest differs when what decides an answer differs, and only then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from streams.settings import Settings
from streams.worker.pins import model_of

DIGEST = model_of(Settings()).digest


def test_it_is_short_and_the_same_each_time() -> None:
    assert model_of(Settings()).digest == DIGEST
    assert len(bytes.fromhex(DIGEST)) == 6


@pytest.mark.parametrize(
    "changed",
    [
        {"engine": {"k": 20}},
        {"engine": {"kinds": {"view": 0.9}}},
        {"engine": {"model": "gnn"}},
        {"engine": {"aggregator": "int8"}},
        {"events": {"user": "userId", "item": "itemId"}},
        {"worker": {"duplicate_window": 10}},
        {"worker": {"late": "dead-letter"}},
    ],
    ids=str,
)
def test_what_decides_an_answer_changes_it(changed: dict[str, Any]) -> None:
    assert model_of(Settings(**changed)).digest != DIGEST


@pytest.mark.parametrize(
    "changed",
    [
        {"engine": {"text_cache": 7}},
        {"engine": {"board": "192.168.2.99"}},
        {"worker": {"grace_seconds": 60.0}},  # late events are applied all the same
        {"worker": {"group": "other", "checkpoint_seconds": 5.0}},
        {"web": {"port": 0}},
    ],
    ids=str,
)
def test_what_decides_none_does_not(changed: dict[str, Any]) -> None:
    assert model_of(Settings(**changed)).digest == DIGEST


def test_a_board_answers_as_int8_does() -> None:
    digests = {model_of(Settings(engine={"aggregator": a})).digest for a in ("int8", "pynq")}
    assert len(digests) == 1


def test_a_trained_model_counts_by_its_content(tmp_path: Path) -> None:
    found = []
    for name, content in (("a", "1"), ("b", "1"), ("c", "2")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.json").write_text(content)
        found.append(model_of(Settings(engine={"trained": str(tmp_path / name)})).digest)
    assert found[0] == found[1] != found[2]
    assert DIGEST not in found
