"""`millrace` commands that end by themselves, run in this process: a new one takes 1 s more."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner, Result

from streams.cli import common
from streams.cli.app import app
from streams.settings import Settings
from streams.settings_io import as_environment


def millrace(*arguments: str, settings: Settings | None = None) -> Result:
    """What a command ended with and wrote, on a terminal without an end to its lines."""
    environment = as_environment(settings) if settings else {}
    with pytest.MonkeyPatch.context() as patch:
        for console in (common.out, common.err):  # made at import, when they read COLUMNS
            patch.setattr(console, "_width", 1000)
        return CliRunner().invoke(app, list(arguments), env=environment)
