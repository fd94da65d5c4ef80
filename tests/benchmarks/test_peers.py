"""The peers' benchmark: the chain against a case by hand, and what every contender must keep to."""

from __future__ import annotations

import io
import json
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks import peers
from benchmarks.contenders import Contender, MarkovChain, Millrace, Popularity
from benchmarks.line_up import LibraryMake, MissingPackageError
from engine import Interaction
from engine.evaluation.prequential import PrequentialEvaluator
from tests.engine.builders import WITHOUT_TEXT, stream, took

DATA = Path(__file__).parents[1] / "data" / "datasets" / "movielens-100k"
# What is asked for is new to its user.
NEW = WITHOUT_TEXT.model_copy(update={"excludes": ["all"]})
OWN: dict[str, Callable[[], Contender]] = {
    "Millrace": lambda: Millrace(NEW),
    "popularity": Popularity,
    "recent popularity": lambda: Popularity(50.0),
    "Markov chain": MarkovChain,
}
# What is fitted again every 50 events meets every case in a small stream: before its first fit,
# just fitted, and with items and users that came since.
LIBRARY: dict[str, LibraryMake] = {
    make.name: make
    for make in (
        LibraryMake("implicit kNN", "implicit_peers", lambda m: m.ImplicitKNN(refit_every=50)),
        LibraryMake("implicit ALS", "implicit_peers", lambda m: m.ImplicitALS(refit_every=50)),
        LibraryMake("river MF", "river_peer", lambda m: m.RiverMF()),
        LibraryMake("FluRS MF", "flurs_peers", lambda m: m.FlursMF()),
        LibraryMake("FluRS BPR", "flurs_peers", lambda m: m.FlursBPR()),
        LibraryMake("SASRec", "sasrec", lambda m: m.SasRec(refit_every=50, epochs=1), "sasrec"),
    )
}


def importorskip_peers() -> None:
    for package in ("implicit", "river", "flurs", "threadpoolctl"):
        pytest.importorskip(package, reason="needs the extra `peers`")


@pytest.fixture(params=[*OWN, *LIBRARY])
def make(request: pytest.FixtureRequest) -> Callable[[], Contender]:
    """Makes a fresh contender; those of other libraries only where the extra is installed."""
    if request.param in OWN:
        return OWN[request.param]
    made = LIBRARY[request.param]
    try:
        made()
    except MissingPackageError as error:
        pytest.skip(str(error))
    return made


def told(contender: Contender, events: list[Interaction]) -> Contender:
    for event in events:
        contender.observe(event)
    return contender


def test_the_chain_ranks_what_followed_the_last_item() -> None:
    walks = {"ann": "abx", "bob": "aby", "cat": "acz", "dan": "aby", "eve": "zxq"}
    events = [took(user, item) for user, walk in walks.items() for item in walk]
    chain = told(MarkovChain(), [*events, took("me", "q"), took("me", "a")])
    # After a: b three times, c once. Then by popularity: x, y and z have two each; q is taken.
    assert chain.recommend("me")[:2] == ["b", "c"]
    assert set(chain.recommend("me")[2:]) == {"x", "y", "z"}
    chain.observe(took("me", "b"))
    # After b: y twice, x once; z was taken twice and c once.
    assert chain.recommend("me") == ["y", "x", "z", "c"]


def test_followers_that_tie_stand_in_order_of_popularity() -> None:
    events = [took("ann", "a"), took("ann", "b"), took("bob", "a"), took("bob", "c")]
    chain = told(MarkovChain(), [*events, took("cat", "c"), took("me", "a")])
    assert chain.recommend("me") == ["c", "b"]


def test_the_chain_tells_somebody_unknown_what_is_popular() -> None:
    chain = told(MarkovChain(), [took("ann", "a"), took("ann", "b"), took("bob", "b")])
    assert chain.recommend("nobody") == ["b", "a"]


def test_no_contender_recommends_what_was_taken(make: Callable[[], Contender]) -> None:
    contender, taken, known = make(), defaultdict[str, set[str]](set), set[str]()
    for event in stream(events=600):
        ranked = contender.recommend(event.user)
        assert len(set(ranked)) == len(ranked)
        assert set(ranked) <= known - taken[event.user]
        # A full list wherever there is one.
        assert len(ranked) == min(10, len(known - taken[event.user]))
        contender.observe(event)
        assert event.item is not None
        taken[event.user].add(event.item)
        known.add(event.item)


def test_an_answer_depends_on_earlier_events_only(make: Callable[[], Contender]) -> None:
    events = stream(events=300)
    contender, answers = make(), []
    for event in events:
        answers.append(contender.recommend(event.user))
        contender.observe(event)
    # One that was told no more, and was never asked before, says the same.
    for cut in (1, 40, 51, 120, 250, 299):
        assert told(make(), events[:cut]).recommend(events[cut].user) == answers[cut]


def test_a_contender_answers_before_it_learns(make: Callable[[], Contender]) -> None:
    contender = told(make(), [took("ann", "a"), took("bob", "b")])
    assert "c" not in contender.recommend("ann")
    contender.observe(took("ann", "c"))
    assert contender.recommend("bob")[0] in {"a", "c"}


def test_millrace_and_popularity_score_as_in_the_evaluation() -> None:
    events = stream(events=500)
    evaluator = PrequentialEvaluator(NEW)
    list(evaluator.run(events))
    report = evaluator.report()
    rows = {name: peers.measure(make(), events) for name, make in OWN.items()}
    for name, expected in (
        ("Millrace", report),
        ("Millrace", {**report, **report["second_half"]}),
        ("popularity", report["baselines"]["popularity"]),
    ):
        row = rows[name]["second_half"] if expected["queries"] < report["queries"] else rows[name]
        for key in ("ndcg@10", "hr@10", "queries"):
            assert row[key] == expected[key]
    assert {row["queries"] for row in rows.values()} == {report["queries"]}
    assert all(row["events_per_second"] > 0 for row in rows.values())


def test_what_refits_cost_is_told() -> None:
    pytest.importorskip("implicit", reason="needs the extra `peers`")
    events = stream(events=300)
    first_times = len({(event.user, event.item) for event in events})
    row = peers.measure(LIBRARY["implicit kNN"](), events)
    assert row["refits"]["count"] == first_times // 50
    assert 0 < row["refits"]["mean_s"] <= row["refits"]["max_s"] <= row["longest_ms"] / 1e3
    assert "refits" not in peers.measure(Popularity(), events[:50])


def test_items_never_seen_count_as_misses() -> None:
    events = [took("ann", f"m{number}") for number in range(12)]
    row = peers.measure(Popularity(), events)
    assert (row["queries"], row["hr@10"], row["second_half"]["queries"]) == (11, 0.0, 6)


def test_the_report_has_every_contender_and_where_it_comes_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    importorskip_peers()
    file = tmp_path / "peers.json"
    monkeypatch.setattr(sys, "argv", ["peers", str(DATA), "--quick", "--json", str(file)])
    peers.main()
    report = json.loads(file.read_text())
    assert len({row["name"] for row in report["rows"]}) == len(report["rows"]) == 11
    for row in report["rows"]:
        if row["name"] == "SASRec" and "queries" not in row:
            assert row["settings"].endswith("pip install '.[sasrec]'")
            continue
        assert set(row) - {"refits"} == {
            "name", "settings", "ndcg@10", "hr@10", "queries", "coverage@10", "second_half",
            "events_per_second", "longest_ms",
        }  # fmt: skip
    assert {"data", "seed", "version", "machine", "packages"} <= set(report)
    assert {"implicit", "river", "flurs"} <= set(report["packages"])
    assert all(figure["source"] for figure in report["published"])
    assert "implicit TF-IDF kNN" in capsys.readouterr().out


def test_a_missing_package_is_a_row_that_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "river", None)
    for name in [name for name in sys.modules if name.startswith("river.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "benchmarks.river_peer", raising=False)
    events, out = stream(events=60), io.StringIO()
    missing = LibraryMake("river BiasedMF", "river_peer", lambda module: module.RiverMF())
    rows = peers.measure_all([Popularity, missing], events, Console(file=io.StringIO()))
    assert [row["name"] for row in rows] == ["popularity", "river BiasedMF"]
    assert "pip install '.[peers]'" in rows[1]["settings"]
    report = {
        "rows": rows, "events": 60, "data": "a stream", "seed": 0, "version": "0", "machine": "one",
        "packages": {}, "published": [],
    }  # fmt: skip
    peers.print_table(Console(file=out, width=150), report)
    assert "pip install '.[peers]'" in out.getvalue()


def test_sasrec_is_trained_on_what_came_next_and_learns_a_cycle() -> None:
    pytest.importorskip("torch", reason="needs the extra `sasrec`")
    from benchmarks.sasrec import SasRec, windows

    inputs, targets = windows([[4, 5, 6, 7, 8, 9], [1], [2, 3]], length=4)
    assert inputs.tolist() == [[6, 7, 8, 9], [0, 0, 0, 5], [0, 0, 0, 3]]
    assert targets.tolist() == [[7, 8, 9, 10], [0, 0, 0, 6], [0, 0, 0, 4]]
    # Everybody goes round the same circle of thirty from a place of their own.
    walks = [[f"m{(start + step) % 30}" for step in range(12)] for start in range(30)]
    events = [took(f"u{number}", item) for number, walk in enumerate(walks) for item in walk]
    learnt = told(SasRec(refit_every=len(events), epochs=60), events)
    assert len(learnt.refits) == 1
    hits = sum(learnt.recommend(f"u{start}")[0] == f"m{(start + 12) % 30}" for start in range(30))
    assert hits >= 27


def test_the_table_names_every_contender() -> None:
    events = stream(events=60)
    rows = peers.measure_all(list(OWN.values()), events, Console(file=io.StringIO()))
    out = io.StringIO()
    report = {
        "rows": rows, "events": 60, "data": "a stream", "seed": 0, "version": "0", "machine": "one",
        "packages": {"implicit": "1"}, "published": [],
    }  # fmt: skip
    peers.print_table(Console(file=out, width=100), report)
    assert all(row["name"] in out.getvalue() for row in rows)
