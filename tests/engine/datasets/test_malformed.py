"""Rows that are no interaction: skipped and counted with file, line and reason, or fatal."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from engine.datasets import DatasetError, MalformedRow, open_dataset
from engine.datasets.sources import MAX_LINE
from engine.datasets.values import MAX_TEXT, MAX_TITLE

GOOD = "7\t2\t4\t900000020"


def review(**changes: object) -> str:
    row = {
        "review_id": "r",
        "user_id": "u",
        "business_id": "b",
        "stars": 4.0,
        "text": "Fine.",
        "date": "2017-05-09 18:30:00",
    }
    return json.dumps({**row, **changes})


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("7\t2\t4", "3 fields where other rows have 4"),
        ("7\t2\t4\t900000020\t1", "5 fields where other rows have 4"),
        ("7\t2\tfour\t900000020", "rating 'four' is not a finite number"),
        ("7\t2\tnan\t900000020", "rating 'nan' is not a finite number"),
        ("7\t2\t-inf\t900000020", "rating '-inf' is not a finite number"),
        ("7\t2\t1_0\t900000020", "rating '1_0' is not a finite number"),
        ("7\t2\t1e9\t900000020", "value 1000000000.0: Expected `float` <= 1000000.0"),
        ("7\t2\t4\t0", "timestamp '0' is no timestamp between 1990 and 2100"),
        ("7\t2\t4\t9999999999", "timestamp '9999999999' is no timestamp between"),
        ("7\t2\t4\t-5", "timestamp '-5' is no timestamp between"),
        ("7\t2\t4\t9e8x", "timestamp '9e8x' is no timestamp between"),
        ("\t2\t4\t900000020", "user is blank; expected an id"),
        ("7\t \t4\t900000020", "item is blank; expected an id"),
        ("u" * 300 + "\t2\t4\t900000020", "user '" + "u" * 39 + "…: Expected `str` of length <="),
    ],
)
def test_a_bad_rating(row: str, reason: str, tmp_path: Path) -> None:
    file = tmp_path / "u.data"
    file.write_text(f"{GOOD}\n\n{row}\n{GOOD}\n")
    dataset = open_dataset(tmp_path)
    assert [event.event_id for event in dataset.interactions()] == [
        f"{tmp_path.name}:1",
        f"{tmp_path.name}:4",
    ]
    (problem,) = dataset.problems.rows
    assert (problem.file, problem.line, dataset.problems.count) == ("u.data", 3, 1)
    assert problem.reason.startswith(reason)
    with pytest.raises(DatasetError, match=r"u\.data line 3: .*; mend or delete the row"):
        list(open_dataset(tmp_path, strict=True).interactions())


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b'{"review_id": "r"', "Input data was truncated"),
        (b"[1]", "Expected `object`, got `array`"),
        (review().replace("4.0", "NaN").encode(), "JSON is malformed"),
        (review(stars="many").encode(), "stars 'many' is not a finite number"),
        (review(stars=None).encode(), "stars is blank; expected a number"),
        (
            review(date="yesterday").encode(),
            "date 'yesterday' is no timestamp between 1990 and 2100",
        ),
        (review(date="1970-01-01").encode(), "date '1970-01-01' is no timestamp between"),
        (review(user_id="").encode(), "user_id is blank"),
        (review(review_id="x" * 300).encode(), "event_id 'xxx"),
        (b'{"review_id": "r", "user_id": "u"}', "stars is blank"),
        (review(business_id=None).encode(), "business_id is blank"),
        (review().encode().replace(b"Fine", b"\xff\xfe"), "'utf-8' codec can't decode"),
    ],
)
def test_a_bad_json_review(row: bytes, reason: str, tmp_path: Path) -> None:
    file = tmp_path / "yelp_academic_dataset_review.json"
    file.write_bytes(review().encode() + b"\n" + row + b"\n")
    dataset = open_dataset(tmp_path)
    assert len(list(dataset.interactions())) == 1
    (problem,) = dataset.problems.rows
    assert (problem.file, problem.line) == (file.name, 2)
    assert problem.reason.startswith(reason)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b"1,2,3\n", "3 fields where the header has 4"),
        (b"1,2\xff,3,900000000\n", "not UTF-8"),
        (b'1,"2"x,3,900000000\n', "not CSV: ',' expected after '\"'"),
        (b'1,2,3,"900000000\n', "not CSV: unexpected end of data"),
    ],
)
def test_a_bad_csv_row(row: bytes, reason: str, tmp_path: Path) -> None:
    head = b"\xef\xbb\xbfuserId,movieId,rating,timestamp\n1,2,3,900000000\n\n"
    (tmp_path / "ratings.csv").write_bytes(head + row)
    dataset = open_dataset(tmp_path)
    assert len(list(dataset.interactions())) == 1
    assert dataset.problems.rows == [MalformedRow("ratings.csv", 4, reason)]


def test_a_csv_row_is_numbered_by_its_first_line(tmp_path: Path) -> None:
    good = 'r,u,b,4,2017-05-09,"two\n\nlines"\n'
    text = f"review_id,user_id,business_id,stars,date,text\n{good}r,u,b,x,2017-05-09,\n{good}"
    (tmp_path / "yelp_review.csv").write_text(text)
    dataset = open_dataset(tmp_path)
    assert [event.text for event in dataset.interactions()] == ["two\n\nlines"] * 2
    assert [problem.line for problem in dataset.problems.rows] == [5]


def test_a_table_of_items_that_is_empty_is_none(tmp_path: Path) -> None:
    (tmp_path / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,2,3,900000000\n")
    (tmp_path / "movies.csv").write_text("\n")
    dataset = open_dataset(tmp_path)
    assert list(dataset.items()) == []
    assert len(list(dataset.interactions())) == 1


def test_gzip_that_breaks_off_keeps_what_came_before(tmp_path: Path) -> None:
    rows = "".join(f"{user}\t2\t4\t{900000000 + user}\n" for user in range(1, 20001))
    packed = gzip.compress(rows.encode())
    (tmp_path / "u.data.gz").write_bytes(packed[: len(packed) // 2])
    dataset = open_dataset(tmp_path)
    events = list(dataset.interactions())
    assert 0 < len(events) < 20000
    (problem,) = dataset.problems.rows
    assert problem.line > len(events)
    assert "compressed data break off here" in problem.reason


def test_a_line_without_end_is_not_held_in_memory(tmp_path: Path) -> None:
    with (tmp_path / "u.data").open("w") as file:
        file.write(f"{GOOD}\n{'x' * (2 * MAX_LINE + 5)}\n{GOOD}\n")
    dataset = open_dataset(tmp_path)
    assert [event.event_id[-2:] for event in dataset.interactions()] == [":1", ":3"]
    assert [problem.line for problem in dataset.problems.rows] == [2]


def test_too_long_texts_are_cut(tmp_path: Path) -> None:
    (tmp_path / "meta_A.jsonl").write_text(
        json.dumps({"parent_asin": "p", "title": "t" * 9999, "description": "d" * 200_000})
    )
    row = {"user_id": "u", "parent_asin": "p", "rating": 1, "timestamp": 1_600_000_000_000}
    (tmp_path / "A.jsonl").write_text(json.dumps({**row, "text": "x" * 200_000}))
    dataset = open_dataset(tmp_path)
    (event,), (item,) = dataset.interactions(), dataset.items()
    assert (len(event.text or ""), len(item.title), len(item.text)) == (
        MAX_TEXT,
        MAX_TITLE,
        MAX_TEXT,
    )
    assert dataset.problems.count == 0


def test_a_python_literal_is_data_and_never_code(tmp_path: Path) -> None:
    (tmp_path / "reviews_A.json").write_text(
        '{"reviewerID": "u", "asin": "a", "overall": 5.0, "unixReviewTime": 1300000000}\n'
    )
    witness = tmp_path / "witness"
    call = f"__import__('pathlib').Path({str(witness)!r}).touch()"
    rows = ("{'asin': 'a', 'title': 'x\\ud800'}", f"{{'asin': {call}}}", "{'asin': " + "[" * 9999)
    (tmp_path / "meta_A.json").write_text("\n".join(rows))
    dataset = open_dataset(tmp_path)
    assert [item.title for item in dataset.items()] == ["x?"]
    assert [problem.line for problem in dataset.problems.rows] == [2, 3]
    assert not witness.exists()


def test_bad_movies(tmp_path: Path) -> None:
    (tmp_path / "u.data").write_text(f"{GOOD}\n")
    flags = "|".join("0" * 18)
    rows = f"1|A||||{flags}\n2|B||||{flags}|2\n|C||||{flags}|1\n4|D||||{flags}|1\n"
    (tmp_path / "u.item").write_text(rows)
    dataset = open_dataset(tmp_path)
    assert [item.item for item in dataset.items()] == ["4"]
    assert [problem.reason.split(" [")[0] for problem in dataset.problems.rows] == [
        "23 fields where other rows have 24",
        "genre flags",
        "item is blank; expected an id",
    ]


def test_many_problems_are_counted_and_the_first_kept(tmp_path: Path) -> None:
    (tmp_path / "u.data").write_text(f"{GOOD}\n" + "bad\n" * 100)
    dataset = open_dataset(tmp_path)
    for _ in range(2):  # reading again does not count again
        assert len(list(dataset.interactions())) == 1
        assert dataset.problems.count == 100
        assert [problem.line for problem in dataset.problems.rows] == list(range(2, 22))
