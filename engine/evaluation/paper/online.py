"""What a warm start adds to the online engine, on the second half of the stream."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from engine.evaluation.holdout import Split
from engine.evaluation.warm_start import SecondHalf
from engine.events import Interaction, Item
from engine.recommender import Recommender
from engine.settings import EngineSettings

OnProgress = Callable[[str, float], None]


def after_first_half(
    file: Path,
    settings: EngineSettings,
    items: Sequence[Item],
    first: Sequence[Interaction],
    on_progress: OnProgress,
) -> Recommender:
    """An engine that has observed the first half; learnt once, then read from `file`."""
    if not file.exists():
        engine = Recommender(settings)
        for item in items:
            engine.upsert_item(item)
        for done, interaction in enumerate(first):
            engine.observe(interaction)
            if done % 250 == 0:
                on_progress("learning the first half", done / len(first))
        engine.save(file)
    return Recommender.load(file)


def second_half(engine: Recommender, halves: Split, on_progress: OnProgress) -> dict[str, Any]:
    """Measures of the engine and of popularity over the second half."""
    measures = SecondHalf(halves.train)
    for done in measures.run(engine, halves.test):
        if done % 250 == 0:
            on_progress("second half", done / len(halves.test))
    return {"engine": measures.engine.as_dict(), "popularity": measures.popularity.as_dict()}
