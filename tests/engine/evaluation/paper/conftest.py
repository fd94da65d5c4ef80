"""Trainers whose models warm-start an engine without changing it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine import Recommender
from engine.evaluation.paper.run import PaperRun
from engine.trained import TrainedModel
from tests.engine.evaluation.paper.stand_in import Trainer, run_of


@pytest.fixture(scope="session")
def trainer_of_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trainer]:
    """A stand-in; the real models, and what a warm start does, have tests of their own."""
    made = Trainer()

    def warm_start(engine: Recommender, model: TrainedModel) -> None:
        made.warm_started.append(model)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Recommender, "warm_start", warm_start)
        yield made


@pytest.fixture
def trainer(trainer_of_all: Trainer) -> Trainer:
    """The stand-in, with nothing on its record."""
    trainer_of_all.reset()
    return trainer_of_all


@pytest.fixture(scope="session")
def finished(
    trainer_of_all: Trainer, tmp_path_factory: pytest.TempPathFactory
) -> tuple[PaperRun, Trainer, Path]:
    """A whole run with two seeds, what its trainings were, and its folder; to be looked at only."""
    trainer_of_all.reset()
    folder = tmp_path_factory.mktemp("paper")
    run = run_of(trainer_of_all, folder)
    for _ in run.run():
        pass
    return run, trainer_of_all.record(), folder
