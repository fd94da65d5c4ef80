"""What the README and the docs name is there: commands, settings, files, links, examples."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, NamedTuple

import msgspec
import pytest
from typer.main import get_command

from engine.training.recipe import load_recipe
from streams.cli.app import app
from streams.messages.bad_message import BadMessage
from streams.messages.decoding import decode_interaction, decode_item
from streams.messages.schemas import Recommendation
from streams.settings import Settings

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "overlays/README.md",
    ROOT / "examples/README.md",
]
RUN = ("README.md", "library.md", "datasets.md", "extending.md")
"""Pages whose Python stands alone; that of others needs a model or a worker."""
COMMANDS = get_command(app)
CODE_SUFFIXES = (".py", ".md", ".sv", ".cpp", ".yml", ".sh")
FOLDERS = (
    "engine/",
    "streams/",
    "overlays/",
    "benchmarks/",
    "tests/",
    "docs/",
    "deploy/",
    "examples/",
)


class Block(NamedTuple):
    """A fenced block: what stands after the fence, and within."""

    info: str
    text: str


def blocks(page: Path) -> list[Block]:
    found = re.findall(r"^```([^\n]*)\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)
    return [Block(*each) for each in found]


def spans(page: Path) -> list[str]:
    """Code within a line of text."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"`([^`\n]+)`", text)


def shell_lines(page: Path) -> Iterator[str]:
    """What a reader would type: lines of blocks without a language, and code within a line."""
    for block in blocks(page):
        if block.info in ("", "sh", "bash"):
            yield from (re.sub(r"\s+#.*", "", line).strip() for line in block.text.splitlines())
    yield from spans(page)


each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


# ---------------------------------------------------------------- what is named is there


def misused(line: str) -> str | None:
    """What of a `millrace` command line is not there: a subcommand, or a flag of it."""
    words = shlex.split(re.sub(r"[\[\]…]|\\?\|", " ", line))[1:]
    command: Any = COMMANDS
    while words and hasattr(command, "commands"):
        if words[0].startswith("-"):
            break
        if (name := words.pop(0)) not in command.commands:
            return name
        command = command.commands[name]
    known = {flag for param in command.params for flag in (*param.opts, *param.secondary_opts)}
    flags = {word.partition("=")[0] for word in words if word.startswith("--")}
    return next(iter(flags - known - {"--help"}), None)


@each_page
def test_commands_are_there(page: Path) -> None:
    for line in shell_lines(page):
        if re.match(r"millrace [a-z\[-]", line):
            assert misused(line) is None, f"{line}: {misused(line)}"
        for module in re.findall(r"\bpython -m (benchmarks\.\w+)", line):
            place = ROOT / module.replace(".", "/")
            assert place.with_suffix(".py").is_file() or (place / "__main__.py").is_file(), line
        if line.startswith("make "):
            targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
            assert line.split()[1] in targets, line


def test_a_command_that_is_not_there_is_found() -> None:
    assert misused("millrace serve --port 1") == "serve"
    assert misused("millrace topics drop") == "drop"
    assert misused("millrace worker --fast") == "--fast"
    assert misused("millrace topics create --broker kafka:9092") is None


def is_setting(name: str) -> bool:
    section, _, field = name.partition(".")
    annotation: Any = Settings.model_fields[section].annotation
    if section in ("kinds", "experiments"):  # names of one's own
        return True
    return field in annotation.model_fields


@each_page
def test_settings_and_modules_are_there(page: Path) -> None:
    text = page.read_text()
    for section, field in re.findall(r"\bMILLRACE_([A-Z]+)__([A-Z_]+)", text):
        if (section, field) != ("SECTION", "NAME"):
            assert is_setting(f"{section}.{field}".lower()), f"MILLRACE_{section}__{field}"
    for name in re.findall(r"--set (\w+\.[\w.]+)=", text):
        assert name == "section.name" or is_setting(name), name
    for span in spans(page):
        name = span.partition(" ")[0]
        section = name.partition(".")[0]
        if not re.fullmatch(r"[a-z]+(\.\w+)+", name) or name.endswith(CODE_SUFFIXES):
            continue
        if section in Settings.model_fields and (section != "engine" or " = " in span):
            assert is_setting(name), f"{span}: no such setting"
        elif section in ("engine", "streams", "overlays", "benchmarks"):
            assert (section == "engine" and is_setting(name)) or resolve_name(name), span


@each_page
def test_files_of_settings_and_recipes_are_valid(page: Path, tmp_path: Path) -> None:
    for block in blocks(page):
        if block.info == "toml recipe":
            file = tmp_path / "recipe.toml"
            file.write_text(block.text)
            assert load_recipe(str(file)).name == tomllib.loads(block.text)["name"]
        elif block.info.startswith("toml"):
            for section, values in tomllib.loads(block.text).items():
                for name in values:
                    assert is_setting(f"{section}.{name}"), f"{section}.{name}"


@each_page
def test_files_are_there(page: Path) -> None:
    for span in spans(page):
        name = span.strip()
        if not re.fullmatch(r"[\w./-]+", name) or name.startswith("/"):
            continue
        if name.startswith(FOLDERS) or ("." in name and name.endswith(CODE_SUFFIXES)):
            places = (ROOT, page.parent, ROOT / "engine", ROOT / "engine/evaluation")
            assert any((place / name).exists() for place in places), name


def slugs(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@each_page
def test_links_resolve(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        assert not anchor or anchor in slugs(file), target


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs/README.md").read_text()
    names = [page.name for page in (ROOT / "docs").glob("*.md") if page.name != "README.md"]
    assert [name for name in names if f"({name})" not in index] == []


# ---------------------------------------------------------------- examples


PYTHON = [
    pytest.param(block.text, id=f"{page.name} {number}")
    for page in PAGES
    for number, block in enumerate(blocks(page))
    if block.info == "python" and page.name in RUN
]


def test_there_is_python_to_run() -> None:
    assert len(PYTHON) >= 4


@pytest.mark.parametrize("code", PYTHON)
def test_it_runs(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "example", "exec"), {"__name__": "example"})


EVENTS = ROOT / "docs/events.md"
DECODE = {"json interaction": decode_interaction, "json item": decode_item}


def test_every_form_of_a_message_is_read_as_the_page_says() -> None:
    headers: list[tuple[str, bytes]] = []
    read: Any = None
    compared = 0
    for block in blocks(EVENTS):
        if block.info == "text headers":
            pairs = (line.split(": ") for line in block.text.splitlines())
            headers = [(name, value.encode()) for name, value in pairs]
        elif block.info in DECODE:
            read = DECODE[block.info](block.text.encode(), headers)
            headers = []
        elif block.info == "json read-as":
            assert msgspec.to_builtins(read) == json.loads(block.text)
            compared += 1
    assert compared == 5


def test_the_answer_and_the_dead_letter_are_as_the_page_says() -> None:
    examples = {block.info: block.text for block in blocks(EVENTS)}
    answer = json.loads(examples["json recommendation"])
    assert msgspec.to_builtins(msgspec.convert(answer, Recommendation, strict=False)) == answer
    message, told = examples["text dead-letter"].split("\n\n")
    with pytest.raises(BadMessage) as caught:
        decode_interaction(message.encode())
    expected = f"error.class: {caught.value.error_class}\nerror.message: {caught.value.message}\n"
    assert told == expected
