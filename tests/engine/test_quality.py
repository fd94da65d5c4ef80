"""How well whole streams are ranked, against popularity."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine import EngineSettings
from engine.datasets import Synthetic, open_dataset
from engine.datasets.dataset import Dataset
from engine.evaluation.prequential import PrequentialEvaluator

ML_100K = Path(__file__).parents[3] / "shared" / "data" / "ml-100k"


def evaluated(source: Dataset, aggregator: str = "numba") -> PrequentialEvaluator:
    settings = EngineSettings.model_validate({"aggregator": aggregator})
    evaluator = PrequentialEvaluator(settings, source.items())
    for _ in evaluator.run(source.interactions()):
        pass
    return evaluator


def test_the_synthetic_stream_is_learnt_far_better_than_popularity() -> None:
    report = evaluated(Synthetic(events=6000, seed=5)).report()
    assert report["ndcg@10"] > 1.5 * report["baselines"]["popularity"]["ndcg@10"]
    assert report["queries"] > 4000


@pytest.mark.skipif(not ML_100K.is_dir(), reason="MovieLens 100K is not beside the repository")
def test_movielens_100k_is_ranked_well_and_in_8_bits_as_well() -> None:
    report = evaluated(open_dataset(ML_100K)).report()
    in_8_bits = evaluated(open_dataset(ML_100K), "int8").report()
    assert in_8_bits["ndcg@10"] > report["ndcg@10"] - 0.0005
    assert report["ndcg@10"] > 0.117
    assert report["second_half"]["ndcg@10"] > 0.125
    assert report["batch_strict"]["ndcg@10"] > 0.103
    assert report["cold_items"]["ndcg@10"] > 0.026
    for baseline in report["baselines"].values():
        assert report["ndcg@10"] > 2 * baseline["ndcg@10"]
