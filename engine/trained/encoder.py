"""The text encoder of a model folder: ONNX on one thread, or DeepSpeed's inference engine."""

from __future__ import annotations

import logging
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engine.text.onnx_tokens import OnnxTokens
from engine.trained.folder import ENCODER, TOKENIZER, Folder, TrainedModelError

_log = logging.getLogger("millrace.trained")


class Encoder(Protocol):
    """Embeds a text."""

    def encode(self, text: str) -> NDArray[np.float32]:
        """float32[e], of unit length."""
        ...


class OnnxEncoder:
    """A folder's `encoder.onnx`: token ids and mask in, the pooled embedding out."""

    def __init__(self, folder: Folder) -> None:
        for name in (ENCODER, TOKENIZER):
            if not (folder.path / name).is_file():
                raise TrainedModelError(f"{folder.path}: {name} is missing")
        text = folder.recipe.text
        most = text.tokens if text else 128
        self._tokens = OnnxTokens(str(folder.path / ENCODER), folder.path / TOKENIZER, most)
        self._last = text is not None and text.pooling == "last"

    def encode(self, text: str) -> NDArray[np.float32]:
        """See `Encoder.encode`."""
        tokens = self._tokens.embed(text)
        pooled = tokens[-1] if self._last else tokens.mean(0)
        unit: NDArray[np.float32] = pooled / max(float(np.linalg.norm(pooled)), 1e-9)
        return unit


def make_encoder(folder: Folder) -> Encoder:
    """The encoder that a folder's recipe wants.

    `init_inference` needs the extra `train`; without it the folder's ONNX serves, and a line in
    the log says so.
    """
    if folder.recipe.serving.init_inference:
        try:
            from engine.training.inference import DeepSpeedEncoder  # noqa: PLC0415
        except ModuleNotFoundError as error:
            _log.warning(
                "%s: init_inference needs the package %s (pip install '.[train]'); "
                "its ONNX encoder serves instead", folder.path, error.name,
            )  # fmt: skip
        else:
            return DeepSpeedEncoder(folder)
    return OnnxEncoder(folder)
