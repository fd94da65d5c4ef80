"""Ids and titles are strangers' text: none of them steers a terminal."""

from __future__ import annotations

import io
import json
import logging
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer
from rich.console import Console

from streams.cli.logs import log_to_stderr
from streams.settings import SettingsError
from streams.tools.demo_view import LiveView
from streams.tools.printable import printable
from streams.tools.subscriber import Buried
from streams.tools.watch import _json_line
from tests.streams.commands import millrace

HOSTILE = "\x1b]0;owned\x07\x1b[2J\r\n\x9b31m\u202egnp\u2028[red]x[/red]"
UNSAFE = "\x1b\x07\r\x9b\u202e\u2028"


def test_what_steers_a_terminal_is_escaped_and_nothing_else() -> None:
    shown = printable(HOSTILE)
    assert shown == (r"\x1b]0;owned\x07\x1b[2J\r\n\x9b31m\u202egnp\u2028[red]x[/red]")
    for text in ("Amélie, 千と千尋の神隠し 🎬", "می\u200cخواهم", "👨\u200d👩\u200d👧", "a\u00a0b"):
        assert printable(text) == text


def test_the_log_as_text_escapes_what_it_quotes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root, kept = logging.getLogger(), logging.getLogger().handlers[:]
    level = root.level
    try:
        log_to_stderr("text")
        try:
            raise ValueError(HOSTILE)
        except ValueError:
            logging.getLogger("millrace.test").exception("it says %s", HOSTILE)
        said = capsys.readouterr().err
    finally:
        root.handlers[:] = kept
        root.setLevel(level)
        logging.captureWarnings(False)
    assert r"it says \x1b]0;owned\x07" in said
    assert "Traceback" in said
    assert not set(UNSAFE) & set(said)


def test_the_demo_shows_titles_and_ids_as_text() -> None:
    items = [{"item": HOSTILE, "score": 1.0, "reason": HOSTILE}]
    tally = SimpleNamespace(newest={"user": HOSTILE, "item": "m1", "items": items})
    view = LiveView(None, {"m1": HOSTILE})  # type: ignore[arg-type]
    out = io.StringIO()
    Console(file=out, width=400).print(view._newest(tally))  # type: ignore[arg-type]
    said = out.getvalue()
    assert not set(UNSAFE) & set(said)
    assert said.count(r"\x1b]0;owned") == 4  # user, what they took, the list's title and reason
    assert "[red]x[/red] took" in said


def test_a_command_escapes_what_it_quotes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from streams.cli.common import chosen_dataset, one_line_errors, report_problems

    file = tmp_path / "log.csv"
    file.write_text(f"user,item,rating,timestamp\nann,m1,5,1600000000\nbob,m2,{HOSTILE!s},7\n"
                    .replace("\r\n", ""), encoding="utf-8")  # fmt: skip
    dataset = chosen_dataset(file, None, 0, False, "", None, None)
    assert len(list(dataset.interactions())) == 1
    report_problems(dataset)
    with pytest.raises(typer.Exit), one_line_errors():
        raise SettingsError(f"a setting says {HOSTILE}")
    said = capsys.readouterr().err
    assert "owned" in said.replace("\n", "")
    assert not set(UNSAFE) & set(said)


def test_json_lines_are_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    _json_line(Buried({"error.message": HOSTILE}, 7))
    said = capsys.readouterr().out
    assert said.isascii()
    assert json.loads(said) == {"dead_letter": {"error.message": HOSTILE}, "bytes": 7}


def test_the_name_of_a_file_is_shown_as_text(tmp_path: Path) -> None:
    file = tmp_path / "log[red]\x1b[2J.csv"
    rows = [f"u{n % 3},m{n % 7},5,{1_600_000_000 + n}" for n in range(30)]
    file.write_text("\n".join(["user,item,rating,timestamp", *rows]))
    done = millrace("evaluate", str(file))
    assert done.exit_code == 0, done.output
    assert "log[red] [2J" in done.output
    assert not set(UNSAFE) & set(done.output)
