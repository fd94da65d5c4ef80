"""Order of time, ties, progress, and that nothing is left on disk or held in memory."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.datasets import DatasetError, open_dataset
from engine.datasets.sorting import TimeSorter
from engine.events import Interaction

ROWS = st.lists(
    st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 5), st.integers(0, 3)),
    min_size=1,
    max_size=60,
)


def write(folder: Path, rows: list[tuple[int, int, int, int]]) -> None:
    lines = (f"{u}\t{i}\t{r}\t{900_000_000 + t}\n" for u, i, r, t in rows)
    (folder / "u.data").write_text("".join(lines))


def order(folder: Path, seed: int) -> list[tuple[str, str | None, float | None, int]]:
    events = open_dataset(folder, seed=seed).interactions()
    return [(event.user, event.item, event.value, event.timestamp) for event in events]


@given(rows=ROWS, data=st.data())
def test_order_is_by_time_and_not_by_line(
    rows: list[tuple[int, int, int, int]], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, rows)
        first = order(folder, seed=3)
        assert [row[3] for row in first] == sorted(row[3] for row in first)
        assert sorted(first) == sorted(
            (str(u), str(i), float(r), (900_000_000 + t) * 1000) for u, i, r, t in rows
        )
        write(folder, data.draw(st.permutations(rows)))
        assert order(folder, seed=3) == first


def test_ties_are_shuffled_by_the_seed(tmp_path: Path) -> None:
    write(tmp_path, [(1, item, 3, 0) for item in range(1, 201)])
    by_seed = [order(tmp_path, seed) for seed in (0, 1, 0)]
    assert by_seed[0] == by_seed[2] != by_seed[1]
    items = [int(row[1] or 0) for row in by_seed[0]]
    assert sorted(items) == list(range(1, 201))
    rising = sum(a < b for a, b in pairwise(items))
    # 199 steps of a random order rise 99.5 times, with a standard deviation of 4.1.
    assert 80 < rising < 120


def test_progress_counts_bytes_and_ends_whole(tmp_path: Path) -> None:
    write(tmp_path, [(1, i + 1, 3, i) for i in range(5000)])
    size = (tmp_path / "u.data").stat().st_size
    calls: list[tuple[int, int]] = []
    events = open_dataset(tmp_path).interactions(lambda read, total: calls.append((read, total)))
    assert calls == []
    next(events)
    assert len(calls) >= 5
    assert calls == sorted(calls)
    assert calls[-1] == (size, size)
    assert {total for _, total in calls} == {size}


def test_count_is_known_at_the_first_interaction(tmp_path: Path) -> None:
    write(tmp_path, [(1, i + 1, 3, i) for i in range(50)])
    dataset = open_dataset(tmp_path)
    events = dataset.interactions()
    assert dataset.count is None
    next(events)
    assert dataset.count == 50


def spilled() -> list[str]:
    """SQLite's temporary files that this process holds open, as the kernel names them."""
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            target = os.readlink(descriptor)
        except OSError:  # the descriptor of this very listing
            continue
        if "/etilqs_" in target:
            found.append(target)
    return found


def many() -> Iterator[Interaction]:
    """About 40 MB of interactions, so that the sorter must go to disk."""
    for n in range(40_000):
        yield Interaction(
            event_id=f"x:{n}",
            user="u",
            item=str(n),
            timestamp=900_000_000_000 + n * 7919 % 40_009,
            kind="review",
            text="t" * 1000,
        )


needs_proc = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux's /proc")


@needs_proc
def test_temporary_files_go_with_the_sorter() -> None:
    sorter = TimeSorter(seed=0)
    sorter.add(many())
    events = iter(sorter)
    next(events)
    files = spilled()
    assert files, "40 MB did not go to disk: the test says nothing"
    assert all(file.endswith(" (deleted)") for file in files), "a killed process leaves these"
    sorter.close()
    assert spilled() == []


@needs_proc
@pytest.mark.parametrize("how", ["close", "exhaust", "exception", "strict"])
def test_temporary_files_go_however_reading_ends(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.datasets.sorting.CACHE_KIB", 256)
    with (tmp_path / "u.data").open("w") as file:
        for n in range(10_000):
            file.write(f"{n % 97 + 1}\t{n + 1}\t3\t{900_000_000 + n}\n")
        file.write("bad\n" if how == "strict" else "")
    events = open_dataset(tmp_path, strict=how == "strict").interactions()
    if how == "strict":
        with pytest.raises(DatasetError, match="line 10001"):
            next(events)
    else:
        next(events)
        assert spilled()
    if how == "close":
        events.close()  # type: ignore[attr-defined]
    elif how == "exhaust":
        assert sum(1 for _ in events) == 9_999
    elif how == "exception":
        with pytest.raises(KeyboardInterrupt):
            events.throw(KeyboardInterrupt())  # type: ignore[attr-defined]
    assert spilled() == []


def test_items_alone_do_not_sort(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, [(1, 1, 3, 0)])
    (tmp_path / "u.item").write_text("1|A (1990)||||" + "|".join("0" * 19) + "\n")
    monkeypatch.setattr("engine.datasets.dataset.TimeSorter", None)
    dataset = open_dataset(tmp_path)
    assert [item.title for item in dataset.items()] == ["A (1990)"]
    with pytest.raises(TypeError):
        next(dataset.interactions())


def test_no_room_is_told_with_the_way_out(tmp_path: Path) -> None:
    sorter = TimeSorter(seed=0)
    # The real error of a full disk, from a limit on the pages of the temporary database.
    sorter._database.execute("PRAGMA temp.max_page_count = 100")
    with pytest.raises(DatasetError, match=r"database or disk is full.*set TMPDIR"):
        sorter.add(many())
    sorter.close()


PEAK = """
import re, sys
from engine.datasets import open_dataset
def peak():
    # Not ru_maxrss: that of a new process begins at what its parent held.
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) // 1024
start = peak()
dataset = open_dataset(sys.argv[1])
events = dataset.interactions()
if sys.argv[2] == "hold":
    held = list(events)
    assert len(held) == 300_000
else:
    assert sum(1 for _ in events) == 300_000
print(peak() - start)
"""


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_is_bounded_while_a_large_file_streams(tmp_path: Path) -> None:
    text = "word " * 60
    with (tmp_path / "yelp_review.csv").open("w") as file:
        file.write("review_id,user_id,business_id,stars,date,text\n")
        for n in range(300_000):
            moment = f"2017-05-09 {n % 24:02}:{n % 60:02}:00"
            file.write(f"r{n},u{n % 997},b{n % 4999},{n % 5 + 1},{moment},{text}\n")

    def grown(how: str) -> int:
        """Growth of the peak of a process's memory, in MiB."""
        command = [sys.executable, "-c", PEAK, str(tmp_path), how]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return int(done.stdout)

    assert (tmp_path / "yelp_review.csv").stat().st_size > 90 * 2**20
    streamed = grown("stream")
    # Two caches of 16 MiB, and what SQLite and the readers need beside them.
    assert 0 < streamed < 80
    assert grown("hold") > 3 * streamed
