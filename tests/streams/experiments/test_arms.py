"""Who is in which arm, and what they get there."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from engine.settings import EngineSettings
from streams.experiments.arms import Arms, fraction
from streams.settings import Settings, SettingsError
from streams.settings_io import as_environment, as_toml, load_settings

ENGINE = EngineSettings()
USERS = [f"user-{number}" for number in range(6_000)]


def arms(**experiments: object) -> Arms:
    settings = Settings(experiments=experiments)
    return Arms(settings.experiments, ENGINE)


def test_users_are_divided_by_their_shares_and_for_good() -> None:
    made = arms(one={"arms": {"a": {}, "b": {"share": 2.0}, "c": {"share": 3.0}}})
    counted = Counter(made.of(user)["one"] for user in USERS)
    assert [counted[arm] / len(USERS) for arm in "abc"] == pytest.approx(
        [1 / 6, 1 / 3, 1 / 2], abs=0.02
    )
    again = arms(one={"arms": {"a": {}, "b": {"share": 2.0}, "c": {"share": 3.0}}})
    assert [made.of(user) for user in USERS] == [again.of(user) for user in USERS]
    # Frozen: another hash would move users whom an experiment has already treated.
    assert fraction("one", "ann") == pytest.approx(0.6596118421628638, abs=1e-12)


def test_salts_divide_independently() -> None:
    halves = {"arms": {"a": {}, "b": {}}}
    made = arms(one=halves, two=halves, three=halves | {"salt": "one"})
    of = [made.of(user) for user in USERS]
    both = sum(each["one"] == each["two"] for each in of) / len(USERS)
    assert both == pytest.approx(0.5, abs=0.03)
    assert all(each["one"] == each["three"] for each in of)


def test_an_arm_changes_what_it_sets_and_nothing_else() -> None:
    made = arms(
        one={"arms": {"plain": {}, "varied": {"diversity": 0.3, "k": 5}}},
        two={"arms": {"all": {}, "some": {"exclude_categories": ["Horror"]}}},
    )
    plain = made.treatment({"one": "plain", "two": "all"})
    assert (plain.usual, plain.k, plain.list) == (True, ENGINE.k, "model")
    both = made.treatment({"one": "varied", "two": "some"})
    assert (both.usual, both.k, both.rules.diversity) == (False, 5, 0.3)
    assert both.rules.exclude == {"Horror"}
    assert not made.treatment({"one": "varied", "two": "all"}).rules.exclude


def test_without_experiments_there_is_nothing_to_say() -> None:
    made = arms()
    assert not made
    assert made.of("ann") == {}
    assert made.treatment({}).usual


# ------------------------------------------------------------------ the settings

FILE = """
[experiments.Variety-1]
salt = "x"

[experiments.Variety-1.arms.plain]

[experiments.Variety-1.arms.varied]
diversity = 0.3
"""


def test_a_file_an_environment_and_a_printed_file_say_the_same(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("settings")
    monkeypatch.chdir(folder)
    file = folder / "own.toml"
    file.write_text(FILE)
    read = load_settings(file)
    assert list(read.experiments["Variety-1"].arms) == ["plain", "varied"]
    (folder / "printed.toml").write_text(as_toml(read))
    assert load_settings(folder / "printed.toml").experiments == read.experiments
    for name, value in as_environment(read).items():
        monkeypatch.setenv(name, value)
    assert load_settings().experiments == read.experiments
    assert json.loads(as_environment(Settings())["MILLRACE_EXPERIMENTS"]) is not None


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("experiments.one={arms={a={}}}", "two arms at least"),
        ("experiments.one={arms={a={}, b={list='best'}}}", "experiments.one.arms.b.list"),
        ("experiments.one={arms={a={}, b={model='gnn'}}}", "experiments.one.arms.b.model"),
        ("experiments.one={arms={a={}, b={share=0}}}", "experiments.one.arms.b.share"),
    ],
)
def test_what_is_no_experiment_is_told(
    given: str, told: str, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("empty"))
    with pytest.raises(SettingsError, match=told):
        load_settings(None, [given])
