"""Recipes, and what is said where the extra `train` is missing."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from engine.training import RecipeError, TrainingError, load_recipe, recipes, train
from tests.engine.training.conftest import catalogue, planted


@pytest.mark.parametrize("name", recipes())
def test_every_recipe_loads_and_has_its_name(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.start is None or recipe.start in recipes()
    short = recipe.quick()
    assert short.epochs <= recipe.quick_epochs
    assert short.short
    assert not recipe.short


def test_every_file_is_a_recipe_and_the_rows_differ() -> None:
    files = Path(__file__).parents[3].glob("engine/training/recipes/*.toml")
    assert sorted(file.stem for file in files) == sorted(recipes())
    contents = {
        load_recipe(name).model_dump_json(exclude={"name", "description"}) for name in recipes()
    }
    assert len(contents) == len(recipes())


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('name = "x"\ndescription = ""\nepochs = -1', "epochs = -1"),
        ('name = "x"\ndescription = ""\ncolour = 1', "colour = 1"),
        ('name = "x"\ndescription = ""\ngraph = false', "graph = true"),
        ('name = "x"\ndescription = ""\nepochs = 0', "epochs = 0 needs"),
        ('name = "x"\ndescription = ""\n[text]\npooling = "max"', "text.pooling = 'max'"),
        (
            'name = "x"\ndescription = ""\n[text]\nencoder = "wordllama"',
            'has no network: text.tune = "static"',
        ),
        ("name = ", "Invalid value"),
        (
            'name = "x"\ndescription = ""\n[deepspeed]\nranks = 2\npipeline_stages = 3',
            "pipeline_stages",
        ),
    ],
)
def test_a_recipe_that_does_not_fit_is_told_in_a_line(text: str, says: str, tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text(text)
    with pytest.raises(RecipeError, match=says) as caught:
        load_recipe(str(file))
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_recipes_are_told_with_those_there_are() -> None:
    with pytest.raises(RecipeError, match=r"'hybird'.*hybrid-lora"):
        load_recipe("hybird")
    with pytest.raises(RecipeError, match="No such file"):
        load_recipe("nowhere.toml")


@pytest.mark.skipif(
    importlib.util.find_spec("torch") is not None, reason="the extra train is installed"
)
def test_without_the_extra_it_says_which(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"package torch: pip install '\.\[train\]'"):
        train(load_recipe("gnn"), planted(), catalogue(), tmp_path / "model")
