"""The benchmark over many streams: each peer beside a slow, obvious reference; and the report."""

from __future__ import annotations

import json
from collections import defaultdict
from math import exp, log, sqrt
from pathlib import Path

import numpy as np
import pytest

from benchmarks.contenders import Contender
from benchmarks.streams import __main__ as command
from benchmarks.streams import leave_one_out
from benchmarks.streams.contenders import (
    Ease,
    ItemKnn,
    Neighbours,
    RepeatLast,
    SessionKnn,
    UserKnn,
)
from benchmarks.streams.latest import Rings
from benchmarks.streams.measuring import datasets, geometric_mean_ratio, over_seeds, row_of
from engine import Interaction
from engine.evaluation.baselines import RECENT_HALF_LIFE
from tests.engine.builders import WITHOUT_TEXT, films, mixed, stream, took


class Log:
    """What is known after some events, looked up in all of them."""

    def __init__(self, events: list[Interaction]) -> None:
        self.items: dict[str, list[str]] = defaultdict(list)
        """Each user's takes, the latest last, none twice."""
        users: dict[str, list[str]] = defaultdict(list)
        took_: dict[str, set[str]] = defaultdict(set)
        self.takes: dict[str, int] = defaultdict(int)
        for event in events:
            if event.kind == "forget" or event.item is None:
                self.items.pop(event.user, None)
                took_.pop(event.user, None)
            elif event.kind not in ("dislike", "ignore"):
                for row, value in ((self.items[event.user], event.item),
                                   (users[event.item], event.user)):  # fmt: skip
                    if value in row:
                        row.remove(value)
                    row.append(value)
                self.takes[event.item] += event.item not in took_[event.user]
                took_[event.user].add(event.item)
        self.users = users

    def row(self, user: str) -> list[str]:
        return self.items.get(user, [])[-Neighbours.LATEST_ITEMS :]

    def takers(self, item: str) -> list[str]:
        return self.users[item][-Neighbours.LATEST_USERS :]


def most_alike(log_: Log, user: str, own: list[str], weights: list[float]) -> dict[str, float]:
    """Of each other user the summed weights of what they share with one, in the order met."""
    found: dict[str, float] = {}
    for item, weight in zip(own, weights, strict=True):
        for other in reversed(log_.takers(item)):
            if other != user and log_.row(other):
                found[other] = found.get(other, 0.0) + weight
    return found


def best(found: dict[str, float], most: int) -> list[str]:
    return sorted(found, key=lambda other: -found[other])[:most]


def item_knn(log_: Log, user: str) -> dict[str, float]:
    scores: dict[str, float] = defaultdict(float)
    for place, item in enumerate(reversed(log_.row(user)[-ItemKnn.OWN :])):
        for other in {name for row in log_.items.values() for name in row} - {item}:
            both = sum(other in log_.row(taker) for taker in log_.takers(item))
            cosine = both / sqrt(log_.takes[item] * log_.takes[other])
            scores[other] += ItemKnn.DECAY**place * cosine
    return scores


def user_knn(log_: Log, user: str) -> dict[str, float]:
    own = log_.row(user)[::-1]
    shared = most_alike(log_, user, own, [1.0] * len(own))
    cosines = {
        other: count / sqrt(len(own) * len(log_.row(other))) for other, count in shared.items()
    }
    scores: dict[str, float] = defaultdict(float)
    for other in best(cosines, UserKnn.NEIGHBOURS):
        for item in log_.row(other):
            scores[item] += cosines[other]
    return scores


def session_knn(log_: Log, user: str) -> dict[str, float]:
    own = log_.row(user)[-SessionKnn.OWN :][::-1]
    weights = [(len(own) - place) / len(own) for place in range(len(own))]
    alike = most_alike(log_, user, own, weights)
    known = sum(bool(row) for row in log_.items.values())
    scores: dict[str, float] = defaultdict(float)
    for other in best(alike, SessionKnn.NEIGHBOURS):
        latest = min(place for place, item in enumerate(own) if other in log_.takers(item))
        for item in log_.row(other):
            idf = log(max(1.0, known / log_.takes[item]))
            scores[item] += alike[other] * max(0.0, 1 - latest / 10) * idf
    return scores


REFERENCES = {ItemKnn: item_knn, UserKnn: user_knn, SessionKnn: session_knn}


@pytest.mark.parametrize("peer", REFERENCES)
@pytest.mark.parametrize("small", [False, True], ids=["all is remembered", "rings are full"])
def test_a_neighbourhood_model_scores_as_its_formula_says(
    peer: type[Neighbours], small: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if small:
        monkeypatch.setattr(Neighbours, "LATEST_ITEMS", 12)
        monkeypatch.setattr(Neighbours, "LATEST_USERS", 7)
        for limited in (UserKnn, SessionKnn):
            monkeypatch.setattr(limited, "NEIGHBOURS", 5)
    events = mixed(events=400)
    assert {"dislike", "forget"} <= {event.kind for event in events}
    contender, compared = peer(), 0
    for place, event in enumerate(events):
        if place > 100 and place % 11 == 0 and contender.users.find(event.user) is not None:
            number = contender.users.find(event.user)
            expected = REFERENCES[peer](Log(events[:place]), event.user)
            scores = contender.scores(number or 0)[: len(contender.items)]
            found = dict(zip(contender.items.names, scores, strict=True))
            assert found == pytest.approx({name: expected.get(name, 0.0) for name in found})
            compared += any(expected.values())
        contender.observe(event)
    assert compared > 20


def test_ease_is_the_ridge_regression_of_each_item_on_all_others() -> None:
    events = stream(events=300)
    ease = Ease(refit_every=10_000, regularization=3.0, most_items=15)
    for event in events:
        ease.observe(event)
    ease.fit()
    names = [ease.items.names[item] for item in ease._fitted]
    assert len(names) == 15
    taken = Log(events).items
    matrix = np.array([[float(name in row) for name in names] for row in taken.values()])
    for target in range(len(names)):
        others = [place for place in range(len(names)) if place != target]
        # Least squares with rows of sqrt(L2): the penalty as if it were data.
        left = np.vstack([matrix[:, others], sqrt(3.0) * np.eye(len(others))])
        right = np.concatenate([matrix[:, target], np.zeros(len(others))])
        solved = np.linalg.lstsq(left, right, rcond=None)[0]
        np.testing.assert_allclose(ease._weights[others, target], solved, atol=1e-9)
        assert ease._weights[target, target] == 0
    user = next(iter(taken))
    own = taken[user][::-1][: Ease.OWN]
    scores = ease.scores(ease.users.intern(user))
    for place, name in enumerate(names):
        expected = sum(
            Ease.DECAY**age * ease._weights[names.index(item), place]
            for age, item in enumerate(own)
            if item in names
        )
        assert scores[ease.items.intern(name)] == pytest.approx(expected)


def test_ease_is_fitted_again_and_knows_nothing_newer() -> None:
    ease = Ease(refit_every=100, most_items=20)
    for event in stream(events=250):
        ease.observe(event)
    assert len(ease.refits) == 2
    ease.observe(took("ann", "brand new"))
    assert not ease.scores(ease.users.intern("ann")).any()


def test_repeat_last_says_what_the_user_took_last() -> None:
    peer = RepeatLast()
    for at, item in enumerate("abcab"):
        peer.observe(took("ann", item, at))
    peer.observe(took("bob", "z"))
    peer.observe(took("ann", "y", kind="dislike"))
    assert peer.recommend("ann") == ["b", "a", "c", "z"]
    # To somebody unknown, what weighs most of late: a and b twice, the latter of them just now.
    growth = 2 ** (1 / RECENT_HALF_LIFE)
    weights = {"a": 1 + growth**3, "b": growth + growth**4, "c": growth**2, "z": growth**5}
    assert peer.recommend("cat") == sorted(weights, key=lambda item: -weights[item])
    peer.observe(took("ann", None, kind="forget"))
    assert peer.recommend("ann") == peer.recommend("cat")


def test_a_ring_keeps_the_latest_once_each() -> None:
    rng, rings, kept = np.random.default_rng(0), Rings(5), defaultdict[int, list[int]](list)
    for _ in range(2000):
        row, value = int(rng.integers(100)), int(rng.integers(9))
        rings.push(row, value)
        kept[row] = [*(one for one in kept[row] if one != value), value][-5:]
        assert rings.row(row).tolist() == kept[row]
    rings.clear(3)
    assert not len(rings.row(3))
    assert not len(rings.row(10_000))


NEW: dict[str, type[Neighbours]] = {
    "item kNN": ItemKnn, "user kNN": UserKnn, "VMIS-kNN": SessionKnn, "EASE": Ease,
}  # fmt: skip


@pytest.mark.parametrize("name", NEW)
def test_with_repeats_a_list_may_hold_what_was_taken(name: str) -> None:
    def lists(contender: Contender) -> list[list[str]]:
        found = []
        for event in events:
            found.append(contender.recommend(event.user))
            contender.observe(event)
        return found

    events = stream(events=400)
    taken: dict[str, set[str]] = defaultdict(set)
    repeated = 0
    make = (lambda repeats: Ease(repeats, 50)) if name == "EASE" else NEW[name]
    for event, new, again in zip(events, lists(make(False)), lists(make(True)), strict=True):
        assert not taken[event.user] & set(new)
        repeated += bool(taken[event.user] & set(again))
        taken[event.user].add(event.item or "")
    assert repeated > 100


def test_a_stream_has_the_ratio_to_its_best_peer() -> None:
    row = row_of("a stream", stream(events=300), films(), WITHOUT_TEXT)
    names = [one["name"] for one in row["contenders"]]
    assert names[0] == "Millrace without text"
    assert len(set(names)) == len(names) == 10
    run = [one for one in row["contenders"][1:] if "queries" in one]
    assert {one["queries"] for one in run} == {row["queries"]}
    second = {one["name"]: one["second_half"]["ndcg@10"] for one in run}
    assert row["best_peer"] == max(second.values()) == second[row["best_peer_name"]]
    assert row["ratio"] == pytest.approx(row["millrace"] / row["best_peer"], abs=1e-4)
    assert row["events_per_second"] > 0
    assert all(0 < one["coverage@10"] <= 1 for one in [row["contenders"][0], *run])


def test_with_repeats_what_a_user_had_is_a_query() -> None:
    events = [took(f"u{n % 6}", f"m{n % 6 + n // 6 % 2}", n) for n in range(120)]
    row = row_of("again", events, [], WITHOUT_TEXT, repeats=True)
    # Every event but a user's first.
    assert row["queries"] == 114
    assert row_of("again", events, [], WITHOUT_TEXT)["queries"] == 6
    by_name = {one["name"]: one["second_half"]["ndcg@10"] for one in row["contenders"]}
    assert by_name["repeat-last"] == pytest.approx(1 / np.log2(3), abs=1e-4)


def test_means_and_seeds() -> None:
    rows = [{"ratio": 2.0}, {"ratio": None}, {"ratio": 0.5}, {"ratio": exp(3)}]
    assert geometric_mean_ratio(rows) == pytest.approx(exp(1), abs=1e-4)
    assert geometric_mean_ratio([{"ratio": None}]) is None
    assert over_seeds([{"data": "a", "ratio": 1.1}, {"data": "a", "ratio": 1.2}]) == {
        "data": "a", "ratio": 1.1, "ratios": [1.1, 1.2],
    }  # fmt: skip


def test_a_folder_of_folders_is_several_data_sets(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "log.csv").write_text("user,item,timestamp\nann,a,1600000000\n")
    (tmp_path / "three").mkdir()
    (tmp_path / "three" / "read.me").write_text("nothing")
    found = {path.name: dataset for path, dataset in datasets([tmp_path], 0)}
    assert list(found) == ["one", "three", "two"]
    assert isinstance(found["three"], str)
    assert [path.name for path, _ in datasets([tmp_path / "one"], 0)] == ["one"]


def test_the_report_of_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, folder = tmp_path / "streams.json", tmp_path / "small"
    folder.mkdir()
    rows = [f"{one.user},{one.item},{one.timestamp}" for one in stream(events=300)]
    (folder / "log.csv").write_text("\n".join(["user,item,timestamp", *rows]))
    empty = tmp_path / "nothing"
    empty.mkdir()
    arguments = [str(folder), str(empty), "--without-text", "--seeds", "2"]
    assert command.main([*arguments, "--json", str(file)]) == 0
    report = json.loads(file.read_text())
    (row,) = report["rows"]
    assert {"data", "millrace", "best_peer", "best_peer_name", "ratio", "events_per_second"} <= set(
        row
    )
    assert len(row["ratios"]) == 2
    assert row["ratios"][0] == row["ratio"]
    assert report["geometric_mean_ratio"] == row["ratio"]
    assert list(report["left_out"]) == ["nothing"]
    assert {"seed", "version", "machine", "packages", "limit"} <= set(report)
    told = capsys.readouterr().out
    assert "VMIS-kNN" in told
    assert "small" in told


def test_initial_weights_of_the_other_streams(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, seed in (("one", 1), ("two", 2)):
        (tmp_path / name).mkdir()
        rows = [f"{e.user},{e.item},{e.timestamp}" for e in stream(events=300, seed=seed)]
        (tmp_path / name / "log.csv").write_text("\n".join(["user,item,timestamp", *rows]))
    file = tmp_path / "report.json"
    assert (
        leave_one_out.main([str(tmp_path / "one"), str(tmp_path / "two"), "--json", str(file)]) == 0
    )
    report = json.loads(file.read_text())
    assert [row["data"] for row in report["rows"]] == ["one", "two"]
    for row in report["rows"]:
        assert row["queries"] > 100
        assert row["own"] != row["others"]
        assert all(0 < row[way]["whole"] < 1 for way in ("own", "others"))
    assert "of the others" in capsys.readouterr().out
    assert leave_one_out.main([str(tmp_path / "one")]) == 2
    assert "give several" in capsys.readouterr().err


def test_without_any_data_set_the_command_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main([str(tmp_path)]) == 2
    assert tmp_path.name in capsys.readouterr().err
