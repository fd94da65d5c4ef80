"""What a path is recognised as, and what is said where it is not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from engine.datasets import DatasetError, open_dataset

DATA = Path(__file__).parents[2] / "data" / "datasets"


@pytest.mark.parametrize(
    "file",
    [
        "movielens-100k/u.data",
        "movielens-1m/ratings.dat",
        "movielens-csv/ratings.csv",
        "yelp-json/yelp_academic_dataset_review.json",
        "yelp-csv/yelp_review.csv",
    ],
)
def test_a_prescribed_file_stands_for_its_folder(file: str) -> None:
    by_file, by_folder = open_dataset(DATA / file), open_dataset((DATA / file).parent)
    assert (by_file.name, by_file.format) == (by_folder.name, by_folder.format)
    assert list(by_file.interactions()) == list(by_folder.interactions())
    items = list(by_file.items())
    assert items == list(by_folder.items())
    assert items


@pytest.mark.parametrize("release", ["2014", "2018", "2023"])
def test_an_amazon_file_finds_its_metadata(release: str) -> None:
    file = next(f for f in (DATA / f"amazon-{release}").iterdir() if "meta" not in f.name)
    dataset = open_dataset(file)
    assert dataset.name == file.stem
    assert next(dataset.interactions()).event_id.startswith(f"{file.stem}:")
    assert list(dataset.items()) == list(open_dataset(file.parent).items())


def test_another_name_is_told_by_its_content(tmp_path: Path) -> None:
    shutil.copy(DATA / "movielens-100k" / "u.data", tmp_path / "u1.base")
    dataset = open_dataset(str(tmp_path / "u1.base"))
    assert (dataset.name, dataset.format) == (
        "u1",
        "text between tabs, without a header",
    )


def test_several_amazon_categories_make_one_stream(tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    shutil.copytree(DATA / "amazon-2023", folder)
    shutil.copy(folder / "Lamps.jsonl", folder / "Chairs.jsonl")
    ids = {event.event_id for event in open_dataset(folder).interactions()}
    assert ids == {"shop:Chairs:1", "shop:Chairs:2", "shop:Lamps:1", "shop:Lamps:2"}


def test_a_long_name_still_gives_valid_ids(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 60)
    shutil.copytree(DATA / "amazon-2023", folder)
    shutil.copy(folder / "Lamps.jsonl", folder / ("c" * 240 + ".jsonl"))
    dataset = open_dataset(folder)
    assert len({event.event_id for event in dataset.interactions()}) == 4
    assert dataset.problems.count == 0


def test_an_amazon_category_and_its_core_are_not_mixed(tmp_path: Path) -> None:
    shutil.copytree(DATA / "amazon-2018", tmp_path, dirs_exist_ok=True)
    shutil.copy(tmp_path / "Lamps.json", tmp_path / "Lamps_5.json")
    with pytest.raises(DatasetError, match=r"Lamps\.json and Lamps_5\.json.*open one of them"):
        open_dataset(tmp_path)


@pytest.mark.parametrize(
    ("folder", "wanted"),
    [
        ("movielens-100k", "u.data"),
        ("movielens-1m", "ratings.dat"),
        ("movielens-csv", "ratings.csv"),
        ("yelp-json", "yelp_academic_dataset_review.json"),
        ("yelp-csv", "yelp_review.csv"),
    ],
)
def test_a_missing_part_is_named_with_its_source(folder: str, wanted: str, tmp_path: Path) -> None:
    copy = shutil.copytree(DATA / folder, tmp_path / folder)
    (copy / wanted).unlink()
    with pytest.raises(
        DatasetError, match=f"but not {wanted}: get it from .*(grouplens|yelp)"
    ) as e:
        open_dataset(copy)
    assert "\n" not in str(e.value)


def test_amazon_metadata_alone(tmp_path: Path) -> None:
    shutil.copy(DATA / "amazon-2023" / "meta_Lamps.jsonl", tmp_path)
    with pytest.raises(DatasetError, match="no file of reviews: get that of Lamps from"):
        open_dataset(tmp_path)


def test_a_missing_path(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"there is no such file or folder.*u\.data"):
        open_dataset(tmp_path / "nowhere")


def test_a_folder_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "inner").mkdir()
    with pytest.raises(DatasetError, match=r"looked for u\.data.*found inner/, notes\.txt; give"):
        open_dataset(tmp_path)


def test_a_file_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello\n")
    with pytest.raises(DatasetError, match="its first line is b'hello"):
        open_dataset(tmp_path / "notes.txt")
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(DatasetError, match="it is empty"):
        open_dataset(tmp_path / "empty.csv")


def test_two_data_sets_in_one_folder(tmp_path: Path) -> None:
    for folder in ("movielens-100k", "yelp-json"):
        shutil.copytree(DATA / folder, tmp_path, dirs_exist_ok=True)
    with pytest.raises(DatasetError, match="MovieLens 100K and Yelp JSON: open one of them"):
        open_dataset(tmp_path)
    assert open_dataset(tmp_path / "u.data").format.startswith("text between tabs")
