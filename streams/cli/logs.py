"""What workers and boards log: text for people at a terminal, JSON lines for everything else."""

from __future__ import annotations

import logging
import sys
from types import TracebackType
from typing import Literal

from pythonjsonlogger.json import JsonFormatter

from streams.tools.printable import printable


def log_to_stderr(form: Literal["auto", "text", "json"] = "auto") -> None:
    """Write the log to standard error, and with it the traceback that ends the process.

    Parameters
    ----------
    form
        ``auto`` is text where standard error is a terminal, else JSON: an object a line with
        `time` (UTC), `level`, `logger`, `message`, and what the line is about (`topic`,
        `partition`, `offset`).
    """
    handler = logging.StreamHandler(sys.stderr)
    if form == "json" or (form == "auto" and not sys.stderr.isatty()):
        handler.setFormatter(
            JsonFormatter(
                "{levelname}{name}{message}",
                style="{",
                rename_fields={"levelname": "level", "name": "logger"},
                timestamp="time",
            )
        )
        sys.excepthook = _log_exception
    else:
        handler.setFormatter(_Printable("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.captureWarnings(True)
    logging.getLogger("millrace").setLevel(logging.INFO)


class _Printable(logging.Formatter):
    """Text whose control characters are escaped, but for the line breaks of tracebacks."""

    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(map(printable, super().format(record).split("\n")))


def writes_json() -> bool:
    """Whether the log is of JSON lines."""
    return any(isinstance(h.formatter, JsonFormatter) for h in logging.getLogger().handlers)


def _log_exception(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    logging.getLogger("millrace").critical(
        "%s: %s", kind.__name__, error, exc_info=(kind, error, traceback)
    )
