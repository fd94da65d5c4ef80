"""The `millrace` command, as its users type it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path as FilePath

import pytest
import typer
from typer.testing import CliRunner, Result

from engine.propagation import BackendError
from streams.brokers import KafkaServer
from streams.cli.app import app
from streams.cli.common import one_line_errors
from streams.settings import Settings
from streams.settings_io import as_environment, as_toml, load_settings
from tests.conftest import settings_on
from tests.streams.conftest import Path, interaction, one_partition

WATCH = [sys.executable, "-m", "streams.cli", "watch", "--from-beginning"]


def millrace(*arguments: str, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(app, list(arguments), env=env)


def test_config_prints_settings_that_load_back(tmp_path: FilePath) -> None:
    result = millrace("config", "--set", "engine.k=20", "--broker", "kafka.example:9092")
    assert result.exit_code == 0
    file = tmp_path / "millrace.toml"
    file.write_text(result.output)
    settings = load_settings(file)
    assert settings.engine.k == 20
    assert settings.broker.bootstrap == "kafka.example:9092"
    assert as_toml(settings) == result.output


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("engine.kk=1", "engine.kk = 1"),
        ("engine.k=0", "engine.k = 0"),
        ("engine.k=many", "engine.k = 'many'"),
        ("engine", "section.name=value"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it(override: str, told: str) -> None:
    result = millrace("config", "--set", override)
    assert result.exit_code == 2
    assert told in result.stderr.replace("\n", " ")
    assert "Traceback" not in result.stderr


def test_evaluate_reports_every_key_with_its_provenance(tmp_path: FilePath) -> None:
    file = tmp_path / "report.json"
    result = millrace("evaluate", "--synthetic", "600", "--json", str(file))
    assert result.exit_code == 0, result.output
    report = json.loads(file.read_text())
    assert {
        "ndcg@10", "hr@10", "mrr@10", "coverage@10", "queries", "second_half", "batch_strict",
        "cold_items", "cold_users", "baselines", "latency_us", "data", "seed", "version", "machine",
    } <= report.keys()  # fmt: skip
    assert report["data"] == "synthetic (synthetic, made by Millrace)"
    assert 0 < report["ndcg@10"] <= report["hr@10"] <= 1
    assert "whole stream" in result.output


def test_evaluate_is_the_same_in_every_run(tmp_path: FilePath) -> None:
    reports = []
    for name in ("a.json", "b.json"):
        assert (
            millrace("evaluate", "--synthetic", "300", "--json", str(tmp_path / name)).exit_code
            == 0
        )
        report = json.loads((tmp_path / name).read_text())
        reports.append({k: v for k, v in report.items() if not k.startswith("latency_us")})
    assert reports[0] == reports[1]


def test_malformed_rows_are_told_and_strict_stops(tmp_path: FilePath) -> None:
    folder = tmp_path / "ml-100k"
    folder.mkdir()
    rows = "".join(f"1\t{n}\t5\t8812509{n}\n" for n in range(10, 30))
    (folder / "u.data").write_text(rows + "1\tfive\tstars\n")
    (folder / "u.item").write_text("", encoding="latin-1")
    lenient = millrace("evaluate", str(folder))
    assert lenient.exit_code == 0, lenient.output
    assert "1 malformed row" in lenient.stderr
    assert "line 21" in lenient.stderr.replace("\n", " ")
    strict = millrace("evaluate", str(folder), "--strict")
    assert strict.exit_code == 2
    assert "line 21" in strict.stderr.replace("\n", " ")


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["evaluate", "no/such/folder"], 2, "no/such/folder"),
        (["evaluate"], 2, "--synthetic"),
        (["replay", "--synthetic", "5", "--rate", "1", "--max"], 2, "one of"),
        (["download", "amazon"], 2, "Amazon"),
        (["download", "ml-7"], 2, "ml-7"),
        (["replay", "--synthetic", "5", "--broker", "127.0.0.1:1"], 2, "127.0.0.1:1"),
        (["watch", "--broker", "127.0.0.1:1"], 2, "127.0.0.1:1"),
        (["topics", "check", "--broker", "127.0.0.1:1"], 2, "127.0.0.1:1"),
    ],
)
def test_a_mistake_ends_with_a_line_and_a_status(
    arguments: list[str], status: int, told: str
) -> None:
    result = millrace(*arguments)
    assert result.exit_code == status
    assert told in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_is_told_in_one_line(unbuffered: str) -> None:
    command = [sys.executable, "-m", "streams.cli", "config"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, check=False,
            env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
        )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == (
        "millrace: what was being written is cut short: No space left on device\n"
    )


def test_a_settings_file_that_is_no_text_is_told_in_one_line(tmp_path: FilePath) -> None:
    file = tmp_path / "millrace.toml"
    file.write_bytes(b"k = 1 # \x92")
    result = millrace("config", "--config", str(file))
    assert result.exit_code == 2
    # As wide as the terminal: a long path is broken over lines.
    told = "".join(result.stderr.split())
    assert f"{file}:'utf-8'codeccan'tdecode" in told


def test_schemas_are_written(tmp_path: FilePath) -> None:
    assert millrace("schemas", str(tmp_path / "out")).exit_code == 0
    schema = json.loads((tmp_path / "out" / "interaction.schema.json").read_text())
    assert schema["$schema"].endswith("2020-12/schema")
    assert (tmp_path / "out" / "recommendation.schema.json").exists()


@pytest.mark.parametrize("broker", ["kafka"], indirect=True)
def test_topics_are_created_and_checked(settings: Callable[..., Settings]) -> None:
    env = as_environment(settings())
    assert millrace("topics", "check", env=env).exit_code == 1
    created = millrace("topics", "create", env=env)
    assert created.exit_code == 0
    assert created.output.count("made ") == 6
    assert "exist already" in millrace("topics", "create", env=env).output
    assert millrace("topics", "check", env=env).exit_code == 0


@pytest.fixture(scope="module")
def answered(kafka: KafkaServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three answers and a dead letter of a worker that has ended, behind what is no answer."""
    path = one_partition(settings_on(kafka, tmp_path_factory.mktemp("answered")), kafka)
    path.producer.produce(path.names.recommendations, b"no answer", b"ann", 0)
    path.flush()
    with path.worker():
        path.send_bytes(b"rubbish")
        path.send(*(interaction(n) for n in range(3)))
        path.read(path.names.recommendations, 4)
        path.read(path.names.dead_letters, 1)
    return path


def test_watch_writes_a_line_of_json_for_each_answer(answered: Path) -> None:
    watch = subprocess.Popen(
        [*WATCH, "--json", "--dead-letters"],
        env=os.environ | as_environment(answered.settings),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert watch.stdout is not None
        lines = [json.loads(watch.stdout.readline()) for _ in range(4)]
    finally:
        watch.terminate()
        watch.wait(10)
    answers = [line for line in lines if "dead_letter" not in line]
    assert [line["event_id"] for line in answers] == ["e0", "e1", "e2"]
    assert all(line["received_ns"] > 0 for line in answers)
    (letter,) = (line for line in lines if "dead_letter" in line)
    assert letter["dead_letter"]["error.class"] == "NotJson"
    assert letter["bytes"] == 7


def test_watch_shows_titles_to_people(answered: Path) -> None:
    watch = subprocess.Popen(
        WATCH,
        env=os.environ | as_environment(answered.settings) | {"COLUMNS": "120"},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert watch.stdout is not None
        lines = [watch.stdout.readline() for _ in range(3)]
    finally:
        watch.terminate()
        watch.wait(10)
    assert "ann took m0" in lines[0]
    assert "ann took m1" in "".join(lines[1:])


def test_an_error_shows_the_extra_that_it_names(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit), one_line_errors():
        raise BackendError("pip install '.[fpga]'")
    assert "pip install '.[fpga]'" in capsys.readouterr().err


# ------------------------------------------------------------------ where it runs


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("schemas", "/dev/null/schemas"), "/dev/null/schemas: Not a directory"),
        (
            ("paper", "--synthetic", "200", "--quick", "--work", "/dev/null/work"),
            "/dev/null/work: Not a directory",
        ),
    ],
)
def test_a_folder_that_cannot_be_made_is_told_in_one_line(
    arguments: tuple[str, ...], told: str
) -> None:
    result = millrace(*arguments)
    assert result.exit_code == 2
    said = " ".join(result.output.split())
    assert said.startswith("millrace: ")
    assert told in said
    assert "name another file or folder" in said


@pytest.mark.parametrize("file", ["no/such/folder/report.json", "."])
def test_a_report_that_cannot_be_written_is_told_before_the_work(
    file: str, tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("streams.cli.research.chosen_dataset", lambda *_: pytest.fail("it began"))
    result = millrace("evaluate", "--synthetic", "200", "--json", file)
    assert result.exit_code == 2
    assert "no folder" in result.output or "cannot be written" in result.output


def test_where_no_temporary_folder_is_left_the_setting_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/dev/null/tmp"])
    result = millrace("torture", "--events", "100")
    assert result.exit_code == 2
    assert "set TMPDIR to a folder that can be written" in " ".join(result.output.split())
