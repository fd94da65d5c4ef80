"""Data, version and machine of a measurement, which a published figure must name."""

from __future__ import annotations

import contextlib
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = (
    "numpy", "numba", "onnxruntime", "tokenizers", "torch", "dgl", "transformers", "peft",
    "optimum", "deepspeed", "pynq",
)  # fmt: skip
"""Packages that train, compute and serve, whose versions a report names."""


def provenance(data: str, seed: int) -> dict[str, Any]:
    """Data, seed, version and machine of a measurement."""
    return {
        "data": data,
        "seed": seed,
        "version": version("millrace-recommender"),
        "machine": machine(),
    }


def machine() -> str:
    """Processor, cores and Python of this machine, in one line."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    system = f"{platform.system()}, Python {platform.python_version()}"
    return f"{model}, {os.cpu_count()} cores, {system}"


def versions() -> dict[str, str]:
    """Versions of those of `PACKAGES` that are installed."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def reset_peak_memory() -> None:
    """Reset this process's peak memory, where the system can, so that it is that of one step."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
