"""How well whole streams are ranked, against popularity."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from engine import EngineSettings
from engine.datasets import Synthetic, open_dataset
from engine.datasets.dataset import Dataset
from engine.evaluation.prequential import PrequentialEvaluator

ML_100K = Path(__file__).parents[4] / "shared" / "data" / "ml-100k"


def measured(source: Dataset, aggregator: str = "numba") -> dict[str, Any]:
    settings = EngineSettings.model_validate({"aggregator": aggregator})
    evaluator = PrequentialEvaluator(settings, source.items(), answers=False)
    for _ in evaluator.run(source.interactions()):
        pass
    return evaluator.report()


def measured_movielens(aggregator: str) -> dict[str, Any]:
    return measured(open_dataset(ML_100K), aggregator)


def test_the_synthetic_stream_is_learnt_far_better_than_popularity() -> None:
    report = measured(Synthetic(events=4000, items=200, seed=5))
    assert report["ndcg@10"] > 1.5 * report["baselines"]["popularity"]["ndcg@10"]
    assert report["queries"] > 2500


@pytest.mark.long
@pytest.mark.skipif(not ML_100K.is_dir(), reason="MovieLens 100K is not beside the repository")
def test_movielens_100k_is_ranked_well_and_in_8_bits_as_well() -> None:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as processes:
        report, in_8_bits = processes.map(measured_movielens, ("numba", "int8"))
    assert in_8_bits["ndcg@10"] > report["ndcg@10"] - 0.0005
    assert report["ndcg@10"] > 0.117
    assert report["second_half"]["ndcg@10"] > 0.125
    assert report["batch_strict"]["ndcg@10"] > 0.103
    assert report["cold_items"]["ndcg@10"] > 0.026
    for baseline in report["baselines"].values():
        assert report["ndcg@10"] > 2 * baseline["ndcg@10"]
