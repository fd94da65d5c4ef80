"""`millrace plan`: what a load needs follows from measured costs, and says where it does not."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from streams.cli.app import app
from streams.settings import Settings
from streams.tools.planning import costs
from streams.tools.planning.costs import Cost, Curve
from streams.tools.planning.plan import LOAD, LOAD_ONE_GONE, MOST_KNOWN, plan
from streams.tools.planning.telling import KINDS, telling
from streams.worker.item_deltas import (
    DELTA_SECONDS,
    LONGEST_SECONDS,
    ROW_SECONDS,
    most_rows,
    seconds_between,
)

ROOT = Path(__file__).parents[3]
ALL = [value for value in vars(costs).values() if isinstance(value, Cost | Curve)]


def run(*arguments: str, **loads: float) -> str:
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in loads.items()]
    result = CliRunner().invoke(app, ["plan", *flags, *arguments], env={"COLUMNS": "100"})
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("cost", ALL, ids=lambda cost: cost.of)
def test_each_cost_says_what_measured_it(cost: Cost | Curve) -> None:
    assert cost.unit
    assert cost.command
    for module in re.findall(r"python -m (benchmarks\.\w+)", f"{cost.command} {cost.run}"):
        assert (ROOT / module.replace(".", "/")).with_suffix(".py").is_file()


def test_between_two_measured_points_it_is_a_line_on_logarithmic_scales() -> None:
    curve = Curve("x", ((100, 10.0), (10_000, 1_000.0)), "µs", "by hand", goes_on=True)
    assert [curve.at(n).value for n in (1, 100, 10_000)] == [10.0, 10.0, 1_000.0]
    assert curve.at(1_000).value == pytest.approx(100.0)
    assert curve.at(100_000).value == pytest.approx(10_000.0)
    assert "beyond the 10,000 items that were measured" in curve.at(100_000).run
    flat = Curve("x", curve.points, "µs", "by hand")
    assert flat.at(100_000).value == 1_000.0
    assert flat.at(10_000).run == ""


def test_what_one_worker_manages_shares_nothing() -> None:
    found = plan(500, 20_000, 1_682)
    assert (found.workers, found.partitions) == (1, 4)
    assert found.busy == pytest.approx(500 * (157 + 34) / 1e6)
    assert found.following == found.delta_bytes_a_second == found.busy_one_gone == 0
    assert found.notes == []


def test_memory_is_the_items_and_a_part_of_the_users() -> None:
    found = plan(2_000, 1_000_000, 100_000)
    users = 1_000_000 * (1_744 + 50 * 8)
    ids = found.partitions / found.workers * 250_000 * 128
    items = 100_000 * (6_546 + 650)
    own = 381 * 2**20 + items + ids
    assert found.memory_bytes == pytest.approx(own + users / found.workers)
    assert found.memory_one_gone_bytes == pytest.approx(own + users / (found.workers - 1))
    assert found.items_bytes == pytest.approx(items)
    assert found.delta_bytes_a_second == pytest.approx(2_000 * 155.1)
    assert found.delta_bytes_served_a_second == found.delta_bytes_a_second * found.workers
    assert found.settings["engine.max_users"] >= 1_000_000 / (found.workers - 1)


def test_more_of_anything_needs_no_less() -> None:
    loads = [plan(events, 1_000_000, 50_000) for events in (100, 1_000, 3_000, 10_000, 20_000)]
    assert [found.workers for found in loads] == sorted({found.workers for found in loads})
    for found in loads:
        assert found.busy <= LOAD
        assert found.busy_one_gone <= LOAD_ONE_GONE
        assert found.partitions % found.workers == 0 or found.workers < 4
        assert found.partitions >= 2 * found.workers
        assert found.moving_seconds <= 10
    assert plan(100, 10**7, 1_000).partitions > plan(100, 10**5, 1_000).partitions
    assert plan(100, 10**5, 10**6).memory_bytes > plan(100, 10**5, 10**5).memory_bytes
    # No engine knows more users than that: many users need several workers, idle as they may be.
    many = plan(1, 10 * MOST_KNOWN, 1_000)
    assert many.users / (many.workers - 1) <= MOST_KNOWN == many.settings["engine.max_users"]


def test_what_no_number_of_workers_manages_is_told_with_what_is_managed() -> None:
    found = plan(10**7, 10**6, 5_000)
    assert found.workers == 0
    (told,) = re.findall(r"; ([\d,]+) events/s are managed", found.notes[0])
    managed = int(told.replace(",", ""))
    assert plan(managed * 0.99, 10**6, 5_000).workers
    assert not plan(managed * 1.05, 10**6, 5_000).workers
    assert "none suffice" in run(events_per_second=10**7, users=10**6, items=5_000)


def test_settings_of_workers_count() -> None:
    rare = Settings(worker={"delta_seconds": 1.0})
    assert plan(1_000, 10**6, 10**5, rare).following < plan(1_000, 10**6, 10**5).following
    seldom = Settings(worker={"checkpoint_seconds": 300.0})
    ratio = (
        plan(100, 10**6, 10**5, seldom).checkpoint_bytes_a_second
        / plan(100, 10**6, 10**5).checkpoint_bytes_a_second
    )
    assert ratio == pytest.approx(0.1)
    told = run("--set", "worker.checkpoint_seconds=300", events_per_second=9, users=9, items=9)
    assert "workers" in told


def test_json_has_the_figures_and_what_measured_them() -> None:
    found: dict[str, Any] = json.loads(run("--json", events_per_second=10, users=10, items=10))
    assert found["workers"] == 1
    assert found["settings"]["topics.partitions"] == 4
    assert {"of", "value", "unit", "command", "run"} == found["costs"][0].keys()


def test_costs_are_printed_where_they_are_asked_for() -> None:
    load = {"events_per_second": 10, "users": 10, "items": 10}
    assert "benchmarks.end_to_end" in run("--costs", **load)
    assert "benchmarks" not in run(**load)


def test_the_page_shows_what_the_command_says() -> None:
    """docs/scaling.md has the outputs of its commands, in blocks of text below them."""
    page = (ROOT / "docs/scaling.md").read_text()
    shown = re.findall(r"```\nmillrace plan ([^\n]+)\n```\n\n```text\n(.+?)```", page, re.DOTALL)
    assert len(shown) == 2
    for flags, output in shown:
        result = CliRunner().invoke(app, ["plan", *flags.split()], env={"COLUMNS": "100"})
        assert output.split() == result.output.split()


def test_all_workers_together_tell_no_more_than_readers_can_bear() -> None:
    assert [seconds_between(0.1, workers, 0) for workers in (1, 3)] == [0.1, 0.1]
    for workers, rows in ((26, 0), (4, 5_000), (64, 100)):
        read = DELTA_SECONDS + rows * ROW_SECONDS
        assert workers * read / seconds_between(0.1, workers, rows) == pytest.approx(0.05)
    assert seconds_between(0.1, 1_000, 5_000) == LONGEST_SECONDS
    assert seconds_between(20.0, 64, 700) == 20.0
    told = [most_rows(workers) for workers in (1, 2, 64, 1_000)]
    assert told == sorted(told, reverse=True)
    assert told[-1] > 0


def test_a_plan_tells_by_the_rule_of_workers() -> None:
    assert (costs.DELTA.value, costs.ROW.value) == (DELTA_SECONDS * 1e6, ROW_SECONDS * 1e6)
    for events, workers in ((1.0, 2), (400.0, 5), (150.0, 8)):  # below the limit all is told
        seconds, rows = telling(events, workers, 10.0, 0.1)
        assert rows == pytest.approx(10 * events * seconds)
        assert seconds == pytest.approx(seconds_between(0.1, workers, round(rows)), rel=0.01)
    seconds, rows = telling(1_500.0, 64, 10.0, 0.1)  # above it the counts, and some of each kind
    assert seconds == LONGEST_SECONDS
    assert rows == 1_500 * seconds + KINDS * most_rows(64)
    few, many = plan(2_000, 10**6, 10**5), plan(20_000, 10**8, 10**7)
    assert few.told == pytest.approx(1)
    assert many.told < 1
    assert many.delta_bytes_a_second == pytest.approx(20_000 * 155.1 * many.told)
    assert many.delta_seconds == LONGEST_SECONDS > few.delta_seconds > 0.1
    assert plan(10, 10, 10).delta_seconds == 0
