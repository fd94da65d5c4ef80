"""After it no event waits for a compiler, nor does a user who moves."""

from __future__ import annotations

import subprocess
import sys

import pytest

# In a process of its own: here others have compiled what they needed.
COMPILED_LATE = """
import gc
from numba.core.dispatcher import Dispatcher
from engine import EngineSettings, Interaction, Recommender, Rules
from engine.datasets import Synthetic
from engine.warm_up import warm_up

def compiled():
    return {
        (d.py_func.__module__, d.py_func.__name__, str(signature))
        for d in gc.get_objects() if isinstance(d, Dispatcher) for signature in d.signatures
    }

settings = EngineSettings(**SETTINGS)
warm_up(settings)
before = compiled()
assert len(before) > 10
engine, data = Recommender(settings), Synthetic(events=400)
for item in data.items():
    engine.upsert_item(item)
for n, event in enumerate(data.interactions()):
    kind = {3: "dislike", 5: "rating"}.get(n % 7, "click")
    engine.observe(Interaction(
        event_id=event.event_id, user=event.user, item=event.item, value=1.0 + n % 5,
        timestamp=event.timestamp - (n % 3) * 10**8, kind=kind,
    ))
    if n % 50 == 49:
        engine.recommend(event.user, rules=Rules(exclude={"Drama"}, per_category=2, diversity=0.5))
        engine.forget(event.user)
other = Recommender(settings)
for each in (engine, other):
    each.share()
for n, event in enumerate(list(data.interactions())[:40]):
    engine.observe(event)
other.apply_delta(engine.collect_delta({0: (0, 40)}))
known = [name for name in engine.users.names if name]
other.take_in(engine.users_apart(known[:3]))
engine.forget(known[0])
engine.compact_users()
print(*sorted(compiled() - before), sep="\\n")
"""


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"exact_items": 1, "candidates": 100},
        pytest.param({"aggregator": "int8"}, marks=pytest.mark.long),
        pytest.param({"max_items": 40}, marks=pytest.mark.long),
    ],
    ids=str,
)
def test_no_event_compiles_a_kernel(settings: dict[str, object]) -> None:
    script = COMPILED_LATE.replace("SETTINGS", repr(settings))
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stdout.strip()) == (0, ""), run.stderr
