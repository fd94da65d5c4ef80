"""From which checkpoint a process is done again, and in which parts."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from engine.recommender import Recommender
from streams.messages.state_mark import Cut, Step, Taken
from streams.settings import Settings
from streams.tools.past.beginnings import Beginnings
from streams.tools.past.processes import Process, Processes
from streams.tools.past.reruns import Wanted, plan
from streams.worker.checkpoints import Notes
from streams.worker.input_log import Input
from streams.worker.stores import SUFFIX, store_of

INPUT = Input("log", "id", {0: 0, 1: 0}, {0: 500, 1: 500})


@pytest.mark.parametrize("later", [7, 3])
def test_a_state_is_not_made_anew_from_a_later_one_of_the_same_answers(
    tmp_path: Path, later: int
) -> None:
    """The one that is there was cut at step `later`; the one that is no more, at step 5."""
    settings = Settings()
    kept = settings.worker.model_copy(update={"checkpoints": str(tmp_path)})
    settings = settings.model_copy(update={"worker": kept})
    folder = store_of(settings, INPUT.name)
    folder.open()
    there = Notes(INPUT.name, {}, {}, cut=Cut(100, later))
    Recommender(settings.engine).save(Path(folder.place(f"100-mine-2{SUFFIX}")), there)
    taken = msgspec.json.encode(Taken("100-mine-1", Cut(100, 5))).decode()
    mine = Process("mine", "", steps={9: Step(120, "taken", 1, 0, taken)})
    processes = Processes({}, {0: 0, 1: 0})
    processes.by_worker["mine"] = mine
    beginnings = Beginnings(settings, INPUT, tmp_path)
    first, second = plan(processes, beginnings, {"mine": Wanted(150, 200)}, INPUT.lows)
    begins = ("100-mine-2", (100, 3)) if later < 5 else (None, (0, 0))
    assert (first.start, first.done) == begins
    assert (first.end, first.steps, first.save) == (100, 5, "100-mine-1")
    assert (second.start, second.done, second.end) == ("100-mine-1", (100, 5), 200)
