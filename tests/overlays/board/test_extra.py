"""Whether what the other tests here need is installed."""

from __future__ import annotations

import importlib.util
import os

import pytest


def test_the_fpga_extra_is_installed() -> None:
    if importlib.util.find_spec("pynq") is None and not os.environ.get("CI"):
        pytest.skip("the tests of the driver and the twin need the extra `fpga`")
    assert importlib.util.find_spec("pynq"), "CI is set, so the extra `fpga` must be installed"
