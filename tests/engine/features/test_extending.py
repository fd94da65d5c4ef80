"""What docs/extending.md says of a feature, done in a copy of the engine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from engine import EngineSettings, Item, Recommender

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "extending.md").read_text()

USE = '''
from math import log

import numpy as np

from engine import EngineSettings, Interaction, Recommender
from engine.features.table import row

HOUR = 3_600_000
settings = EngineSettings(model="gnn", dimensions=8)


def morning_and_evening(day, first_hour=8):
    """Ten users a day take the coffee in the morning, and ten others the wine in the evening."""
    for number in range(20):
        hour, item = ((first_hour, "coffee"), (first_hour + 12, "wine"))[number % 2]
        at = (24 * day + hour) * HOUR + number
        for name in (f"other{number % 3}", item):
            yield Interaction(
                event_id="", user=f"u{day}-{number}", item=name, timestamp=at, kind="purchase"
            )


# A state from before the feature goes on, with the feature's weight at its beginning.
old = Recommender.load("before", settings)
assert old.head.weights[row("hour")].tolist() == [0.0] * 5
events = [event for day in range(15) for event in morning_and_evening(day)]
old.observe_many(events)

one, other = Recommender(settings), Recommender(settings)
answers = [one.observe(event).items for event in events]
assert answers == [a.items for a in other.observe_many(events)], "cut otherwise"
assert one.head.weights[row("hour")][0] > 0.1, "the head trusts the hour"

# Who asks in the morning is shown the coffee before the wine, and the other way round.
one.observe(
    Interaction(event_id="", user="new", item="other1", timestamp=400 * HOUR, kind="purchase")
)
places = {
    hour: [entry.item for entry in one.recommend("new", now=hour * HOUR).items] for hour in (8, 20)
}
assert places[8].index("coffee") < places[8].index("wine"), places
assert places[20].index("wine") < places[20].index("coffee"), places

# No score outlives its time of asking, and asking changes nothing.
morning = one.recommend("new", now=8 * HOUR).items
assert one.recommend("new", now=20 * HOUR).items != morning
assert one.recommend("new", now=8 * HOUR).items == morning

# The feature is what its formula says.
coffee = one.items.find("coffee")
counts = one.own.hours.counts[coffee]
value = one.scratch.features[row("hour"), coffee]
assert abs(value - log((1 + 24 * counts[8]) / (1 + counts.sum()))) < 1e-5
assert counts[8] == counts.sum() == 150

# It is saved and loaded with the rest.
one.save("after")
assert Recommender.load("after").recommend("new", now=8 * HOUR).items == morning
'''


def extended(folder: Path) -> None:
    """Do what the page says, in a copy of the engine."""
    shutil.copytree(ROOT / "engine", folder / "engine", ignore=shutil.ignore_patterns("*.pyc"))
    features = folder / "engine" / "features"
    (module,) = re.findall(r"^```python hours.py\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    (features / "hours.py").write_text(module)
    (changes,) = re.findall(r"^```diff\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    table = (features / "table.py").read_text()
    for change in changes.split("@@\n")[1:]:
        lines = change.splitlines(keepends=True)
        before = "".join(line[1:] for line in lines if line[0] == " ")
        after = "".join(line[1:] for line in lines)
        assert table.count(before) == 1, before
        table = table.replace(before, after)
    (features / "table.py").write_text(table)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_feature_takes_its_module_and_the_table(tmp_path: Path) -> None:
    before = Recommender(EngineSettings(model="gnn", dimensions=8))
    before.upsert_item(Item(item="coffee"))
    before.save(tmp_path / "before")
    extended(tmp_path)
    run = subprocess.run(
        [sys.executable, "-c", USE],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(tmp_path),
            "NUMBA_CACHE_DIR": str(tmp_path / "kernels"),
        },
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert run.returncode == 0, run.stderr
