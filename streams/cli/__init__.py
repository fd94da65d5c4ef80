"""The `millrace` command; its commands are in `streams.cli.app`."""

from __future__ import annotations

import os
import sys

# Kernels and encoder run on the calling thread; a pool beside them only takes their core.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def main() -> None:
    """Entry point of the console script."""
    try:
        # Imports take a third of a second, in which Ctrl-C would be a traceback.
        from streams.cli.app import app  # noqa: PLC0415
    except KeyboardInterrupt:
        sys.exit(130)
    app()
