"""What a real worker tells Prometheus, and that dashboard, alerts and docs ask for nothing else."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess
import time
import urllib.request
import uuid
from collections import defaultdict
from functools import partial
from operator import itemgetter
from pathlib import Path as FilePath
from typing import Any

import promql_parser as promql
import pytest
import yaml
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from engine.propagation import DeviceWork
from streams.brokers import KafkaServer
from streams.messages.bad_message import ERROR_CLASSES
from streams.messages.schemas import LatencyUs
from streams.settings import Settings
from streams.web.metrics import of_device
from tests.conftest import TOPICS
from tests.ports import free_port
from tests.streams.asking import ask
from tests.streams.conftest import Path, interaction
from tests.streams.waiting import until

ROOT = FilePath(__file__).parents[3]
DEPLOY = ROOT / "deploy"
RULE_TESTS = ("alerts_test.yml", "alerts_drift_test.yml")
EVENTS = 200
TOKEN = "open-sesame"
SUBSYSTEMS = {
    "build", "worker", "partition", "delivery", "checkpoint", "engine", "overlay", "http",
    "experiment",
}  # fmt: skip
TARGET_LABELS = {"job", "instance"}
"""Labels that Prometheus adds to whatever it scrapes."""


@pytest.fixture(scope="module")
def families(kafka: KafkaServer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Metric]:
    """All that a worker exposes after some answers, a dead letter and a checkpoint."""
    port = free_port()
    mark = uuid.uuid4().hex[:8]
    settings = Settings(
        broker={"bootstrap": kafka.bootstrap},
        topics={"partitions": 2} | {name: f"metrics.{mark}.{name}" for name in TOPICS},
        worker={
            "group": f"metrics.{mark}",
            "checkpoints": str(tmp_path_factory.mktemp("checkpoints")),
            "checkpoint_seconds": 0.5,
        },
        web={"port": port, "token": TOKEN},
        experiments={"one": {"arms": {"plain": {}, "popular": {"list": "noop"}}}},
    )
    path = Path(settings)
    with path.worker():
        until(lambda: asked(port), 60, "the worker says that it is not ready")
        path.send(*(interaction(n, user=f"u{n % 7}") for n in range(EVENTS)))
        path.send_bytes(b"rubbish")
        path.flush()
        arms = {answer["user"]: answer["experiments"] for answer in path.answers(EVENTS)}
        for user, own in arms.items():  # who asks is told the arm of the answers on the topic
            bearer = {"Authorization": f"Bearer {TOKEN}"}
            asking = partial(ask, port, f"/users/{user}/recommendations", headers=bearer)
            heard = until(lambda ask=asking: found if (found := ask()).status == 200 else None)
            assert heard.body["experiments"] == own
            trending = {entry["reason"] for entry in heard.body["items"]} == {"trending"}
            assert trending or own == {"one": "plain"}
        return until(lambda: found if complete(found := scrape(port)) else None)


def complete(found: dict[str, Metric]) -> bool:
    """Whether the watchdog has looked, and a checkpoint been written, since the events came."""
    return bool(
        found
        and found["millrace_checkpoint_newest_timestamp_seconds"].samples
        and found["millrace_worker_ready"].samples[0].value
        and sum(s.value for s in found["millrace_partition_answered_offset"].samples) == EVENTS + 1
        and not any(s.value for s in found["millrace_partition_waiting_events"].samples)
    )


def asked(port: int) -> bool:
    """Whether it answers; a worker that is starting does with 503."""
    try:
        ask(port, "/health/ready")
    except ConnectionError:
        return False
    return True


def scrape(port: int) -> dict[str, Metric]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/metrics", headers={"Authorization": f"Bearer {TOKEN}"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        text = answer.read().decode()
    found = {family.name: family for family in text_string_to_metric_families(text)}
    found.setdefault("millrace_checkpoint_newest_timestamp_seconds", Metric("none", "", "gauge"))
    return found


def values(family: Metric, name: str, label: str | tuple[str, ...]) -> dict[Any, float]:
    """By the value of a label, or of several."""
    labels = itemgetter(*label) if isinstance(label, tuple) else itemgetter(label)
    return {labels(s.labels): s.value for s in family.samples if s.name == name}


def ours(families: dict[str, Metric]) -> dict[str, Metric]:
    """Millrace's own, with those that a worker with a board has too."""
    board = {f"{family.name}": family for family in of_device(DeviceWork(simulated=True))}
    return {n: f for n, f in (families | board).items() if n.startswith("millrace_")}


# ------------------------------------------------------------------ what is told


def test_the_figures_are_those_of_what_was_sent(families: dict[str, Metric]) -> None:
    def one(name: str) -> float:
        family = families[name.removesuffix("_total")]
        [value] = [s.value for s in family.samples if s.name == name]
        return value

    assert one("millrace_worker_events_total") == EVENTS + 1
    assert one("millrace_worker_recommendations_total") == EVENTS
    assert one("millrace_worker_ready") == 1
    unknown = values(families["millrace_worker_unknown"], "millrace_worker_unknown_total", "of")
    assert unknown == {"user": 7, "item": EVENTS, "unlisted": EVENTS}
    name = "millrace_worker_item_popularity_ratio"
    taken = [s for s in families[name].samples if s.labels["of"] == "taken"]
    assert {s.value for s in taken} == {EVENTS}  # each of an item that nobody had taken before
    recommended, scored = (
        next(s.value for s in families[metric].samples if s.labels == labels)
        for metric, labels in (
            (name, {"of": "recommended", "le": "+Inf"}),
            ("millrace_worker_top_score", {"le": "+Inf"}),
        )
    )
    assert 0 < recommended == scored <= EVENTS
    answers = values(
        families["millrace_experiment_answers"], "millrace_experiment_answers_total", "arm"
    )
    assert answers.keys() == {"plain", "popular"}
    assert sum(answers.values()) == EVENTS
    requests = values(
        families["millrace_http_requests"], "millrace_http_requests_total",
        ("method", "route", "status"),
    )  # fmt: skip
    assert requests["GET", "/health/ready", "503"] == 1
    assert one("millrace_worker_partitions") == 2
    assert (one("millrace_engine_users"), one("millrace_engine_items")) == (7, EVENTS)
    letters = values(
        families["millrace_worker_dead_letters"],
        "millrace_worker_dead_letters_total",
        ("message", "error"),
    )
    every = itertools.product(("interaction", "item"), ERROR_CLASSES)
    assert letters == dict.fromkeys(every, 0) | {("interaction", "NotJson"): 1}
    for name, total in (
        ("next_offset", EVENTS + 1),
        ("answered_offset", EVENTS + 1),
        ("waiting_events", 0),
        ("waiting_answers", 0),
    ):
        gauge = f"millrace_partition_{name}"
        found = values(families[gauge], gauge, "partition")
        assert (found.keys(), sum(found.values())) == ({"0", "1"}, total)
    age = time.time() - one("millrace_checkpoint_newest_timestamp_seconds")
    assert 0 <= age < 300
    [build] = families["millrace_build_info"].samples
    assert (build.labels["model"], build.labels["aggregator"]) == ("hybrid", "numba")
    assert families["process_resident_memory_bytes"].samples[0].value > 50e6


def test_every_answer_is_in_the_histogram_of_each_stage(families: dict[str, Metric]) -> None:
    name = "millrace_worker_stage_seconds"
    family = families[name]
    assert set(values(family, f"{name}_count", "stage")) == set(LatencyUs.__struct_fields__)
    assert set(values(family, f"{name}_count", "stage").values()) == {EVENTS}
    sums = values(family, f"{name}_sum", "stage")
    parts = sum(sums[stage] for stage in sums if stage not in ("queue", "total"))
    assert 0 < parts < 30, "it is in seconds"
    assert parts <= sums["total"] < 60 * EVENTS, "they waited while the worker started"
    for stage in sums:
        buckets = [
            (float(s.labels["le"]), s.value)
            for s in family.samples
            if s.name == f"{name}_bucket" and s.labels["stage"] == stage
        ]
        assert buckets == sorted(buckets)
        assert [count for _, count in buckets] == sorted(count for _, count in buckets)
        assert buckets[-1] == (float("inf"), EVENTS)
    commits = families["millrace_delivery_write_seconds"].samples
    assert next(s.value for s in commits if s.name.endswith("_count")) >= 1


def test_names_units_and_help_keep_the_rules(families: dict[str, Metric]) -> None:
    found = ours(families)
    assert len(found) > 30
    for name, family in found.items():
        subsystem = name.split("_")[1]
        assert subsystem in SUBSYSTEMS, name
        assert re.fullmatch(r"[a-z]+(_[a-z]+)+", name), name
        # The parser takes a counter's _total off; what is left must name no other type.
        assert not name.endswith(("_total", "_count", "_sum", "_bucket")), name
        assert not re.search(r"_(ms|us|ns|milli\w*|micro\w*|minutes|hours|[kmg]i?b)(_|$)", name)
        for unit in ("seconds", "bytes"):
            assert unit not in name or name.endswith(f"_{unit}"), name
        assert family.type in ("counter", "gauge", "histogram", "summary"), name
        if family.type == "counter":
            assert all(s.name == f"{name}_total" for s in family.samples), name
        assert re.fullmatch(r"[A-Z].*[^.]\.", family.documentation), name
        labels = {label for s in family.samples for label in s.labels}
        assert not labels & TARGET_LABELS, name


# ------------------------------------------------------------------ what is asked for


def expressions() -> list[tuple[str, str]]:
    """Every PromQL expression of ours, and where it stands."""
    found = []
    dashboard = json.loads((DEPLOY / "grafana/dashboards/millrace.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "prometheus"
            expression = target["expr"].replace("$__rate_interval", "1m").replace("$instance", ".*")
            assert "$" not in expression
            found.append((panel["title"], expression))
    return found + [(rule.get("alert") or rule["record"], rule["expr"]) for rule in rules()]


def selectors(expression: promql.Expr) -> list[promql.VectorSelector]:
    found: list[promql.VectorSelector] = []

    def visit(node: promql.Expr) -> None:
        if isinstance(node, promql.VectorSelector):
            found.append(node)

    promql.walk(expression, visit)
    return found


def test_dashboard_and_alerts_ask_for_what_a_worker_tells(families: dict[str, Metric]) -> None:
    told: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for family in families.values():
        for sample in family.samples:
            for label, value in (sample.labels | {"instance": "a", "job": "millrace"}).items():
                told[sample.name][label].add(value)
    told["up"] = {"instance": {"a"}, "job": {"millrace"}}
    for rule in rules():
        if "record" in rule:
            told[rule["record"]] = defaultdict(set)
    asked = set()
    for where, text in expressions():
        expression = promql.parse(text)
        found = selectors(expression)
        assert found, where
        for selector in found:
            asked.add(selector.name)
            assert selector.name in told, (where, selector.name)
            labels = told[selector.name]
            for matcher in selector.matchers.matchers:
                assert any(matches(matcher, value) for value in labels[matcher.name]), (
                    where, str(selector),
                )  # fmt: skip

        def grouped(node: promql.Expr, where: str = where) -> None:
            if isinstance(node, promql.AggregateExpr) and node.modifier:
                for selector in selectors(node.expr):
                    assert set(node.modifier.labels) <= told[selector.name].keys(), where

        promql.walk(expression, grouped)
    assert len(asked) > 20


def matches(matcher: promql.Matcher, value: str) -> bool:
    if matcher.op in (promql.MatchOp.Equal, promql.MatchOp.NotEqual):
        same = value == matcher.value
    else:
        same = re.fullmatch(matcher.value, value) is not None
    return same == (matcher.op in (promql.MatchOp.Equal, promql.MatchOp.Re))


def test_the_test_sees_what_is_not_there() -> None:
    [selector] = selectors(promql.parse('rate(a_total{stage!~"queue|total"}[1m])'))
    [matcher] = selector.matchers.matchers
    assert (selector.name, matches(matcher, "rank"), matches(matcher, "total")) == (
        "a_total", True, False,
    )  # fmt: skip
    with pytest.raises(ValueError, match="inside brackets"):
        promql.parse("rate(a_total[1m)")


def test_the_dashboards_variable_and_panels_are_whole() -> None:
    dashboard = json.loads((DEPLOY / "grafana/dashboards/millrace.json").read_text())
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places: dict[tuple[int, int], str] = {}
    for panel in panels:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        for x in range(at["x"], at["x"] + at["w"]):
            for y in range(at["y"], at["y"] + at["h"]):
                assert places.setdefault((x, y), panel["title"]) == panel["title"]
    [variable] = dashboard["templating"]["list"]
    assert variable["definition"] == "label_values(millrace_build_info, instance)"


# ------------------------------------------------------------------ what is documented


def test_the_table_of_the_docs_is_what_a_worker_tells(families: dict[str, Metric]) -> None:
    text = (ROOT / "docs/metrics.md").read_text()
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("| `millrace_")
    ]
    documented = {name.strip("`"): rest for name, *rest in rows}
    assert documented == {row[0]: row[1:] for row in map(described, ours(families).values())}


def described(family: Metric) -> list[str]:
    """Name, type, labels and meaning, as the table has them."""
    name = f"{family.name}_total" if family.type == "counter" else family.name
    labels = sorted({label for s in family.samples for label in s.labels} - {"le"})
    return [name, family.type, ", ".join(labels), family.documentation]


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def fired_in(name: str) -> set[str]:
    """The alerts that the last test of a file of promtool's wants to have fired."""
    [*_, wrong] = yaml.safe_load((DEPLOY / name).read_text())["tests"]
    [*_, tried] = wrong["promql_expr_test"]
    return {re.search(r'alertname="(\w+)"', s["labels"])[1] for s in tried["exp_samples"]}  # type: ignore[index]


def test_every_alert_says_what_is_wrong_and_is_tried_and_documented() -> None:
    documented = (ROOT / "docs/metrics.md").read_text()
    alerts = [rule for rule in rules() if "alert" in rule]
    assert set.union(*map(fired_in, RULE_TESTS)) == {rule["alert"] for rule in alerts}
    for rule in alerts:
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"]["summary"].endswith((".", "say why."))
        assert f"`{rule['alert']}`" in documented


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not here")
def test_each_alert_fires_when_it_should_and_only_then() -> None:
    command = ["promtool", "test", "rules", *RULE_TESTS]
    done = subprocess.run(command, cwd=DEPLOY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
