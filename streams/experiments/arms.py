"""Which arm a user is in, by a salted hash: for good, and alike in every worker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from itertools import accumulate
from typing import Literal

from engine.rules import Rules
from engine.settings import EngineSettings
from streams.settings import ArmSettings, ExperimentSettings

_OF_ENGINE = ("k", "diversity", "per_category", "include_categories", "exclude_categories")


@dataclass(frozen=True)
class Treatment:
    """What a user gets.

    Attributes
    ----------
    usual
        Whether that is what the settings say without any experiment.
    """

    k: int
    rules: Rules
    list: Literal["model", "noop", "shuffle"]
    usual: bool


class Arms:
    """The arms of all experiments.

    A user is in one arm of each. Where arms of several experiments differ in one setting, that of
    the experiment whose name comes last is taken.
    """

    def __init__(
        self, experiments: Mapping[str, ExperimentSettings], engine: EngineSettings
    ) -> None:
        self._experiments = dict(sorted(experiments.items()))
        self._bounds = {
            name: list(accumulate(arm.share for arm in each.arms.values()))
            for name, each in self._experiments.items()
        }
        self._engine = engine
        self._treatments: dict[tuple[str, ...], Treatment] = {}

    def __bool__(self) -> bool:
        return bool(self._experiments)

    def names(self) -> list[tuple[str, str]]:
        """Experiment and arm, of all arms."""
        return [(name, arm) for name, each in self._experiments.items() for arm in each.arms]

    def of(self, user: str) -> dict[str, str]:
        """The user's arm of each experiment."""
        return {name: self._arm(name, each, user) for name, each in self._experiments.items()}

    def _arm(self, name: str, experiment: ExperimentSettings, user: str) -> str:
        bounds = self._bounds[name]
        place = fraction(experiment.salt or name, user) * bounds[-1]
        arms = list(experiment.arms)
        return next((arm for arm, end in zip(arms, bounds, strict=True) if place < end), arms[-1])

    def treatment(self, arms: Mapping[str, str]) -> Treatment:
        """What a user in these arms gets."""
        key = tuple(arms.values())
        found = self._treatments.get(key)
        if found is None:
            chosen = [self._experiments[name].arms[arm] for name, arm in arms.items()]
            found = self._treatments[key] = self._combined(chosen)
        return found

    def _combined(self, arms: list[ArmSettings]) -> Treatment:
        engine, kind = self._engine, "model"
        for arm in arms:
            given = {name: getattr(arm, name) for name in _OF_ENGINE}
            changes = {name: value for name, value in given.items() if value is not None}
            engine = engine.model_copy(update=changes)
            kind = arm.list if arm.list != "model" else kind
        rules = Rules.of(engine)
        usual = kind == "model" and (engine.k, rules) == (self._engine.k, Rules.of(self._engine))
        return Treatment(engine.k, rules, kind, usual)  # type: ignore[arg-type]


def fraction(salt: str, text: str) -> float:
    """A number in [0, 1) that a salt and a text decide: equal ones alike, others as by chance."""
    named = f"{len(salt)}:{salt}{text}".encode()
    return int.from_bytes(blake2b(named, digest_size=6).digest()) / 2**48
