"""Any table of events is a data set: every layout, every compression, one file or several."""

from __future__ import annotations

import gzip
import json
import zipfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from backports import zstd

from engine.datasets import Dataset, DatasetError, open_dataset, parse_columns
from engine.events import Kinds

ROWS = [
    {"visitorid": "v1", "itemid": 7, "event": "view", "timestamp": 1_433_221_332_117},
    {"visitorid": "v2", "itemid": 8, "event": "addtocart", "timestamp": 1_433_224_214_164},
    {"visitorid": "v1", "itemid": 9, "event": "transaction", "timestamp": 1_433_221_999_827},
]
EVENTS = [
    ("v1", "7", 1_433_221_332_117, "view"),
    ("v1", "9", 1_433_221_999_827, "purchase"),
    ("v2", "8", 1_433_224_214_164, "cart"),
]
CHOSEN = "user <- visitorid, item <- itemid, time <- timestamp (ms), kind <- event"


def text(separator: str) -> bytes:
    rows = [list(ROWS[0]), *(list(row.values()) for row in ROWS)]
    return "".join(separator.join(map(str, row)) + "\n" for row in rows).encode()


def parquet(rows: list[dict[str, Any]]) -> bytes:
    core = pytest.importorskip("arro3.core", reason="needs the extra parquet")
    from io import BytesIO

    from arro3.io import write_parquet

    columns = {}
    for name in rows[0]:
        values = [row[name] for row in rows]
        kind = core.DataType.string() if isinstance(values[0], str) else core.DataType.int64()
        columns[name] = core.Array(values, type=kind)
    file = BytesIO()
    write_parquet(core.Table.from_pydict(columns), file)
    return file.getvalue()


LAYOUTS: dict[str, Callable[[], bytes]] = {
    "csv": lambda: text(","),
    "tsv": lambda: text("\t"),
    "semicolons.csv": lambda: text(";"),
    "bars.txt": lambda: text("|"),
    "jsonl": lambda: "".join(json.dumps(row) + "\n" for row in ROWS).encode(),
    "json": lambda: json.dumps(ROWS, indent=1).encode(),
    "parquet": lambda: parquet(ROWS),
}


def zipped(content: bytes, folder: Path, name: str) -> Path:
    with zipfile.ZipFile(folder / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return folder / f"{name}.zip"


def written(content: bytes, folder: Path, name: str) -> Path:
    (folder / name).write_bytes(content)
    return folder / name


COMPRESSIONS: dict[str, Callable[[bytes, Path, str], Path]] = {
    "plain": written,
    "gz": lambda content, folder, name: written(gzip.compress(content), folder, f"{name}.gz"),
    "zst": lambda content, folder, name: written(zstd.compress(content), folder, f"{name}.zst"),
    "zip": zipped,
}


def events(dataset: Dataset) -> list[tuple[str, str | None, int, str]]:
    return [(e.user, e.item, e.timestamp, e.kind) for e in dataset.interactions()]


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_and_compression(layout: str, compression: str, tmp_path: Path) -> None:
    file = COMPRESSIONS[compression](LAYOUTS[layout](), tmp_path, f"events.{layout}")
    for path in (file, tmp_path):
        dataset = open_dataset(path, strict=True)
        assert events(dataset) == EVENTS
        assert [choice.partition(": ")[2] for choice in dataset.choices] == [CHOSEN]
        assert dataset.problems.rows == []


def test_several_files_and_a_folder_of_parts_are_one_stream(tmp_path: Path) -> None:
    header, *rows = text(",").splitlines(keepends=True)
    parts = tmp_path / "day=1"
    parts.mkdir()
    for number, row in enumerate(rows):
        (parts / f"part-{number}.csv").write_bytes(header + row)
    several = open_dataset(sorted(parts.iterdir()))
    for dataset in (several, open_dataset(parts), open_dataset(tmp_path)):
        assert events(dataset) == EVENTS
    ids = {event.event_id for event in several.interactions()}
    assert ids == {"part-0:part-0:2", "part-0:part-1:2", "part-0:part-2:2"}


def test_files_of_other_columns_that_are_named_are_one_stream(tmp_path: Path) -> None:
    (tmp_path / "views.csv").write_text("user,item,ts\nann,a,1500000002\n")
    (tmp_path / "orders.jsonl").write_text(
        '{"customer_id": 5, "sku": "b", "date": "2017-07-14T02:40:01Z", "kind": "purchase"}\n'
    )
    with pytest.raises(DatasetError, match=r"two tables of events, orders\.jsonl \(columns cust"):
        open_dataset(tmp_path)
    dataset = open_dataset([tmp_path / "views.csv", tmp_path / "orders.jsonl"])
    assert events(dataset) == [
        ("5", "b", 1_500_000_001_000, "purchase"),
        ("ann", "a", 1_500_000_002_000, "click"),
    ]


@pytest.mark.parametrize(
    ("header", "chosen"),
    [
        ("user_id:token,item_id:token,timestamp:float", ("user_id:token", "item_id:token")),
        ("SessionId,ItemId,Time", ("SessionId", "ItemId")),
        ("customer_id,article_id,t_dat_time", ("customer_id", "article_id")),
        ("household_id,product_id,transaction_timestamp", ("household_id", "product_id")),
        ("reviewerID,asin,unixReviewTime", ("reviewerID", "asin")),
        ("Member_number,itemDescription,Date", ("Member_number", "itemDescription")),
        ("userId,artist,ts", ("userId", "artist")),
        ("user_id,session_id,parent_asin,eventdate", ("user_id", "parent_asin")),
        ("CustomerID,StockCode,InvoiceDate", ("CustomerID", "StockCode")),
        ("USER ID,Movie Id,Created At", ("USER ID", "Movie Id")),
    ],
)
def test_usual_names(header: str, chosen: tuple[str, str], tmp_path: Path) -> None:
    file = tmp_path / "log.csv"
    width = header.count(",") + 1
    row = ["x"] * (width - 1) + ["1500000000"]
    file.write_text(f"{header}\n{','.join(row)}\n")
    dataset = open_dataset(file)
    user, item = chosen
    time = header.rsplit(",", maxsplit=1)[-1]
    assert dataset.choices == [f"log.csv: user <- {user}, item <- {item}, time <- {time} (s)"]
    assert events(dataset) == [("x", "x", 1_500_000_000_000, "click")]


def test_columns_that_are_named(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("who,what,moment,did\nann,a,1500000000,view\n")
    with pytest.raises(DatasetError) as error:
        open_dataset(tmp_path)
    for said in ("who, what, moment, did", "no column that is known as the user or the item",
                 "--columns user=NAME,item=NAME"):  # fmt: skip
        assert said in str(error.value)
    roles = parse_columns("user=who, item=what,timestamp=moment,kind=did")
    for path in (tmp_path, tmp_path / "log.csv"):
        assert events(open_dataset(path, columns=roles)) == [
            ("ann", "a", 1_500_000_000_000, "view")
        ]
        with pytest.raises(DatasetError, match=r"log\.csv has no column 'whom'.*who, what, moment"):
            open_dataset(path, columns={"user": "whom"})
    with pytest.raises(DatasetError, match="'person=who': write role=column, as user=visitorid"):
        parse_columns("person=who")


def test_a_table_without_a_header_is_told_by_its_values_or_by_numbers(tmp_path: Path) -> None:
    clicks = tmp_path / "yoochoose-clicks.dat"
    clicks.write_text("1,2014-04-07T10:51:09.277Z,214536502,0\n1,2014-04-07T10:54:09.868Z,2,0\n")
    dataset = open_dataset(clicks)
    assert dataset.choices[0].endswith("user <- 1, item <- 3, time <- 2 (ISO 8601), value <- 4")
    assert [event.item for event in dataset.interactions()] == ["214536502", "2"]
    pairs = tmp_path / "pairs.txt"
    pairs.write_text("ann\ta\nbob\tb\n")
    with pytest.raises(DatasetError, match=r"no header.*--columns user=1,item=2,timestamp=3"):
        open_dataset(pairs)
    by_number = open_dataset(pairs, columns={"user": "1", "item": "2"})
    assert [event.user for event in by_number.interactions()] == ["ann", "bob"]


def test_without_a_time_the_order_of_the_file_counts_and_is_said(tmp_path: Path) -> None:
    rows = "".join(f"u{n % 3},i{n}\n" for n in range(50))
    (tmp_path / "log.csv").write_text(f"user,item\n{rows}")
    dataset = open_dataset(tmp_path)
    assert [event.item for event in dataset.interactions()] == [f"i{n}" for n in range(50)]
    assert "no time: events in the file's order" in dataset.choices[0]
    [note] = dataset.problems.notes
    assert "log.csv line 1: no column is known as the timestamp" in str(note)
    assert dataset.problems.count == 0


@pytest.mark.parametrize(
    ("written_as", "how", "expected"),
    [
        ("1500000000", "s", 1_500_000_000_000),
        ("1500000000.25", "s", 1_500_000_000_250),
        ("1.5e9", "s", 1_500_000_000_000),
        ("1500000000123", "ms", 1_500_000_000_123),
        ("1500000000123456", "µs", 1_500_000_000_123),
        ("1500000000123456789", "ns", 1_500_000_000_123),
        ("2017-07-14T02:40:00Z", "ISO 8601", 1_500_000_000_000),
        ("2017-07-14T04:40:00.5+02:00", "ISO 8601", 1_500_000_000_500),
        ("2017-07-14 02:40:00", "ISO 8601", 1_500_000_000_000),
        ("2017-07-14 02:40:00 UTC", "ISO 8601", 1_500_000_000_000),
        ("2017-07-14", "ISO 8601", 1_499_990_400_000),
        ("20170714", "date", 1_499_990_400_000),
        ("14-07-2017", "date, day first", 1_499_990_400_000),
        ("07/14/2017 2:40:00 AM", "date, month first", 1_500_000_000_000),
        ("14.07.2017 02:40", "date, day first", 1_500_000_000_000),
        ("Jul 14, 2017", "date", 1_499_990_400_000),
        ("Fri Jul 14 02:40:00 +0000 2017", "date", 1_500_000_000_000),
    ],
)
def test_times(written_as: str, how: str, expected: int, tmp_path: Path) -> None:
    (tmp_path / "log.tsv").write_text(f"user\titem\ttime\nu\ti\t{written_as}\n")
    dataset = open_dataset(tmp_path)
    assert dataset.choices == [f"log.tsv: user <- user, item <- item, time <- time ({how})"]
    assert [event.timestamp for event in dataset.interactions()] == [expected]


def test_a_column_of_days_is_read_one_way_from_top_to_bottom(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(
        "user,item,date\nu,a,05/01/2015\nu,b,21/07/2015\nu,c,13/13/2015\n"
    )
    dataset = open_dataset(tmp_path)
    days = [datetime.fromtimestamp(e.timestamp / 1000).date() for e in dataset.interactions()]
    assert [day.isoformat() for day in days] == ["2015-01-05", "2015-07-21"]
    assert [problem.line for problem in dataset.problems.malformed] == [4]


def test_parquet_says_its_row_and_has_times_of_its_own(tmp_path: Path) -> None:
    rows = [{**row, "timestamp": row["timestamp"] if n else -1} for n, row in enumerate(ROWS)]
    (tmp_path / "log.parquet").write_bytes(parquet(rows))
    dataset = open_dataset(tmp_path)
    assert len(events(dataset)) == 2
    [problem] = dataset.problems.malformed
    assert str(problem).startswith("log.parquet line 1: timestamp -1 is no timestamp between")
    (tmp_path / "log.parquet").write_bytes(parquet(ROWS)[:-20] + b"PAR1")
    with pytest.raises(DatasetError, match=r"log\.parquet cannot be read as Parquet"):
        open_dataset(tmp_path)


def test_a_bad_row_in_a_json_array_is_named_by_its_line(tmp_path: Path) -> None:
    good = json.dumps(ROWS[0])
    (tmp_path / "log.json").write_text(f"[\n {good},\n 5,\n {good},\n {{broken}} ]")
    dataset = open_dataset(tmp_path)
    assert len(events(dataset)) == 2
    assert [problem.line for problem in dataset.problems.malformed] == [3, 5]


def test_one_broken_quote_costs_one_row(tmp_path: Path) -> None:
    rows = "".join(f"u{n},i{n},{1_500_000_000 + n}\n" for n in range(100))
    (tmp_path / "log.csv").write_text(f'user,item,time\n{rows}"u,i,1500000000\n{rows}')
    dataset = open_dataset(tmp_path)
    assert len(events(dataset)) == 200
    assert [problem.line for problem in dataset.problems.malformed] == [102]


def test_a_broken_archive_keeps_what_came_before(tmp_path: Path) -> None:
    rows = "".join(f"u{n},i{n % 97},{1_500_000_000 + n}\n" for n in range(60_000))
    packed = zstd.compress(f"user,item,time\n{rows}".encode())
    (tmp_path / "log.csv.zst").write_bytes(packed[: len(packed) // 2])
    dataset = open_dataset(tmp_path)
    assert 0 < len(events(dataset)) < 60_000
    [problem] = dataset.problems.malformed
    assert "the compressed data break off here" in problem.reason


# ------------------------------------------------------------------ items


def test_a_table_of_items_is_found_beside_or_named(tmp_path: Path) -> None:
    log, shop = tmp_path / "log", tmp_path / "shop"
    log.mkdir()
    shop.mkdir()
    (log / "events.csv").write_text("user,item,ts\nann,1,1500000000\n")
    (shop / "products.json").write_text(
        '[{"id": 1, "name": "Lamp", "category": "Home|Light", "description": "A <b>lamp</b>",'
        ' "brand": "Lumo", "price": 9.5}]'
    )
    assert list(open_dataset(log).items()) == []
    named = open_dataset(log, items=shop / "products.json")
    (log / "products.json").write_bytes((shop / "products.json").read_bytes())
    beside = open_dataset(log / "events.csv")
    for dataset in (named, beside, open_dataset(log)):
        [item] = dataset.items()
        assert (item.item, item.title, item.categories) == ("1", "Lamp", ["Home", "Light"])
        assert item.text == "Lamp. Categories: Home, Light. A lamp."
        assert item.properties == {"brand": "Lumo", "price": 9.5}
        assert dataset.choices[1] == (
            "products.json: item <- id, title <- name, categories <- category, text <- description"
        )
    with pytest.raises(DatasetError, match=r"events\.csv has no column of items with a title"):
        open_dataset(log, items=log / "events.csv")


def test_recbole_with_its_types(tmp_path: Path) -> None:
    (tmp_path / "ml.inter").write_text(
        "user_id:token\titem_id:token\trating:float\ttimestamp:float\n1\t2\t3\t8.91717742e8\n"
    )
    (tmp_path / "ml.item").write_text(
        'item_id:token\tmovie_title:token_seq\tclass:token_seq\n2\tKolya "x"\tComedy Drama\n'
    )
    (tmp_path / "ml.user").write_text("user_id:token\tage:token\n1\t49\n")
    for path in (tmp_path, tmp_path / "ml.inter"):
        dataset = open_dataset(path, strict=True)
        assert events(dataset) == [("1", "2", 891_717_742_000, "rating")]
        [item] = dataset.items()
        assert (item.title, item.categories) == ('Kolya "x"', ["Comedy", "Drama"])


# ------------------------------------------------------------------ messages


def test_messages_are_a_data_set(tmp_path: Path) -> None:
    own = {"event_id": "e1", "user": "u", "item": "i", "timestamp": 1_500_000_000_000,
           "kind": "purchase", "properties": {"basket": "b7"}}  # fmt: skip
    gorse = {"FeedbackType": "star", "UserId": "u", "ItemId": "i",
             "Timestamp": "2017-07-14T02:40:00Z", "Comment": ""}  # fmt: skip
    metarank = {"event": "interaction", "id": "m1", "timestamp": "1500000000000", "user": "u",
                "session": "s", "item": "i", "type": "click", "fields": []}  # fmt: skip
    cloud = {"specversion": "1.0", "id": "c1", "source": "shop", "type": "com.example.purchase",
             "time": "2017-07-14T02:40:00Z", "data": {"user": "u", "item": "i"}}  # fmt: skip
    kinds = {"own": "purchase", "gorse": "like", "metarank": "click", "cloud": "purchase"}
    for name, message in (("own", own), ("gorse", gorse), ("metarank", metarank), ("cloud", cloud)):
        file = tmp_path / f"{name}.jsonl"
        file.write_text(json.dumps(message) + "\n")
        dataset = open_dataset(file, strict=True)
        assert events(dataset) == [("u", "i", 1_500_000_000_000, kinds[name])], name
    [event] = open_dataset(tmp_path / "own.jsonl").interactions()
    assert (event.event_id, event.properties) == ("e1", {"basket": "b7"})


def test_metarank_s_items_lie_among_its_interactions(tmp_path: Path) -> None:
    messages = [
        {"event": "item", "id": "x", "timestamp": "1500000000000", "item": "i",
         "fields": [{"name": "title", "value": "Lamp"}, {"name": "category", "value": ["Home"]}]},
        {"event": "interaction", "id": "m1", "timestamp": "1500000000000", "user": "u",
         "session": "s", "item": "i", "type": "click", "fields": []},
        {"event": "ranking", "id": "r", "timestamp": "1500000000000", "user": "u", "session": "s",
         "fields": [], "items": [{"id": "i"}]},
    ]  # fmt: skip
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(one) + "\n" for one in messages))
    dataset = open_dataset(tmp_path, strict=True)
    assert events(dataset) == [("u", "i", 1_500_000_000_000, "click")]
    [item] = dataset.items()
    assert (item.item, item.title, item.categories) == ("i", "Lamp", ["Home"])


# ------------------------------------------------------------------ kinds


def test_own_kinds_are_read_and_unknown_ones_say_what_to_do(tmp_path: Path) -> None:
    kinds = ("view", "bookmark", "remove_from_cart", "ping")
    rows = "".join(f"u,i{n},{1_500_000_000 + n},{kind}\n" for n, kind in enumerate(kinds))
    (tmp_path / "log.csv").write_text(f"user,item,time,action\n{rows}")
    dataset = open_dataset(tmp_path)
    assert [event[3] for event in events(dataset)] == ["view"]
    assert dataset.problems.count == 3
    assert "--set kinds.bookmark=0.5" in dataset.problems.malformed[0].reason
    own = Kinds({"bookmark": 0.9, "remove_from_cart": "dislike", "ping": "ignore"})
    dataset = open_dataset(tmp_path, kinds=own, strict=True)
    assert [event[3] for event in events(dataset)] == ["view", "bookmark", "dislike", "ignore"]
