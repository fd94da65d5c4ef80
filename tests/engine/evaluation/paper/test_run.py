"""The run: no test data in any training, nothing done twice, no row held up by another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from engine.evaluation.holdout import ratings, split_by_time
from engine.evaluation.paper.plan import PARTS
from engine.evaluation.paper.run import PaperRun
from engine.evaluation.protocol import own_queries
from engine.training import TrainingError
from tests.engine.evaluation.paper.stand_in import RATED, RECIPES, Trainer, recipe, run_of

Finished = tuple[PaperRun, Trainer, Path]
TRAININGS = len(PARTS) * len(RECIPES)
"""Of one seed."""


def finish(run: PaperRun) -> list[str]:
    return list(run.run())


def test_no_training_is_given_what_its_model_is_asked(finished: Finished) -> None:
    _, trainer, _ = finished
    rated = {(one.user, str(one.item)) for one in ratings(RATED, "synthetic")}
    judged = [call for call in trainer.calls if call.asked]
    assert {(call.recipe, call.seed) for call in judged} == {
        (one.name, seed) for one in RECIPES for seed in (0, 1)
    }
    assert len(judged) == 2 * 2 * len(RECIPES), "a random and a temporal split each"
    for call in judged:
        assert call.given.isdisjoint(call.asked)
        assert call.given < rated
        held = [one for one in ratings(RATED, "") if (one.user, str(one.item)) not in call.given]
        wanted = {(one.user, item) for one in own_queries(held) for item in one.items}
        assert call.asked == wanted, "all that was held out is asked, of users who can be asked"
        assert not call.validate


def test_a_validated_training_sees_no_more_than_one_that_is_tested(finished: Finished) -> None:
    _, trainer, _ = finished
    validated = [call for call in trainer.calls if call.validate]
    assert len(validated) == 2 * len(RECIPES)
    for call in validated:
        assert not call.asked, "its quality is measured within training"
        tested = [one for one in trainer.calls if one.asked and one.seed == call.seed]
        assert any(call.interactions == one.interactions for one in tested)


def test_a_warm_start_knows_the_first_half_alone(finished: Finished) -> None:
    run, trainer, _ = finished
    halves = split_by_time(RATED)
    given = [call for call in trainer.calls if call.interactions == halves.train]
    assert len(given) == len(trainer.warm_started) == 2 * len(RECIPES)
    assert max(one.timestamp for one in halves.train) <= min(one.timestamp for one in halves.test)
    # The stand-in changes nothing, so the engine answers as without it.
    assert run.trained["gnn", "first_half", 0]["prequential"] == run.online[32]
    assert run.online[32]["engine"]["queries"] > 200


def test_a_student_is_given_its_teacher_of_the_same_data_and_seed(finished: Finished) -> None:
    _, trainer, _ = finished
    for call in trainer.calls:
        if call.recipe != "hybrid-distilled":
            assert call.start is None
            continue
        (teacher,) = [one for one in trainer.calls if one.folder == call.start]
        assert teacher.recipe == "hybrid"
        assert (teacher.interactions, teacher.seed) == (call.interactions, call.seed)


def test_what_a_row_builds_on_is_trained_on_the_same_part_where_it_is_no_row(
    trainer: Trainer, tmp_path: Path
) -> None:
    run = run_of(trainer, tmp_path, seeds=1, recipes=[RECIPES[2]])
    finish(run)
    assert [call.recipe for call in trainer.calls] == ["hybrid", "hybrid-distilled"] * len(PARTS)
    for teacher, student in zip(trainer.calls[::2], trainer.calls[1::2], strict=True):
        assert student.start == teacher.folder
        assert student.interactions == teacher.interactions
        assert student.validate == teacher.validate
    assert {name for name, _, _ in run.trained} == {"hybrid-distilled"}


def test_only_the_models_that_are_timed_stay(finished: Finished) -> None:
    run, _, folder = finished
    assert len([one for one in (folder / "models").iterdir() if one.is_dir()]) == len(RECIPES)
    assert run.latencies.keys() == {one.name for one in RECIPES}
    for found in run.latencies.values():
        for kind in ("cold", "warm"):
            assert found[kind]["requests"] == run.amounts.requests
            assert found[kind]["mean"] > 0


def test_what_is_done_is_not_done_again(finished: Finished, trainer: Trainer) -> None:
    first, before, folder = finished
    assert len(before.calls) == TRAININGS * 2
    again = run_of(trainer, folder)
    steps = finish(again)
    assert len(steps) == len(set(steps)) == first.total
    assert trainer.calls == []
    assert (again.trained, again.references, again.online, again.latencies) == (
        first.trained, first.references, first.online, first.latencies,
    )  # fmt: skip


@pytest.mark.parametrize("at", [0, 1, 7])
def test_an_interrupted_run_goes_on_where_it_stood(
    at: int, finished: Finished, trainer: Trainer, tmp_path: Path
) -> None:
    undisturbed, _, _ = finished
    trainer.interrupt_at = at
    with pytest.raises(KeyboardInterrupt):
        finish(run_of(trainer, tmp_path, seeds=1))
    assert len(trainer.calls) == at
    trainer.interrupt_at = None
    resumed = run_of(trainer, tmp_path, seeds=1)
    finish(resumed)
    assert len({call.folder for call in trainer.calls}) == len(trainer.calls) == TRAININGS
    for step, result in resumed.trained.items():
        assert result == undisturbed.trained[step]


def test_only_what_is_new_is_measured(trainer: Trainer, tmp_path: Path) -> None:
    def trained(**changed: Any) -> list[tuple[str, int]]:
        trainer.calls.clear()
        finish(run_of(trainer, tmp_path, **({"seeds": 1, "quick": True} | changed)))
        return [(call.recipe, call.seed) for call in trainer.calls]

    assert len(trained()) == len(RECIPES), "a quick run trains on one part alone"
    assert {seed for _, seed in trained(seeds=2)} == {1}
    other = [recipe("gnn").model_copy(update={"quick_epochs": 7}), *RECIPES[1:]]
    assert trained(recipes=other) == [("gnn", 0)]
    changed = [structs.replace(RATED[0], value=1.5), *RATED[1:]]
    assert len(trained(interactions=changed)) == len(RECIPES)
    assert trained() == []
    assert len(trained(quick=False)) == TRAININGS


def test_a_row_that_cannot_be_says_why_and_holds_up_no_other(
    trainer: Trainer, tmp_path: Path
) -> None:
    trainer.impossible = "gnn"
    run = run_of(trainer, tmp_path, seeds=1)
    finish(run)
    assert run.failures == {"gnn": "random, seed 0: it needs a board"}
    assert run.latencies.keys() == {"hybrid", "hybrid-distilled"}
    trainer.impossible = None
    mended = run_of(trainer, tmp_path, seeds=1)
    finish(mended)
    assert mended.failures == {}
    assert len(trainer.calls) == TRAININGS, "what the others did was kept"


def test_a_run_without_any_row_ends_with_the_reason(trainer: Trainer, tmp_path: Path) -> None:
    trainer.impossible = "gnn"
    with pytest.raises(TrainingError, match="it needs a board"):
        finish(run_of(trainer, tmp_path, recipes=RECIPES[:1]))
