"""What a warm start adds to the online engine, on the second half of the stream."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from engine.evaluation.holdout import Split
from engine.evaluation.warm_start import SecondHalf
from engine.events import Item
from engine.recommender import Recommender
from engine.settings import EngineSettings
from engine.trained import TrainedModel

OnProgress = Callable[[str, float], None]


def second_half(
    settings: EngineSettings,
    model: TrainedModel | None,
    items: Sequence[Item],
    halves: Split,
    on_progress: OnProgress,
) -> dict[str, Any]:
    """Measures of the engine and of popularity over the second half of a stream.

    The engine begins with the model, or with nothing, and learns the first half online; so a warm
    start adds what it keeps of the model after as many events again.
    """
    engine = Recommender(settings)
    if model is not None:
        engine.warm_start(model)
    for item in items:
        engine.upsert_item(item)
    for done, interaction in enumerate(halves.train):
        engine.observe(interaction, answer=False)
        if done % 250 == 0:
            on_progress("learning the first half", done / len(halves.train))
    measures = SecondHalf(halves.train)
    for done in measures.run(engine, halves.test):
        if done % 250 == 0:
            on_progress("second half", done / len(halves.test))
    return {"engine": measures.engine.as_dict(), "popularity": measures.popularity.as_dict()}
