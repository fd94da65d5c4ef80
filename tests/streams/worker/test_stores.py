"""An object store is a place for checkpoints as a folder is: what is its own is tested here."""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path as FilePath

import pytest
from pydantic import ValidationError

from engine import Recommender
from engine.state.snapshot import read_notes
from streams.kafka.partitioner import partition_of
from streams.processes import Child
from streams.settings import Settings, SettingsError
from streams.settings_io import as_environment, load_settings
from streams.tools.doctor import machine
from streams.worker import checkpointing, stores
from streams.worker.checkpoints import Checkpoints, Notes
from streams.worker.input_log import Input
from streams.worker.partition import Progress
from streams.worker.stores import ABANDONED_SECONDS, Objects, Store, store_of
from tests.engine.builders import WITHOUT_TEXT, mixed, state
from tests.ports import free_port
from tests.streams.conftest import Path, interaction
from tests.streams.object_store import BUCKET, SECRET
from tests.streams.waiting import until


def a_checkpoint(at: int = 10) -> Notes:
    return Notes("log", {0: Progress(window=3, next_offset=at).notes()}, {})


@pytest.fixture
def store(bucket_url: str) -> Objects:
    return Objects(bucket_url)


def upload(store: Objects, name: str, parts: Iterator[bytes]) -> None:
    store._library.put(store._store, name, parts, chunk_size=5 * 2**20)


def test_a_file_that_is_being_sent_is_in_no_list_nor_is_one_that_was_not_sent_whole(
    store: Objects,
) -> None:
    import boto3  # 1 s, and this test alone needs it

    seen: list[int] = []
    another = boto3.client("s3")  # the library cannot be asked while it reads the parts

    def listed() -> int:
        prefix = str(store).removeprefix(f"s3://{BUCKET}/")
        return int(another.list_objects_v2(Bucket=BUCKET, Prefix=prefix)["KeyCount"])

    def parts(broken: bool) -> Iterator[bytes]:
        for _ in range(4):
            yield bytes(3 * 2**20)
            seen.append(listed())
        if broken:
            raise OSError("the disk is gone")

    with pytest.raises(Exception, match="the disk is gone"):
        upload(store, "1.millrace", parts(True))
    assert listed() == len(store.files()) == 0
    upload(store, "1.millrace", parts(False))
    assert set(seen) == {0}
    (file,) = store.files()
    assert (file.name, file.size) == ("1.millrace", 12 * 2**20)


def test_notes_are_read_without_the_rest(store: Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints = Checkpoints(store, 3)
    checkpoints.write(Recommender(), a_checkpoint())
    (file,) = store.files()
    read = 0
    of_store = store._range

    def counted(*arguments: object) -> bytes:
        nonlocal read
        found = of_store(*arguments)  # type: ignore[arg-type]
        read += len(found)
        return found

    monkeypatch.setattr(store, "_range", counted)
    with store.header_and_notes(file) as path:
        assert read_notes(path, Notes).progress == 10
        assert path.stat().st_size == file.size
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
    assert not path.exists()
    assert read < file.size / 2


def test_users_are_read_without_the_items(store: Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints = Checkpoints(store, 3)
    engine = Recommender(WITHOUT_TEXT)
    engine.observe_many(mixed())
    checkpoints.write(engine, a_checkpoint())
    (file,) = store.files()
    monkeypatch.setattr(stores, "_CHUNK", 1_000)  # a part in several pieces
    monkeypatch.setattr(store, "whole", None)
    found = checkpoints.load_users(file, engine.settings, lambda _: None)
    assert found is not None
    assert found.notes.progress == 10
    assert found.engine.users.names == engine.users.names
    one, other = Recommender(WITHOUT_TEXT), Recommender(WITHOUT_TEXT)
    one.take_in(engine)
    other.take_in(found.engine)
    assert state(one) == state(other)


def test_what_a_killed_worker_left_on_this_machine_is_removed(bucket_url: str) -> None:
    first = Objects(bucket_url)
    left, fresh = first.scratch / "1.millrace.7.tmp", first.scratch / "2.millrace.7.tmp"
    left.write_bytes(b"of somebody")
    fresh.write_bytes(b"being written")
    long_ago = left.stat().st_mtime - ABANDONED_SECONDS - 1
    os.utime(left, (long_ago, long_ago))
    Checkpoints(Objects(bucket_url), 3)
    assert (left.exists(), fresh.exists()) == (False, True)
    scratch = first.scratch
    del first
    assert not scratch.exists()


def test_without_the_extra_one_line_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    settings = Settings(worker={"checkpoints": "s3://bucket/x"})
    with pytest.raises(SettingsError, match=r"pip install '\.\[object-store\]'") as told:
        checkpointing.checkpoints_of(settings, Input("log", "", {0: 0}, {0: 0}))
    assert "\n" not in str(told.value)
    (finding,) = machine.checkpoint_folder(settings)
    assert (finding.state, finding.text) == ("fail", str(told.value))


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://host/x", "a URL is written s3://bucket/prefix"),
        ("s3://", "a URL is written s3://bucket/prefix"),
        ("s3://bucket/x?region=1", "a URL is written s3://bucket/prefix"),
        (f"s3://me:{SECRET}@bucket/x", "credentials come from the environment"),
        (f"s3://me:{SECRET}@bucket", "credentials come from the environment"),
    ],
)
def test_a_url_that_is_none_is_refused_and_a_login_in_it_not_said(url: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Settings(worker={"checkpoints": url})
    with pytest.raises(SettingsError, match=said) as told:
        load_settings(None, [f"worker.checkpoints={url}"])
    assert SECRET not in str(told.value)


def test_a_bucket_that_is_not_there_is_told_in_one_line(bucket_url: str) -> None:
    settings = Settings(worker={"checkpoints": "s3://there-is-none/x"})
    with pytest.raises(SettingsError, match=r"cannot be used: .*NoSuchBucket") as told:
        checkpointing.checkpoints_of(settings, Input("log", "", {0: 0}, {0: 0}))
    assert "\n" not in str(told.value)
    assert SECRET not in str(told.value)
    (finding,) = machine.checkpoint_folder(settings)
    assert finding.state == "fail"
    assert "NoSuchBucket" in finding.text


def test_the_doctor_says_what_it_sees_and_what_not(bucket_url: str) -> None:
    findings = {
        finding.subject: finding
        for finding in machine.checkpoint_folder(Settings(worker={"checkpoints": bucket_url}))
    }
    assert {finding.state for finding in findings.values()} == {"ok"}
    assert "can be listed and written to" in findings["checkpoints"].text
    assert "not seen" in findings["checkpoints"].text
    assert tempfile.gettempdir() in findings["disk"].text
    assert Objects(f"{bucket_url}/millrace/doctor").files() == []


def test_a_store_that_is_gone_costs_a_line_and_no_worker(
    store: Objects, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoints = Checkpoints(store, 3)
    checkpoints.write(Recommender(), a_checkpoint())
    files = checkpoints.newest_first()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    checkpoints.store = Objects(str(store))
    with caplog.at_level(logging.WARNING, "millrace.worker"):
        assert checkpoints.load(files[0], Recommender().settings, lambda _: None) is None
        checkpoints._look()
        assert checkpoints.age() < 60
    assert len(caplog.messages) == 2
    assert not any("\n" in line or SECRET in line for line in caplog.messages)
    with pytest.raises(OSError, match="cannot write it"):
        checkpoints.write(Recommender(), a_checkpoint(20))


def test_a_worker_that_starts_waits_for_a_store_that_is_away(
    bucket_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    there = os.environ["AWS_ENDPOINT_URL"]
    made = checkpointing.store_of

    def back_after_once(settings: Settings, log_name: str) -> Store:
        away = not caplog.messages
        endpoint = f"http://127.0.0.1:{free_port()}" if away else there
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        return made(settings, log_name)

    monkeypatch.setattr(checkpointing, "store_of", back_after_once)
    monkeypatch.setattr(checkpointing, "_AWAY_SECONDS", 0.0)
    settings = Settings(worker={"checkpoints": bucket_url})
    with caplog.at_level(logging.WARNING, "millrace.worker"):
        assert checkpointing.checkpoints_of(settings, Input("log", "", {0: 0}, {0: 0})) is not None
    (told,) = caplog.messages
    assert told.endswith("the worker waits for it")


# ------------------------------------------------------------------ workers


def worker(path: Path, folder: FilePath) -> Child:
    """A worker process that has nothing on this machine's disk but what it makes in a folder."""
    folder.mkdir()
    own = {"TMPDIR": str(folder), "XDG_STATE_HOME": str(folder), "HOME": os.environ["HOME"]}
    return Child(
        [sys.executable, "-m", "streams.cli", "worker"],
        env=os.environ | as_environment(path.settings) | own,
    )


@pytest.mark.parametrize("broker", ["kafka"], indirect=True)
def test_a_worker_that_never_saw_them_takes_users_over_from_the_bucket(
    settings: Callable[..., Settings],
    bucket_url: str,
    tmp_path: FilePath,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    timing = {"session_seconds": 6.0, "checkpoint_seconds": 0.5, "checkpoints": bucket_url}
    path = Path(settings(topics={"partitions": 2}, worker=timing))
    log_ = Input.of(path.settings)
    held = Checkpoints(store_of(path.settings, log_.name), 3)
    events = [interaction(n, user=f"u{n % 12}", item=f"m{n * 7 % 30}") for n in range(90)]
    ends = {n: sum(partition_of(e.user, 2) == n for e in events[:60]) for n in range(2)}
    assert all(ends.values())

    def all_are_in() -> bool:
        return all(held.holding(number, end - 1) for number, end in ends.items())

    first = worker(path, tmp_path / "first")
    with first:
        path.await_workers(1)
        path.send(*events[:60])
        path.answers(60)
        until(all_are_in, 30, "a checkpoint of all events is in the bucket")
        with worker(path, tmp_path / "second"):
            path.await_workers(2)
            path.send(*events[60:75])
            path.answers(75)
            first.process.kill()  # and its partition moves with what the bucket has of it
            path.send(*events[75:])
            answers = path.answers(90)
    said = [json.loads(line) for line in capfd.readouterr().err.splitlines() if line[:1] == "{"]
    told = [line["message"] for line in said]
    assert any(line.startswith(f"going on from checkpoint {bucket_url}/") for line in told), told
    assert any("its users as of offset" in line for line in told), told
    assert path.counts()[path.names.recommendations] == 90
    assert sorted(answer["event_id"] for answer in answers) == sorted(e.event_id for e in events)
    assert not any("learnt from its log alone" in line or SECRET in line for line in told)
    assert list((tmp_path / "second").rglob("*.millrace*")) == [], "nothing stays on its disk"
    (finding,) = machine.retention(path.settings)
    assert finding.text == "all events since the newest checkpoint are there: 0 to read at start"
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    (finding,) = machine.retention(path.settings)
    assert finding.state == "warn"
    assert "not compared with checkpoints" in finding.text
