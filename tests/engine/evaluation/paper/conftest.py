"""Trainers whose models warm-start an engine without changing it."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine import Recommender
from engine.evaluation.paper.run import PaperRun
from engine.trained import TrainedModel
from tests.engine.evaluation.paper.stand_in import Trainer, run_of


def in_place_of_warm_starts(trainer: Trainer, patch: pytest.MonkeyPatch) -> None:
    def warm_start(engine: Recommender, model: TrainedModel) -> None:
        trainer.warm_started.append(model)

    patch.setattr(Recommender, "warm_start", warm_start)


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> Trainer:
    """A stand-in; the real models, and what a warm start does, have tests of their own."""
    made = Trainer()
    in_place_of_warm_starts(made, monkeypatch)
    return made


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[PaperRun, Trainer, Path]:
    """A whole run with two seeds, what its trainings were, and its folder; to be looked at only."""
    made = Trainer()
    folder = tmp_path_factory.mktemp("paper")
    with pytest.MonkeyPatch.context() as patch:
        in_place_of_warm_starts(made, patch)
        run = run_of(made, folder)
        for _ in run.run():
            pass
    return run, made.record(), folder
