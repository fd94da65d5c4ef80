"""`millrace paper`: the measurement with its progress in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from engine.datasets import Dataset
from engine.evaluation.paper.plan import Amounts
from engine.evaluation.paper.report import report_of
from engine.evaluation.paper.run import PaperRun
from engine.evaluation.paper.terminal import step_bars
from engine.settings import EngineSettings
from engine.trained import TrainedModel
from engine.training import load_recipe, recipes, train
from streams.tools.paper.board import board_for


def measure_paper(
    dataset: Dataset,
    names: Sequence[str] | None,
    seeds: int,
    quick: bool,
    work: Path,
    settings: EngineSettings,
    console: Console,
) -> dict[str, Any]:
    """Measure the named recipes, or all; returns the report as `--json` writes it.

    Ctrl-C ends the measurement: the report then holds what is done, and is not `complete`.
    """
    chosen = [load_recipe(name) for name in dict.fromkeys(names or recipes())]
    with board_for(chosen, settings) as (board, bitstream), step_bars(console) as bars:
        load = partial(TrainedModel.load, board=board, bitstream=bitstream)
        run = PaperRun(
            list(dataset.interactions()), list(dataset.items()), dataset.name, chosen,
            Amounts(seeds, quick), work, settings, train, load, bars.stage,
        )  # fmt: skip
        with suppress(KeyboardInterrupt):  # the report says that it is not complete
            for done, name in enumerate(run.run()):
                bars.step(done, run.total, name)
    return report_of(run, f"{dataset.name} ({dataset.format})")
