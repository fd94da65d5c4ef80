"""Which model answers: a digest of all that decides an answer, besides the log and the catalogue.

Equal digests and equal input give equal answers, to the last bit on processors of one kind: the
kernels' sums are vectorised for the processor, and another one may add in another order.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from engine.compiled import sources_digest
from engine.settings import EngineSettings
from engine.text.encoder import TextEncoder
from engine.trained.folder import MANIFEST
from streams.messages.schemas import Model
from streams.settings import Settings

_DIGITS = 12
_ROOT = Path(__file__).parents[2]
_OUTSIDE_THE_ENGINE = (
    "streams/messages/*.py", "streams/experiments/*.py", "streams/worker/partition.py",
    "streams/worker/pipeline.py", "streams/worker/catalogue.py", "streams/worker/rebuild.py",
    "streams/worker/catalogue_log.py", "streams/worker/user_side.py",
    "streams/worker/item_deltas.py",
    "engine/fields/*.py",
)  # fmt: skip
"""Sources that decide what is applied, and that the kernels' digest does not cover."""
_WITHOUT_EFFECT = {"board", "bitstream", "text_cache", "trained"}
"""Settings of the engine that decide no answer; of the trained model its content does."""


def model_of(settings: Settings) -> Model:
    """The model of these settings and this code."""
    digest = hashlib.sha256()
    for part in _parts(settings):
        digest.update(len(part).to_bytes(8, "little") + part)
    return Model(
        f"millrace-{settings.engine.model}",
        version("millrace-recommender"),
        digest.hexdigest()[:_DIGITS],
    )


def _parts(settings: Settings) -> Iterator[bytes]:
    yield json.dumps(_deciding(settings), sort_keys=True).encode()
    yield sources_digest().encode()
    yield f"numpy {version('numpy')}".encode()
    for pattern in _OUTSIDE_THE_ENGINE:
        for path in sorted(_ROOT.glob(pattern)):
            yield path.relative_to(_ROOT).as_posix().encode()
            yield path.read_bytes()
    if settings.engine.trained:
        # Its manifest has the checksum of each of its files. A worker that goes on from a
        # checkpoint does without the folder.
        with suppress(OSError):
            yield (Path(settings.engine.trained) / MANIFEST).read_bytes()
    if settings.engine.model != "gnn":
        yield f"{TextEncoder.name} onnxruntime {version('onnxruntime')}".encode()


def _deciding(settings: Settings) -> dict[str, Any]:
    """The settings that decide which events are applied, and what is answered then."""
    worker = settings.worker
    buries = worker.late == "dead-letter"
    return {
        "engine": _of_engine(settings.engine),
        "events": settings.events.model_dump(mode="json"),
        "experiments": {n: e.model_dump(mode="json") for n, e in settings.experiments.items()},
        "duplicate_window": worker.duplicate_window,
        "grace_seconds": worker.grace_seconds if buries else None,
        "message_bytes": settings.topics.message_bytes,
    }


def _of_engine(settings: EngineSettings) -> dict[str, Any]:
    found = settings.model_dump(mode="json", exclude=_WITHOUT_EFFECT)
    # A board gives the bytes that the processor gives.
    found["aggregator"] = found["aggregator"].replace("pynq", "int8")
    return found
