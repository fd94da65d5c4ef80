"""A checkpoint is the state of one moment, and only a sound one that fits is gone on from."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmarks.fuzz_checks import with_entry
from engine import EngineSettings, Recommender
from engine.datasets import Synthetic
from engine.state.snapshot import VERSION
from streams.settings import Settings, SettingsError, WorkerSettings
from streams.worker import checkpointing
from streams.worker.checkpoints import Checkpoint, Checkpoints, Notes
from streams.worker.input_log import Input
from streams.worker.partition import PartitionNotes, Progress
from streams.worker.stores import Folder, Objects, Store
from tests.streams.conftest import interaction

SETTINGS = EngineSettings()


@pytest.fixture(params=["folder", "object store"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """Each kind of store in turn, empty."""
    if request.param == "folder":
        return Folder(tmp_path / "kept")
    return Objects(request.getfixturevalue("bucket_url"))


def names(store: Store) -> list[str]:
    return sorted(file.name for file in store.files())


def contents(store: Store) -> dict[str, bytes]:
    """The bytes of all files."""
    found = {}
    for file in store.files():
        with store.whole(file) as path:
            found[file.name] = path.read_bytes()
    return found


def replace(store: Store, name: str, data: bytes) -> None:
    """What somebody else put there."""
    temporary = store.scratch / "others.tmp"
    temporary.write_bytes(data)
    store.publish(temporary, name)


def engine(events: int) -> Recommender:
    made = Recommender(SETTINGS)
    for event in Synthetic(events=events, users=10, items=30, seed=1).interactions():
        made.observe(event)
    return made


def notes(next_offset: int, log: str = "log") -> Notes:
    partition = Progress(window=3, next_offset=next_offset)
    for number in range(5):
        partition.count("ann", f"e{number}", 1_000 * number)
    return Notes(log, {0: partition.notes()}, {0: 7})


def newest(folder: Checkpoints, log: str = "log", high: int = 1_000) -> Checkpoint | None:
    return folder.newest(SETTINGS, Input(log, "", {0: 0}, {0: high}).fits)


def same_state(first: Recommender, second: Recommender, tmp_path: Path) -> bool:
    files = tmp_path / "first", tmp_path / "second"
    first.save(files[0])
    second.save(files[1])
    return files[0].read_bytes() == files[1].read_bytes()


def test_it_holds_the_state_of_the_moment_it_was_begun(tmp_path: Path, store: Store) -> None:
    folder = Checkpoints(store, 3)
    state = engine(60)
    cut = engine(60)
    writing = folder.begin(state, {0: 60}, lambda: notes(60))
    for event in Synthetic(events=90, users=10, items=30, seed=1).interactions():
        state.observe(event)  # while the child writes
    writing.wait()
    assert newest(folder) is None, "it is taken before what it has answered is written"
    folder.publish(writing)
    assert list(store.scratch.glob("*.tmp")) == []
    found = newest(folder)
    assert found is not None
    assert same_state(found.engine, cut, tmp_path)
    assert not same_state(found.engine, state, tmp_path)
    assert found.notes.progress == 60
    assert found.notes.catalogue == {0: 7}
    again = Progress(window=3)
    again.resume(found.notes.partitions[0])
    assert [again.is_duplicate("ann", f"e{n}") for n in range(5)] == [
        False,
        False,
        True,
        True,
        True,
    ]
    assert (again.next_offset, again.newest_ms, again.applied) == (60, 4_000, 5)


def test_a_damaged_one_is_named_and_the_one_before_it_used(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    folder = Checkpoints(store, 3)
    folder.write(engine(20), notes(20))
    folder.write(engine(30), notes(30))
    damaged = f"{30:016d}.millrace"
    whole = bytearray(contents(store)[damaged])
    whole[len(whole) // 2] ^= 1
    replace(store, damaged, whole)
    with caplog.at_level(logging.WARNING, "millrace.worker"):
        found = newest(folder)
    assert found is not None
    assert found.notes.progress == 20
    assert store.place(damaged) in caplog.text
    assert "damaged" in caplog.text


def test_one_that_is_cut_short_is_named(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    folder = Checkpoints(store, 9)
    folder.write(engine(20), notes(20))
    [whole] = contents(store).values()
    for at, length in ((30, len(whole) - 1), (40, 9), (50, 0)):
        replace(store, f"{at:016d}.millrace", whole[:length])
    with caplog.at_level(logging.WARNING, "millrace.worker"):
        found = newest(folder)
    assert found is not None
    assert found.notes.progress == 20
    for at in (30, 40, 50):
        assert store.place(f"{at:016d}.millrace") in caplog.text


@pytest.mark.parametrize(
    ("log", "high", "said"),
    [("other", 1_000, "it is of log"), ("log", 10, "offset 20 of partition 0, which ends at 10")],
)
def test_one_of_another_log_is_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, log: str, high: int, said: str
) -> None:
    folder = Checkpoints(Folder(tmp_path / "kept"), 3)
    folder.write(engine(5), notes(20))
    with caplog.at_level(logging.WARNING, "millrace.worker"):
        assert newest(folder, log, high) is None
    assert said in caplog.text


def test_settings_that_shape_the_state_must_agree_and_others_apply(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = Checkpoints(Folder(tmp_path / "kept"), 3)
    folder.write(engine(20), notes(20))
    fits = Input("log", "", {0: 0}, {0: 1_000}).fits
    found = folder.newest(EngineSettings(k=3), fits)
    assert found is not None
    assert len(found.engine.recommend("nobody").items) == 3
    with caplog.at_level(logging.WARNING, "millrace.worker"):
        assert folder.newest(EngineSettings(dimensions=64), fits) is None
    assert "engine.dimensions = 32, here it is 64" in caplog.text


def test_the_last_few_are_kept(store: Store) -> None:
    folder = Checkpoints(store, 2)
    for at in (10, 20, 30):
        folder.write(engine(5), notes(at))
    assert names(store) == [f"{at:016d}.millrace" for at in (20, 30)]
    assert folder.age() < 60


def test_the_last_few_of_each_partition_are_kept_and_found(store: Store) -> None:
    """Two workers; one has written nothing for long, and nobody else has its users."""
    one, other = Checkpoints(store, 1, "one"), Checkpoints(store, 1, "other")
    partition = Progress(window=3, next_offset=5).notes()
    one.write(engine(5), Notes("log", {0: partition}, {}))
    for at in (10, 20, 30):
        other.write(engine(5), Notes("log", {1: Progress(window=3, next_offset=at).notes()}, {}))
    assert names(store) == [f"{5:016d}-one-00000000.millrace", f"{30:016d}-other-00000002.millrace"]
    assert [file.name for file in other.holding(0, -1)] == [f"{5:016d}-one-00000000.millrace"]
    assert [file.name for file in one.holding(1, 29)] == [f"{30:016d}-other-00000002.millrace"]
    assert one.holding(1, 30) == []


def test_no_name_is_used_twice(store: Store) -> None:
    """Answers name the file that a state began with: a later one of as many events is another."""
    folder = Checkpoints(store, 3, "one")
    for _ in range(2):
        folder.write(engine(5), Notes("log", {}, {}))
    assert names(store) == [f"{0:016d}-one-{number:08d}.millrace" for number in (0, 1)]


def test_one_that_cannot_be_written_is_told_with_the_reason(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = Checkpoints(Folder(tmp_path / "kept"), 2)
    writing = folder.begin(engine(5), {0: 10}, lambda: notes(10))
    writing.wait()
    writing.discard()
    assert list(folder.store.scratch.iterdir()) == []
    folder.store.scratch.rmdir()
    failing = folder.begin(engine(5), {0: 10}, lambda: notes(10))
    with pytest.raises(OSError, match=r"no checkpoint was written \(.*No such file"):
        failing.wait()
    assert capfd.readouterr().err == ""  # the log is the parent's, in its own form


def test_nobody_else_may_look(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir(mode=0o755)
    folder = Checkpoints(Folder(tmp_path / "kept"), 2)
    folder.write(engine(5), notes(10))
    (file,) = folder.store.scratch.iterdir()
    assert folder.store.scratch.stat().st_mode & 0o777 == 0o700
    assert file.stat().st_mode & 0o777 == 0o600


def test_whom_a_checkpoint_forgets_none_before_it_holds(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """A byte search over all files, once the log says that it is done."""
    folder = Checkpoints(store, 9)
    state, progress = engine(20), Progress(window=100)
    who = b"somebody-known-by-this"

    def holds() -> list[str]:
        here = {path.name: path.read_bytes() for path in store.scratch.glob("*.tmp")}
        return sorted(name for name, data in (here | contents(store)).items() if who in data)

    def write(at: int) -> None:
        progress.next_offset = at
        folder.write(state, Notes("log", {0: progress.notes()}, {}))

    write(10)
    state.observe(interaction(0, user=who.decode(), event_id="an-id-of-theirs"))
    progress.count(who.decode(), "an-id-of-theirs", 1_000)
    write(11)
    write(12)
    assert len(holds()) == 2
    state.forget(who.decode())
    progress.forgotten = 13
    stale = store.scratch / "0000000000000012.7.tmp"
    stale.write_bytes(who)
    with caplog.at_level(logging.INFO, "millrace.worker"):
        write(13)
        assert caplog.messages == [
            "checkpoints: whom events up to {0: 13} forget may still be in " + stale.name
        ]
        os.utime(stale, (0, 0))  # nobody writes it any more
        write(14)
        write(15)
    (told,) = caplog.messages[1:]
    assert told.startswith("checkpoints: whom events up to {0: 13} forget is in none any more")
    assert store.unseen in told
    assert names(store) == [f"{at:016d}.millrace" for at in (13, 14, 15)]
    assert holds() == []
    assert not any(b"an-id-of-theirs" in data for data in contents(store).values())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"partitions": {-1: {}}}, "it is of partition -1, which the topic does not have"),
        ({"partitions": {5: {}}}, "it is of partition 5, which the topic does not have"),
        ({"partitions": {0: {"next_offset": -1}}}, "its notes are not understood: Expected `int`"),
        ({"partitions": {0: {"next_offset": 2**70}}}, "its notes are not understood: "),
        ({"catalogue": {0: 2**63}}, "its notes are not understood: Expected `int` <= "),
        ({"items": {0: -7}}, "its notes are not understood: Expected `int` >= 0"),
    ],
)
def test_offsets_that_cannot_be_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, changes: dict[str, Any], said: str
) -> None:
    folder = Checkpoints(Folder(tmp_path / "kept"), 3)
    folder.write(engine(5), notes(10))
    (file,) = folder.store.scratch.iterdir()
    whole = file.read_bytes()
    told = msgspec.json.decode(msgspec.json.encode(notes(10)))
    good = told["partitions"]["0"]
    for field, values in changes.items():
        told[field] = {
            str(key): good | value if isinstance(value, dict) else value
            for key, value in values.items()
        }
    file.write_bytes(with_entry(whole, "notes", json.dumps(told).encode()))
    with caplog.at_level(logging.WARNING, "millrace.worker"):
        assert newest(folder) is None
    assert said in caplog.text


def test_a_pipe_and_a_folder_with_a_checkpoint_s_name_are_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = Checkpoints(Folder(tmp_path / "kept"), 9)
    folder.write(engine(5), notes(10))
    os.mkfifo(folder.store.scratch / f"{20:016d}.millrace")
    (folder.store.scratch / f"{30:016d}.millrace").mkdir()
    with caplog.at_level(logging.WARNING, "millrace.worker"):
        found = newest(folder)
    assert found is not None
    assert found.notes.progress == 10
    assert caplog.text.count("not a file") == 2


KEPT = Path(__file__).parents[2] / "data" / "checkpoints"
KEPT_SETTINGS = EngineSettings(
    text_dimensions=4, dimensions=4, neighbours=8, transitions=8, excludes=["all"]
)
"""What `KEPT` were written with, after 30 events of `Synthetic(30, 4 users, 8 items, seed=1)`."""


def test_a_checkpoint_of_each_format_is_read_or_refused_by_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = sorted(KEPT.iterdir())
    assert [path.name for path in files] == [f"format-{n + 1}.millrace" for n in range(VERSION)]
    folder = Checkpoints(Folder(tmp_path), 1)
    for path in files:
        (tmp_path / f"{30:016d}.millrace").write_bytes(path.read_bytes())
        caplog.clear()
        with caplog.at_level(logging.WARNING, "millrace.worker"):
            found = folder.newest(KEPT_SETTINGS, Input("log", "", {0: 0}, {0: 30}).fits)
        if path != files[0]:
            assert found is not None
            again = Recommender(KEPT_SETTINGS)
            for event in Synthetic(events=30, users=4, items=8, seed=1).interactions():
                again.observe(event)
            asked = [
                [ranked.item for ranked in made.recommend("user-1").items]
                for made in (found.engine, again)
            ]
            # What is counted changed since they were written: the order may be another.
            assert set(asked[0]) == set(asked[1]) != set()
        else:
            assert found is None
            assert "saved in version 1 of the format" in caplog.text


def test_a_folder_that_cannot_be_used_costs_checkpoints_and_no_traceback(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As where there is no home: the default is done without, what somebody named is told."""
    file = tmp_path / "file"
    file.touch()
    log = Input("log", "", {0: 0}, {0: 0})
    named = Settings(worker=WorkerSettings(checkpoints=str(file / "x")))
    with pytest.raises(SettingsError, match=r"worker\.checkpoints = '.*' cannot be used"):
        checkpointing.checkpoints_of(named, log)
    monkeypatch.setattr(WorkerSettings.model_fields["checkpoints"], "default", str(file / "x"))
    WorkerSettings.model_rebuild(force=True)
    try:
        with caplog.at_level(logging.WARNING, "millrace.worker"):
            assert checkpointing.checkpoints_of(Settings(worker=WorkerSettings()), log) is None
    finally:
        monkeypatch.undo()
        WorkerSettings.model_rebuild(force=True)
    assert "no checkpoints: " in caplog.text


def test_an_event_id_is_its_user_s_and_no_checkpoint_says_it() -> None:
    partition = Progress(window=100)
    partition.count("ann", "order-1", 1_000)
    assert partition.is_duplicate("ann", "order-1")
    assert not partition.is_duplicate("bob", "order-1"), "mallory cannot use up bob's ids"
    assert not partition.is_duplicate("an", "norder-1")
    said = msgspec.json.encode(partition.notes())
    assert b"ann" not in said
    assert b"order-1" not in said
    older = Progress(window=100)
    older.resume(PartitionNotes(1, 1_000, 1, 0, ["order-1"]))
    assert older.is_duplicate("ann", "order-1"), "of a checkpoint that lists plain ids"
