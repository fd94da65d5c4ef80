"""The real files that lie beside a checkout, where they do."""

from __future__ import annotations

from itertools import islice, pairwise
from pathlib import Path

import pytest

from engine.datasets import DatasetError, open_dataset

SHARED = Path(__file__).parents[4] / "shared" / "data"


def real(folder: str) -> Path:
    if not (SHARED / folder).is_dir():
        pytest.skip(f"{folder} is not in ../shared/data")
    return SHARED / folder


@pytest.mark.parametrize(
    ("folder", "events", "items", "users"),
    [
        pytest.param("ml-100k", 100_000, 1682, 943, marks=pytest.mark.long),
        ("yelp-sample", 3609, 0, None),
        ("amazon-gift-cards", 2972, 1547, 458),
        ("groceries", 38_765, 0, 3898),
        pytest.param("lastfm-recbole", 68_436, 11_853, 1142, marks=pytest.mark.long),
        pytest.param("yoochoose", 70_278, 0, None, marks=pytest.mark.long),
    ],
)
def test_every_row_is_read(folder: str, events: int, items: int, users: int | None) -> None:
    dataset = open_dataset(real(folder), strict=True)
    assert len(list(dataset.items())) == items
    read = list(dataset.interactions())
    assert len(read) == dataset.count == events
    assert len({event.event_id for event in read}) == events
    assert users is None or len({event.user for event in read}) == users
    assert all(a.timestamp <= b.timestamp for a, b in pairwise(read))


def test_titles_of_movielens() -> None:
    titles = {item.item: item.title for item in open_dataset(real("ml-100k")).items()}
    assert titles["12"] == "The Usual Suspects (1995)"


def test_movielens_1m_without_ratings() -> None:
    if (real("ml-1m") / "ratings.dat").exists():
        pytest.skip("ratings.dat is there")
    with pytest.raises(DatasetError, match=r"but not ratings\.dat: get it from ml-1m\.zip"):
        open_dataset(real("ml-1m"))


@pytest.mark.long
def test_the_complete_journey_is_parquet() -> None:
    pytest.importorskip("arro3.io", reason="needs the extra parquet")
    dataset = open_dataset(real("complete-journey"), strict=True)
    assert dataset.choices == [
        "transactions.parquet: user <- household_id, item <- product_id, "
        "time <- transaction_timestamp (date)",
        "products.parquet: item <- product_id, "
        "categories <- department + product_category + product_type",
    ]
    read = list(islice(dataset.interactions(), 1000))
    assert dataset.count == 1_469_307
    assert all(a.timestamp <= b.timestamp for a, b in pairwise(read))
    assert sum(1 for _ in dataset.items()) == 92_331
