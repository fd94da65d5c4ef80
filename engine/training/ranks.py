"""Training on several ranks: starts the processes, follows their progress, collects what they gave.

The encoder is parted into pipeline stages, one a rank; then graph and head are trained with ZeRO,
each rank on its share of every batch (`engine.training.rank`). Ranks share a folder and talk over
gloo; nothing is pickled on disk.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from engine.training.data import TrainingData
from engine.training.recipe import Recipe
from engine.training.report import TrainingError, TrainingReport

JOB, ARRAYS, RESULT, PROGRESS = "job.json", "data.npz", "result.json", "progress.json"
_LISTS = ("users", "items", "texts")
_POLL_SECONDS = 0.2


def train_on_ranks(
    recipe: Recipe, data: TrainingData, held: TrainingData | None, work: Path, seed: int,
    on_progress: Callable[[str, float], None], target: float | None,
) -> TrainingReport:  # fmt: skip
    """Train on the recipe's ranks and write the model's files to `work`.

    Raises
    ------
    TrainingError
        If a rank fails, with the last line that it said.
    """
    assert recipe.deepspeed is not None
    job = work / "ranks"
    job.mkdir()
    write_data(job / ARRAYS, data)
    if held is not None:
        write_data(job / f"held-{ARRAYS}", held)
    (job / JOB).write_text(
        json.dumps(
            {"recipe": recipe.model_dump(mode="json"), "seed": seed, "work": str(work)}
            | {name: getattr(data, name) for name in _LISTS}
        )
    )
    ranks = recipe.deepspeed.ranks
    common = os.environ | {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
        "WORLD_SIZE": str(ranks),
        "DS_ACCELERATOR": os.environ.get("DS_ACCELERATOR", "cpu"),
        "OMP_NUM_THREADS": "1",
    }
    processes = []
    try:
        for rank in range(ranks):
            with (job / f"rank-{rank}.log").open("w") as log:
                processes.append(
                    subprocess.Popen(
                        [sys.executable, "-m", "engine.training.rank", str(job)],
                        env=common | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
                        stdout=log,
                        stderr=subprocess.STDOUT,
                        cwd=Path(__file__).parents[2],
                    )
                )
        _follow(processes, job, on_progress)
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
            process.wait()
    result = json.loads((job / RESULT).read_text())
    for file in job.iterdir():
        file.unlink()
    job.rmdir()
    report = TrainingReport.model_validate(result)
    reached = (
        s for s, q in zip(report.epoch_seconds, report.epoch_quality, strict=False)
        if target is not None and q >= target
    )  # fmt: skip
    return report.model_copy(update={"seconds_to_quality": next(reached, None)})


def _follow(
    processes: list[subprocess.Popen[bytes]], job: Path, on_progress: Callable[[str, float], None]
) -> None:
    while any(process.poll() is None for process in processes):
        for rank, process in enumerate(processes):
            if process.poll():
                said = (job / f"rank-{rank}.log").read_text().strip().splitlines() or ["nothing"]
                raise TrainingError(f"rank {rank} ended with {process.returncode}: {said[-1]}")
        try:
            stage, share = json.loads((job / PROGRESS).read_text())
            on_progress(stage, share)
        except (OSError, ValueError):
            pass  # nothing written yet, or half of it
        time.sleep(_POLL_SECONDS)
    for rank, process in enumerate(processes):
        if process.returncode:
            said = (job / f"rank-{rank}.log").read_text().strip().splitlines() or ["nothing"]
            raise TrainingError(f"rank {rank} ended with {process.returncode}: {said[-1]}")


def write_data(file: Path, data: TrainingData) -> None:
    """The arrays of a training part, for `read_data`."""
    arrays = {f.name: getattr(data, f.name) for f in fields(data) if f.name not in _LISTS}
    np.savez(file, **arrays)


def read_data(file: Path, job: dict[str, list[str]]) -> TrainingData:
    """What `write_data` wrote; ids and texts are the job's."""
    with np.load(file, allow_pickle=False) as arrays:
        held: dict[str, Any] = {name: arrays[name] for name in arrays.files}
    held["mean"] = float(held["mean"])
    held |= {name: job[name] for name in _LISTS}
    return TrainingData(**held)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
