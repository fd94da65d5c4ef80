"""What several of the engine's tests share; the builders are in ``builders.py``."""

from __future__ import annotations

import pytest

from engine.text.encoder import TextEncoder


@pytest.fixture(scope="session")
def encoder() -> TextEncoder:
    """The real INT8 model, loaded once."""
    return TextEncoder()
