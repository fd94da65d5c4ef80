"""`--help` of every command has an example that it would take, and shells complete them."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from ast import literal_eval
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from platform import python_version

import pytest
import typer
from typer.testing import CliRunner

from streams.cli.app import app

BIN = Path(sys.executable).parent  # where the command is installed
MILLRACE = str(BIN / "millrace")
HEAVY = {
    "aiohttp", "aiokafka", "confluent_kafka", "faust", "kafka", "numba", "numpy", "onnxruntime",
    "torch", "usearch",
}  # fmt: skip


def commands(command: object, name: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words of every command, those of groups too."""
    below = getattr(command, "commands", None)
    if below is None:
        yield name
        return
    for word, each in below.items():
        yield from commands(each, (*name, word))


ROOT = typer.main.get_command(app)
COMMANDS = list(commands(ROOT))


def found(name: tuple[str, ...]) -> object:
    command: object = ROOT
    for word in name:
        command = command.commands[word]  # type: ignore[attr-defined]
    return command


def examples(name: tuple[str, ...]) -> list[list[str]]:
    """The words of each example in a command's help, as a shell would part them."""
    lines = [line.strip() for line in found(name).help.splitlines()]  # type: ignore[attr-defined]
    parts = []
    for line in lines:
        if line.startswith("Example: "):
            words = shlex.shlex(line.removeprefix("Example: "), posix=True, punctuation_chars=True)
            words.whitespace_split = True
            parts.append(list(words))
    return parts


def ours(words: list[str]) -> list[str]:
    """The words before a pipe or a redirection."""
    ends = [place for place, word in enumerate(words) if word in ("|", ">")]
    return words[: min(ends, default=len(words))]


def test_all_commands_are_looked_at() -> None:
    assert ("topics", "create") in COMMANDS
    assert len(COMMANDS) == len(set(COMMANDS)) >= 16


@pytest.mark.parametrize("name", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example_that_it_takes(name: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, [*name, "--help"])
    assert result.exit_code == 0
    assert "Example:" in result.output
    for words in examples(name):
        program, *arguments = ours(words)
        assert program == "millrace"
        assert tuple(arguments[: len(name)]) == name
        # Parsed as it would be run: an unknown flag, or a value out of bounds, raises.
        found(name).make_context(" ".join(name), arguments[len(name) :])  # type: ignore[attr-defined]


def test_a_wrong_example_would_be_seen() -> None:
    assert ours(shlex.split("millrace watch --json | jq .user")) == ["millrace", "watch", "--json"]
    for wrong in (["--jsn"], ["--json", "again"]):
        with pytest.raises(Exception, match=r"jsn|again"):
            found(("watch",)).make_context("watch", wrong)  # type: ignore[attr-defined]


# ------------------------------------------------------------------ completion


def complete(**variables: str) -> str:
    done = subprocess.run(
        [MILLRACE], env=os.environ | variables, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize(
    ("shell", "variables"),
    [
        ("bash", {"COMP_WORDS": "millrace {}", "COMP_CWORD": "1"}),
        ("zsh", {"_TYPER_COMPLETE_ARGS": "millrace {}"}),
        (
            "fish",
            {"_TYPER_COMPLETE_ARGS": "millrace {}", "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
        ),
    ],
)
def test_ev_becomes_evaluate(shell: str, variables: dict[str, str]) -> None:
    def answer(word: str) -> str:
        filled = {name: value.format(word) for name, value in variables.items()}
        return complete(_MILLRACE_COMPLETE=f"complete_{shell}", **filled)

    told = answer("ev")
    assert "evaluate" in told
    assert "worker" not in told
    assert "evaluate" not in answer("wo")


def test_bash_completes_with_the_script_that_it_is_shown() -> None:
    script = subprocess.run(
        [MILLRACE, "--show-completion", "bash"],
        env=os.environ | {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    asked = """
COMP_WORDS=(millrace ev); COMP_CWORD=1
_millrace_completion millrace; echo "${COMPREPLY[@]}"
"""
    environment = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", script + asked], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["evaluate"], script + done.stderr


def test_the_version_is_told() -> None:
    told = CliRunner().invoke(app, ["--version"]).output
    assert told == f"millrace {version('millrace-recommender')}, Python {python_version()}\n"


def loaded_by(code: str) -> set[str]:
    """The large libraries that are imported once a new interpreter has run `code`."""
    code += f"\nimport sys\nprint(sorted({HEAVY!r} & sys.modules.keys()), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(literal_eval(done.stderr.splitlines()[-1]))


def test_completing_waits_for_no_large_library() -> None:
    assert loaded_by("import streams.cli.app") == set()


@pytest.mark.parametrize(
    "arguments", [["config"], ["schemas", "."], ["health", "--set", "web.port=1"]], ids=" ".join
)
def test_a_command_waits_for_no_large_library_that_it_does_not_need(
    arguments: list[str], tmp_path: Path
) -> None:
    code = f"import os; from streams.cli.app import app; os.chdir({str(tmp_path)!r})"
    assert loaded_by(f"{code}; app({arguments!r}, standalone_mode=False)") == set()
