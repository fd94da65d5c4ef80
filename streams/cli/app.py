"""The commands; each reads its flags and calls the module that does the work."""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import Annotated

import typer

from streams.cli import doctor, forget, health, paper, past, plan, research, stream, training
from streams.cli.torture import torture

app = typer.Typer(
    name="millrace",
    help="A streaming recommender: interactions in from Kafka, each user's new top 10 out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
)


def _print_version(asked: bool) -> None:
    if asked:
        print(f"millrace {version('millrace-recommender')}, Python {platform.python_version()}")
        raise typer.Exit


@app.callback()
def _of_all_commands(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version, and exit."
        ),
    ] = False,
) -> None:
    pass


app.command()(stream.demo)
app.command()(stream.worker)
app.command()(stream.replay)
app.command()(stream.watch)
app.command()(health.health)
app.command()(forget.forget)
app.command()(doctor.doctor)
app.command()(plan.plan)
app.command()(stream.broker)
app.command()(stream.board)
app.add_typer(stream.topics_app, name="topics")
app.command()(torture)
app.command()(past.audit)
app.command()(past.at)
app.command()(past.explain)
app.command()(research.evaluate)
app.command()(paper.paper)
app.command()(training.train)
app.command("config")(research.config_command)
app.command()(research.schemas)
app.command()(research.download)
