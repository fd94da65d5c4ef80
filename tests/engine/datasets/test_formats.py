"""Each release from a tiny fixture of our own: what becomes of its rows."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import pytest

from engine.datasets import Dataset, open_dataset
from engine.datasets.items import shown_title

DATA = Path(__file__).parents[2] / "data" / "datasets"


def facts(dataset: Dataset) -> list[tuple[object, ...]]:
    return [
        (e.event_id, e.user, e.item, e.timestamp, e.kind, e.value, e.text)
        for e in dataset.interactions()
    ]


def test_movielens_100k() -> None:
    dataset = open_dataset(DATA / "movielens-100k")
    assert (dataset.name, dataset.format) == (
        "movielens-100k",
        "text between tabs, without a header",
    )
    assert dataset.count is None
    assert facts(dataset) == [
        ("movielens-100k:4", "9", "3", 900_000_000_000, "rating", 1.0, None),
        ("movielens-100k:2", "8", "1", 900_000_010_000, "rating", 5.0, None),
        ("movielens-100k:1", "7", "2", 900_000_020_000, "rating", 4.0, None),
        ("movielens-100k:3", "7", "1", 900_000_030_000, "rating", 3.0, None),
    ]
    assert dataset.count == 4
    keeper, summer, unknown = dataset.items()
    assert keeper.title == "The Lantern Keeper (1997)"
    assert keeper.text == "The Lantern Keeper (1997). Genres: Action, Sci-Fi"
    assert keeper.categories == ["Action", "Sci-Fi"]
    assert keeper.properties == {"year": 1997}
    assert summer.title == "L'Été Perdu (The Lost Summer) (1996)"
    assert (unknown.title, unknown.text, unknown.categories) == ("unknown", "unknown", [])
    assert dataset.problems.count == 0


def test_movielens_1m() -> None:
    dataset = open_dataset(DATA / "movielens-1m")
    assert dataset.format == "text between double colons, without a header"
    assert [row[:4] for row in facts(dataset)] == [
        ("movielens-1m:2", "2", "11", 950_000_000_000),
        ("movielens-1m:1", "1", "10", 950_000_100_000),
        ("movielens-1m:3", "1", "11", 950_000_200_000),
    ]
    cafe, orbit = dataset.items()
    assert (cafe.title, cafe.categories) == ("Café Nocturne (1999)", ["Comedy", "Drama"])
    assert orbit.title == "The Orbit: A Tale::Of Two Moons (1998)"


def test_movielens_10m_is_utf8(tmp_path: Path) -> None:
    (tmp_path / "ratings.dat").write_text("1::2::4.5::950000000\n")
    (tmp_path / "movies.dat").write_text("2::Café (1999)::Drama\n", encoding="utf-8")
    assert next(open_dataset(tmp_path).items()).title == "Café (1999)"


def test_movielens_csv() -> None:
    dataset = open_dataset(DATA / "movielens-csv")
    assert dataset.format == "text between commas"
    assert [(row[0], row[5]) for row in facts(dataset)] == [
        ("movielens-csv:3", 0.5),
        ("movielens-csv:4", 3.0),
        ("movielens-csv:2", 4.5),
    ]
    goat, said, plain = dataset.items()
    assert (goat.title, goat.categories) == ("A Goat, The Mayor (2011)", ["Children", "Comedy"])
    assert (said.title, said.categories) == ('He Said "No" (2009–)', [])
    assert said.properties == {"year": 2009}
    assert (plain.title, plain.properties) == ("Plain Sailing", {})


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        ("Matrix, The (1999)", "The Matrix (1999)"),
        ("Blue Harp, The (Harpe bleue, La) (1995)", "The Blue Harp (La Harpe bleue) (1995)"),
        ("Cry, the Beloved (1995)", "Cry, the Beloved (1995)"),
        ("Paris, France (1993)", "Paris, France (1993)"),
        ("Fast, The and Loose, The", "The Fast, The and Loose"),
        ("Long  Gap (Trou ) (1990)", "Long Gap (Trou) (1990)"),
    ],
)
def test_titles_are_shown_as_people_write_them(stored: str, shown: str) -> None:
    assert shown_title(stored) == shown


def test_amazon_2014_with_metadata_as_python_literals() -> None:
    dataset = open_dataset(DATA / "amazon-2014")
    assert dataset.format == "JSON lines"
    assert facts(dataset) == [
        ("amazon-2014:2", "A2", "B2", 1_300_000_100_000, "review", 1.0, "Broke at once."),
        (
            "amazon-2014:1",
            "A1",
            "B1",
            1_300_000_200_000,
            "review",
            5.0,
            "A good lamp\nBright & sturdy.",
        ),
    ]
    lamp, bare = dataset.items()
    assert (lamp.item, lamp.title) == ("B1", "Reader's Lamp")
    assert lamp.categories == ["Home", "Lamps", "Desk"]
    assert lamp.text == "Reader's Lamp. Categories: Home, Lamps, Desk. A lamp for desks."
    assert lamp.properties == {"brand": "Lumo", "price": 12.5}
    assert (bare.item, bare.title, bare.text) == ("B2", "", "Categories: Home.")
    assert dataset.problems.count == 0


def test_amazon_2018() -> None:
    dataset = open_dataset(DATA / "amazon-2018")
    assert [row[1:] for row in facts(dataset)] == [
        ("A3", "C1", 1_472_600_000_000, "review", 2.0, None),
        ("A1", "C1", 1_472_700_000_000, "review", 4.0, "Nice\nWarm light."),
    ]
    (lamp,) = dataset.items()
    assert lamp.text == "Red Lamp. Categories: Home, Lamps. Red. And warm."
    assert lamp.properties == {"brand": "Lumo", "price": "$9.99"}


def test_amazon_2023() -> None:
    dataset = open_dataset(DATA / "amazon-2023")
    assert dataset.format == "JSON lines"
    assert [row[1:] for row in facts(dataset)] == [
        ("U2", "D2", 1_590_000_000_456, "review", 3.0, None),
        ("U1", "D1", 1_600_000_000_123, "review", 5.0, "Loved it\nLike daylight. Truly"),
    ]
    lamp, bulb = dataset.items()
    assert lamp.text == "Day Lamp. Categories: Home, Lamps. Light for dark days. Dimmable. USB-C."
    assert lamp.properties == {"store": "Lumo"}
    assert bulb.categories == ["Home"]


def test_yelp_json() -> None:
    dataset = open_dataset(DATA / "yelp-json")
    assert dataset.format == "JSON lines"
    assert facts(dataset) == [
        ("r-2", "u-2", "b-2", 1_462_818_600_000, "review", 2.0, "Cold."),
        ("r-1", "u-1", "b-1", 1_494_354_600_000, "review", 4.0, "Good soup.\n\nSlow waiters."),
    ]
    soup, kiosk = dataset.items()
    assert (soup.title, soup.categories) == ("Soup & Spoon", ["Soup", "Restaurants"])
    assert soup.text == "Soup & Spoon. Categories: Soup, Restaurants. Anytown, AZ."
    assert soup.properties == {"city": "Anytown", "state": "AZ"}
    assert kiosk.categories == []


def test_yelp_csv_with_text_over_several_lines() -> None:
    dataset = open_dataset(DATA / "yelp-csv")
    assert dataset.format == "text between commas"
    assert facts(dataset) == [
        ("r-2", "u-2", "b-2", 1_462_818_600_000, "review", 2.0, "Cold."),
        ("r-1", "u-1", "b-1", 1_494_288_000_000, "review", 4.0, 'Good "soup".\n\nSlow, but fine.'),
    ]
    (soup,) = dataset.items()
    assert (soup.title, soup.categories) == ("Soup & Spoon", ["Soup", "Restaurants"])


@pytest.mark.parametrize("folder", sorted(path.name for path in DATA.iterdir()))
def test_gzip_reads_the_same(folder: str, tmp_path: Path) -> None:
    zipped = tmp_path / folder
    zipped.mkdir()
    for file in (DATA / folder).iterdir():
        with gzip.open(zipped / f"{file.name}.gz", "wb") as target:
            target.write(file.read_bytes())
    plain, packed = open_dataset(DATA / folder), open_dataset(zipped)
    assert facts(packed) == facts(plain)
    assert list(packed.items()) == list(plain.items())


@pytest.mark.parametrize("folder", sorted(path.name for path in DATA.iterdir()))
def test_event_ids_are_the_same_in_every_run(folder: str, tmp_path: Path) -> None:
    copy = shutil.copytree(DATA / folder, tmp_path / folder)
    first = {row[0]: row[1:] for row in facts(open_dataset(DATA / folder, seed=1))}
    again = {row[0]: row[1:] for row in facts(open_dataset(copy, seed=2))}
    assert first == again
    assert len(first) >= 2
